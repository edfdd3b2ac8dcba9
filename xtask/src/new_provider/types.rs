//! What the generated types say about the records: where they stand in the answer, and what is in them.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// How deep an answer may wrap its records.
const DEEPEST: usize = 3;

/// The records of a listing.
pub(super) struct Records {
    /// The struct of the listing's query.
    pub(super) query: String,
    /// The keys that lead to the records; none if the answer is the list.
    pub(super) at: Vec<String>,
    /// The struct of a record, if it has one.
    name: Option<String>,
    pub(super) fields: Vec<Field>,
    /// What a record looks like.
    sample: Map<String, Value>,
}

/// A field of a generated struct.
#[derive(Clone)]
pub(super) struct Field {
    name: String,
    pub(super) wire: String,
    /// As Rust writes it, without spaces.
    kind: String,
}

/// The field that identifies a record, as far as names tell.
pub(super) struct Identifier {
    pub(super) wire: String,
    /// None if the document has no such field.
    pub(super) field: Option<String>,
}

type Structs = BTreeMap<String, Vec<Field>>;

/// Reads a generated file that has one root, the answer to `title`.
pub(super) fn records(generated: &str, title: &str) -> Result<Records> {
    let fault = "the generated code is not as expected, which is a fault of xtask";
    let file = syn::parse_file(generated).context(fault)?;
    let (mut structs, mut root, mut query) = (Structs::new(), None, None);
    for item in &file.items {
        match item {
            syn::Item::Struct(item) => {
                structs.insert(item.ident.to_string(), item.fields.iter().map(field).collect());
            }
            syn::Item::Type(item) => root = Some(text(&item.ty)),
            syn::Item::Impl(item) => query = Some(text(&item.self_ty)),
            _ => {}
        }
    }
    let query = query.context(fault)?;
    structs.remove(&query);
    // An answer that is an object is the struct that no other names.
    let named: BTreeSet<&str> = structs
        .iter()
        .flat_map(|(of, fields)| fields.iter().map(move |field| (of, core_of(&field.kind))))
        .filter(|(of, name)| of != name)
        .map(|(_, name)| name)
        .collect();
    let root = root.or_else(|| structs.keys().find(|name| !named.contains(name.as_str())).cloned());
    let root = root.with_context(|| {
        format!("the answer to `{title}` is a part of itself: take that reference out of the document first")
    })?;
    let Some((at, kind)) = find(&structs, &root) else {
        bail!(
            "the answer to `{title}` has no list of records in it: complete its schema, or \
             pass --operation with an operation that lists"
        );
    };
    let name = structs.contains_key(&kind).then(|| kind.clone());
    let mut records = Records {
        query,
        at,
        fields: structs.get(&kind).cloned().unwrap_or_default(),
        name,
        sample: Map::new(),
    };
    records.sample = sample(&structs, &records.fields, 0);
    Ok(records)
}

fn field(field: &syn::Field) -> Field {
    let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
    let wire = field.attrs.iter().find_map(renamed).unwrap_or_else(|| name.clone());
    Field { wire, kind: text(&field.ty), name }
}

/// The name of a field on the wire, if this attribute gives it.
fn renamed(attribute: &syn::Attribute) -> Option<String> {
    if !attribute.path().is_ident("serde") {
        return None;
    }
    let mut name = None;
    let read = attribute.parse_nested_meta(|meta| {
        if meta.input.peek(syn::Token![=]) {
            let value: syn::LitStr = meta.value()?.parse()?;
            name = meta.path.is_ident("rename").then(|| value.value()).or(name.take());
        }
        Ok(())
    });
    read.ok().and(name)
}

fn text(tokens: &impl quote::ToTokens) -> String {
    // A type that is broken over lines has a comma at its end.
    tokens.to_token_stream().to_string().replace(' ', "").replace(",>", ">")
}

/// What is inside options, boxes and lists.
fn core_of(kind: &str) -> &str {
    let inner = kind.split_once('<').and_then(|(outer, rest)| {
        let outer = outer.rsplit("::").next()?;
        ["Option", "Box", "Vec", "OneOrMany", "Link"].contains(&outer).then(|| rest.strip_suffix('>'))?
    });
    inner.map_or(kind, core_of)
}

/// What the list holds, if it is one.
fn items(kind: &str) -> Option<&str> {
    let kind = kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(kind);
    let inner = kind.strip_prefix("Vec<").or_else(|| kind.strip_prefix("::std::vec::Vec<"))?;
    inner.strip_suffix('>').map(core_of)
}

/// The list nearest to the top; of several at one depth that whose records have most fields.
fn find(structs: &Structs, root: &str) -> Option<(Vec<String>, String)> {
    if let Some(item) = items(root) {
        return Some((Vec::new(), item.to_owned()));
    }
    let mut level = vec![(Vec::new(), core_of(root))];
    for _ in 0..DEEPEST {
        let mut below = Vec::new();
        let mut found: Option<(usize, Vec<String>, &str)> = None;
        for (at, name) in level {
            for field in structs.get(name).into_iter().flatten() {
                let at: Vec<String> = at.iter().cloned().chain([field.wire.clone()]).collect();
                match items(&field.kind) {
                    Some(item) => {
                        let size = structs.get(item).map_or(0, Vec::len);
                        // Lists of plain values are no records.
                        let is_record = size > 0 || item.starts_with("serde_json::");
                        if is_record && found.as_ref().is_none_or(|(most, ..)| size > *most) {
                            found = Some((size, at, item));
                        }
                    }
                    None => below.push((at, core_of(&field.kind))),
                }
            }
        }
        if let Some((_, at, item)) = found {
            return Some((at, item.to_owned()));
        }
        level = below;
    }
    None
}

