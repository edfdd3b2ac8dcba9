//! Query parameters of an operation, as a struct whose fields know their names on the wire.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    load::Document,
    model::{Model, Type},
    name::Names,
    normalise::scalar,
    pointer::Pointer,
    reach::Operation,
};

/// A struct of query parameters.
#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) name: String,
    /// `GET /path`.
    pub(crate) title: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Parameters whose names are not fixed, which no struct can hold.
    pub(crate) left_out: Vec<String>,
}

/// One name that may appear in the query.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) wire: String,
    pub(crate) doc: Vec<String>,
    pub(crate) kind: Type,
    /// Between the values of a list; none if each has the key for itself.
    pub(crate) separator: Option<&'static str>,
}

/// Reads the query parameters of an operation, in the order of the document.
pub(crate) fn query(document: &Document, operation: &Operation<'_>, names: &mut Names) -> Result<Query> {
    let mut parameters: Vec<(&Value, Pointer)> = Vec::new();
    for (holder, at) in [(operation.item, &operation.item_at), (operation.node, &operation.at)] {
        let list = match holder.get("parameters") {
            None => continue,
            Some(Value::Array(list)) => list,
            Some(_) => bail!("at {at}/parameters: parameters are a list: correct the document"),
        };
        for (index, node) in list.iter().enumerate() {
            let (node, at) = document.follow(node, &at.child("parameters").child(index.to_string()))?;
            let key = |node: &Value| (node.get("name").cloned(), node.get("in").cloned());
            // The operation's own parameter replaces the one of its path.
            match parameters.iter_mut().find(|(known, _)| key(known) == key(node)) {
                Some(known) => *known = (node, at),
                None => parameters.push((node, at)),
            }
        }
    }
    let mut query = Query {
        name: names.take_type(&format!("{} query", operation.name)),
        title: operation.title.clone(),
        parameters: Vec::new(),
        left_out: Vec::new(),
    };
    let mut fields = Names::default();
    for (node, at) in parameters {
        match node.get("in").and_then(Value::as_str) {
            Some("query") => read(document, node, &at, &mut fields, &mut query)?,
            Some("querystring") => query.left_out.push("the whole query string".to_owned()),
            _ => {}
        }
    }
    Ok(query)
}

fn read(
    document: &Document,
    node: &Value,
    at: &Pointer,
    fields: &mut Names,
    query: &mut Query,
) -> Result<()> {
    let name = node
        .get("name")
        .and_then(Value::as_str)
        .with_context(|| format!("at {at}/name: a parameter needs a name"))?;
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let own_doc = text("description").map(str::trim).filter(|doc| !doc.is_empty()).map(str::to_owned);
    let style = text("style").unwrap_or("form");
    let explode = node.get("explode").and_then(Value::as_bool).unwrap_or(style == "form");
    let Some(schema) = node.get("schema") else {
        // A parameter with `content` is text in that media type.
        let doc = own_doc.into_iter().collect();
        query.push(fields, name, doc, Type::Text, None);
        return Ok(());
    };
    let at = at.child("schema");
    let mut shape = scalar(document, schema, &at)?;
    if let Some(doc) = own_doc {
        shape.doc.retain(|line| line.starts_with("Known words"));
        shape.doc.insert(0, doc);
    }
    let separator = match (style, explode) {
        (_, true) => None,
        ("spaceDelimited", false) => Some(" "),
        ("pipeDelimited", false) => Some("|"),
        (_, false) => Some(","),
    };
    match shape.kind {
        Type::Struct(_) | Type::Map(_) | Type::Link(_) => {
            let object = style == "deepObject" || (style == "form" && explode);
            let properties = if object { properties(document, schema, &at)? } else { Vec::new() };
            if properties.is_empty() {
                query.left_out.push(format!("`{name}`"));
            }
            for (property, node, at) in properties {
                let wire = if style == "deepObject" { format!("{name}[{property}]") } else { property };
                let shape = scalar(document, node, &at)?;
                if plain(&shape.kind) {
                    query.push(fields, &wire, shape.doc, shape.kind, None);
                } else {
                    query.left_out.push(format!("`{wire}`"));
                }
            }
        }
        Type::List(inner) => {
            let inner = if plain(&inner) { *inner } else { Type::Text };
            query.push(fields, name, shape.doc, Type::List(Box::new(inner)), separator);
        }
        Type::OneOrMany(inner) if plain(&inner) => {
            query.push(fields, name, shape.doc, Type::List(inner), separator);
        }
        kind if plain(&kind) => query.push(fields, name, shape.doc, kind, None),
        // A string says everything that fits a query.
        _ => query.push(fields, name, shape.doc, Type::Text, None),
    }
    Ok(())
}

impl Query {
    fn push(
        &mut self,
        fields: &mut Names,
        wire: &str,
        doc: Vec<String>,
        kind: Type,
        separator: Option<&'static str>,
    ) {
        let name = fields.take_field(wire);
        self.parameters.push(Parameter { name, wire: wire.to_owned(), doc, kind, separator });
    }
}

/// The properties of an object that is a parameter, if it has any of its own.
fn properties<'a>(
    document: &'a Document,
    schema: &'a Value,
    at: &Pointer,
) -> Result<Vec<(String, &'a Value, Pointer)>> {
    let (schema, at) = document.follow(schema, at)?;
    if let Some(Value::Object(properties)) = schema.get("properties") {
        let at = at.child("properties");
        return Ok(properties
            .iter()
            .map(|(name, node)| (name.clone(), node, at.child(name.as_str())))
            .collect());
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let parts = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        for (index, node) in parts.enumerate() {
            let found = properties(document, node, &at.child(key).child(index.to_string()))?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
    Ok(Vec::new())
}

fn plain(kind: &Type) -> bool {
    matches!(kind, Type::Boolean | Type::Date | Type::Integer | Type::Number | Type::Text | Type::Timestamp)
}

impl Query {
    /// The struct and its `pairs`, as Rust.
    pub(crate) fn rust(&self, model: &Model, doc: impl Fn(&[String], &str) -> String) -> [String; 2] {
        let name = &self.name;
        let mut about = vec![format!("Query of `{}`.", self.title)];
        if !self.left_out.is_empty() {
            about.push(format!("Left out, for its names are not fixed: {}.", self.left_out.join(", ")));
        }
        let mut fields = String::new();
        let mut pairs = String::new();
        for Parameter { name, wire, doc: lines, kind, separator } in &self.parameters {
            let (value, list) = match kind {
                Type::List(inner) => (inner.as_ref(), true),
                other => (other, false),
            };
            let rust = model.rust(value);
            let rust = if list { format!("Vec<{rust}>") } else { format!("Option<{rust}>") };
            fields.push_str(&format!("{}pub(crate) {name}: {rust},\n", doc(lines, "    ")));
            let text = if *value == Type::Text { "v.clone()" } else { "v.to_string()" };
            pairs.push_str(&match (separator.filter(|_| list), value) {
                (None, _) => format!("pairs.extend(self.{name}.iter().map(|v| ({wire:?}, {text})));"),
                (Some(separator), Type::Text) => format!(
                    "if !self.{name}.is_empty() {{ pairs.push(({wire:?}, self.{name}.join({separator:?}))); }}"
                ),
                (Some(separator), _) => format!(
                    "if !self.{name}.is_empty() {{ \
                     let all: Vec<String> = self.{name}.iter().map(ToString::to_string).collect(); \
                     pairs.push(({wire:?}, all.join({separator:?}))); }}"
                ),
            });
        }
        let body = if pairs.is_empty() {
            "Vec::new()".to_owned()
        } else {
            format!("let mut pairs = Vec::new(); {pairs} pairs")
        };
        [
            format!(
                "{}#[derive(Clone, Debug, Default, PartialEq)] pub(crate) struct {name} {{ {fields} }}",
                doc(&about, "")
            ),
            format!(
                "impl {name} {{ /// Names and values in the document's order; what is not set is left out.\n\
                 pub(crate) fn pairs(&self) -> Vec<(&'static str, String)> {{ {body} }} }}"
            ),
        ]
    }
}