/// A value for each field that has an obvious one.
fn sample(structs: &Structs, fields: &[Field], depth: usize) -> Map<String, Value> {
    let value = |field: &Field| {
        let kind =
            field.kind.strip_prefix("Option<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(&field.kind);
        Some(match kind {
            "String" => "invented".into(),
            "bool" => true.into(),
            "i64" => 1.into(),
            "f64" => json!(1.5),
            "jiff::Timestamp" => "2026-09-14T18:02:11Z".into(),
            "jiff::civil::Date" => "2026-09-14".into(),
            name if depth < 2 => Value::Object(sample(structs, structs.get(name)?, depth + 1)),
            _ => return None,
        })
    };
    fields.iter().filter_map(|field| Some((field.wire.clone(), value(field)?))).collect()
}

impl Records {
    /// The type of a record, as `map.rs` names it.
    pub(super) fn rust(&self) -> String {
        match &self.name {
            Some(name) => format!("wire::{name}"),
            None => "serde_json::Map<String, serde_json::Value>".to_owned(),
        }
    }

    /// The JSON pointer of the records.
    pub(super) fn pointer(&self) -> String {
        self.at.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
    }

    /// The field `id`, else one that ends so.
    pub(super) fn id(&self) -> Identifier {
        let plain = |field: &&Field| ["Option<String>", "Option<i64>"].contains(&field.kind.as_str());
        let named = |end: &str| {
            self.fields
                .iter()
                .filter(plain)
                .find(|field| field.name == end || field.name.ends_with(&format!("_{end}")))
        };
        let exact = self.fields.iter().filter(plain).find(|field| field.name == "id");
        match exact.or_else(|| named("id")).or_else(|| named("uuid")) {
            Some(field) => Identifier { wire: field.wire.clone(), field: Some(field.name.clone()) },
            None => Identifier { wire: "id".to_owned(), field: None },
        }
    }

    /// Three records that differ in their identifier.
    fn three(&self) -> Vec<Value> {
        let Identifier { wire, field } = self.id();
        let number = self
            .fields
            .iter()
            .any(|known| Some(&known.name) == field.as_ref() && known.kind == "Option<i64>");
        let record = |n: u32| {
            let mut record = self.sample.clone();
            record.insert(wire.clone(), if number { n.into() } else { format!("record-{n}").into() });
            Value::Object(record)
        };
        (1..=3).map(record).collect()
    }

    /// An invented answer of the listing.
    pub(super) fn invented(&self) -> Value {
        let list = Value::Array(self.three());
        self.at.iter().rev().fold(list, |inner, key| json!({ key.as_str(): inner }))
    }

    /// The invented records, all rejected for one reason, as a snapshot shows them.
    pub(super) fn rejected(&self, reason: &str) -> Vec<Value> {
        let at = self.pointer();
        let entry = |(index, record): (usize, Value)| {
            json!({
                "code": "id.missing",
                "id": null,
                "path": format!("{at}/{index}"),
                "payload": record.to_string(),
                "reason": reason,
            })
        };
        self.three().into_iter().enumerate().map(entry).collect()
    }

    /// The structs that lead to the records, one in the other.
    pub(super) fn envelope(&self) -> String {
        let mut text = String::new();
        for (depth, key) in self.at.iter().enumerate() {
            let inner = match depth + 1 == self.at.len() {
                true => "Vec<&'a RawValue>".to_owned(),
                false => format!("{}<'a>", envelope_name(depth + 1)),
            };
            text += &format!(
                "#[derive(Deserialize)]\nstruct {}<'a> {{\n#[serde(borrow, rename = {key:?})]\n{}: {inner},\n}}\n\n",
                envelope_name(depth),
                member(depth, self.at.len())
            );
        }
        text
    }

    /// The statement that takes the records out of the body.
    pub(super) fn read(&self) -> String {
        if self.at.is_empty() {
            return "let records = http::array(body)?;".to_owned();
        }
        let path: String =
            (0..self.at.len()).map(|depth| format!(".{}", member(depth, self.at.len()))).collect();
        format!("let records = http::json::<Envelope<'_>>(body)?{path};")
    }

    /// What `map.rs` imports for all this.
    pub(super) fn imports(&self) -> String {
        let serde = if self.at.is_empty() { "" } else { "use serde::Deserialize;\n" };
        let wire = if self.name.is_some() { ", generated as wire" } else { "" };
        format!("{serde}\nuse crate::{{PROVIDER{wire}}};")
    }
}

fn envelope_name(depth: usize) -> String {
    if depth == 0 { "Envelope".to_owned() } else { format!("Envelope{}", depth + 1) }
}

fn member(depth: usize, depths: usize) -> &'static str {
    if depth + 1 == depths { "records" } else { "inner" }
}
