//! Spreads a schema into its alternatives: references followed, null taken out, unions and parts resolved.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::{load::Document, pointer::Pointer};

/// Keys that say something of a schema's type.
const SHAPE_KEYS: [&str; 13] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "enum",
    "format",
    "items",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "properties",
    "type",
];

/// Keys that describe and demand nothing.
const TEXT_KEYS: [&str; 9] = [
    "title",
    "description",
    "example",
    "examples",
    "deprecated",
    "default",
    "externalDocs",
    "readOnly",
    "writeOnly",
];

/// One alternative of a schema.
#[derive(Clone, Debug)]
pub(crate) struct Leaf<'a> {
    pub(crate) node: &'a Value,
    pub(crate) at: Pointer,
    pub(crate) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Any,
    Boolean,
    Integer,
    List,
    Map,
    Number,
    Object,
    Text,
}

/// All alternatives of a schema.
#[derive(Debug, Default)]
pub(crate) struct Flat<'a> {
    pub(crate) leaves: Vec<Leaf<'a>>,
    pub(crate) nullable: bool,
    /// The component through which the alternatives were found, which then names what is inline in it.
    pub(crate) component: Option<String>,
    /// References that are in already.
    done: Vec<Pointer>,
}

/// References on the way to a schema, each with the number of unions around it.
#[derive(Debug, Default)]
struct Trail {
    places: Vec<(Pointer, usize)>,
    unions: usize,
}

/// Adds the alternatives of a schema to `flat`.
pub(crate) fn flatten<'a>(
    document: &'a Document,
    node: &'a Value,
    at: &Pointer,
    flat: &mut Flat<'a>,
) -> Result<()> {
    Flattener { document }.flatten(node, at, &mut Trail::default(), flat)
}

struct Flattener<'a> {
    document: &'a Document,
}

impl<'a> Flattener<'a> {
    /// Spreads a schema into its alternatives.
    fn flatten(&self, node: &'a Value, at: &Pointer, trail: &mut Trail, flat: &mut Flat<'a>) -> Result<()> {
        let map = match node {
            Value::Object(map) => map,
            Value::Bool(_) => {
                flat.leaves.push(Leaf { node, at: at.clone(), form: Form::Any });
                return Ok(());
            }
            _ => bail!("at {at}: a schema is a mapping, or true or false: correct the document"),
        };
        flat.nullable |= map.get("nullable") == Some(&Value::Bool(true));
        if let Some(parts) = map.get("allOf") {
            if !parts.is_array() {
                bail!("at {at}/allOf: this is a list of schemas: correct the document");
            }
            return self.flatten_all(node, map, at, trail, flat);
        }
        if let Some(reference) = map.get("$ref") {
            if has_properties(map) {
                flat.leaves.push(Leaf { node, at: at.clone(), form: Form::Object });
                return Ok(());
            }
            let (target, place) = self.document.resolve(reference, at)?;
            return self.flatten_target(target, &place, at, trail, flat);
        }
        self.flatten_plain(node, map, at, trail, flat)
    }

    fn flatten_target(
        &self,
        target: &'a Value,
        place: &Pointer,
        at: &Pointer,
        trail: &mut Trail,
        flat: &mut Flat<'a>,
    ) -> Result<()> {
        if let Some((_, unions)) = trail.places.iter().find(|(known, _)| known == place) {
            if *unions == trail.unions {
                bail!(
                    "at {at}: `$ref` and `allOf` lead round in a circle through {place}: break it with a drop or an \
                     override in spec.toml"
                );
            }
            // A union that lists itself says nothing new.
            return Ok(());
        }
        if trail.unions > 0 && flat.done.contains(place) {
            return Ok(());
        }
        trail.places.push((place.clone(), trail.unions));
        if trail.unions == 0 {
            flat.component = Some(name_of(place));
        }
        self.flatten(target, place, trail, flat)?;
        trail.places.pop();
        flat.done.push(place.clone());
        Ok(())
    }

    /// A schema without `$ref` and with `allOf` out of the way.
    fn flatten_plain(
        &self,
        node: &'a Value,
        map: &'a Map<String, Value>,
        at: &Pointer,
        trail: &mut Trail,
        flat: &mut Flat<'a>,
    ) -> Result<()> {
        let leaf = |form| Leaf { node, at: at.clone(), form };
        if has_properties(map) && types(map, at)?.is_none_or(|types| types.contains(&"object")) {
            // `type: [object, "null"]`, or the same with a string.
            for name in types(map, at)?.unwrap_or_default() {
                match name {
                    "null" => flat.nullable = true,
                    "object" => {}
                    other => flat.leaves.extend(form_of(other, map).map(leaf)),
                }
            }
            flat.leaves.push(leaf(Form::Object));
            return Ok(());
        }
        let mut alternatives = parts(map, at, "oneOf")?;
        alternatives.extend(parts(map, at, "anyOf")?);
        alternatives.retain(|(node, _)| !only_constrains(node));
        if !alternatives.is_empty() {
            trail.unions += 1;
            for (node, at) in alternatives {
                self.flatten(node, &at, trail, flat)?;
            }
            trail.unions -= 1;
            if types(map, at)?.is_some_and(|types| types.contains(&"null") && types.len() > 1) {
                flat.nullable = true;
            }
            return Ok(());
        }
        if let Some(types) = types(map, at)? {
            for name in types {
                match form_of(name, map) {
                    Some(form) => flat.leaves.push(leaf(form)),
                    None if name == "null" => flat.nullable = true,
                    None => bail!(
                        "at {at}/type: `{name}` is not a type of JSON Schema: correct it with an override"
                    ),
                }
            }
            flat.nullable |= values(map).any(Value::is_null);
            return Ok(());
        }
        let forms = inferred(map);
        flat.nullable |= values(map).any(Value::is_null);
        if forms.is_empty() && !flat.nullable {
            flat.leaves.push(leaf(Form::Any));
        } else if forms.is_empty() && values(map).next().is_none() {
            // `{}` beside `nullable`, or nothing but it.
            flat.leaves.push(leaf(Form::Any));
        }
        flat.leaves.extend(forms.into_iter().map(leaf));
        Ok(())
    }

    /// A schema put together from parts. One part that says something stands for the whole and keeps its name.
    fn flatten_all(
        &self,
        node: &'a Value,
        map: &'a Map<String, Value>,
        at: &Pointer,
        trail: &mut Trail,
        flat: &mut Flat<'a>,
    ) -> Result<()> {
        let mut members = Vec::new();
        for (part, at) in parts(map, at, "allOf")? {
            if part.as_object().is_none_or(has_shape) {
                let mut member = Flat::default();
                self.flatten(part, &at, trail, &mut member)?;
                members.push(member);
            }
        }
        if map.keys().any(|key| key != "allOf" && key != "type" && SHAPE_KEYS.contains(&key.as_str())) {
            let mut own = Flat::default();
            if let Some(reference) = map.get("$ref") {
                let (target, place) = self.document.resolve(reference, at)?;
                self.flatten_target(target, &place, at, trail, &mut own)?;
            } else {
                self.flatten_plain(node, map, at, trail, &mut own)?;
            }
            members.push(own);
        }
        // `type: object` alone, and parts that allow anything, only repeat what the others say.
        if members.iter().any(|member| !vague(member)) {
            members.retain(|member| !vague(member));
        }
        if types(map, at)?.is_some_and(|types| types.contains(&"null")) {
            flat.nullable = true;
        }
        match members.len() {
            0 => flat.leaves.push(Leaf { node, at: at.clone(), form: Form::Any }),
            1 => {
                for member in members {
                    flat.leaves.extend(member.leaves);
                    flat.nullable |= member.nullable;
                    if trail.unions == 0 {
                        flat.component = member.component.or(flat.component.take());
                    }
                }
            }
            _ if members.iter().flat_map(|member| &member.leaves).any(|leaf| leaf.form == Form::Object) => {
                flat.leaves.push(Leaf { node, at: at.clone(), form: Form::Object });
            }
            // Several plain parts narrow one another; the last is the narrowest in practice.
            _ => {
                if let Some(member) = members.pop() {
                    flat.leaves.extend(member.leaves);
                }
            }
        }
        Ok(())
    }
}

/// The schemas of a list such as `allOf`, each with its place.
pub(crate) fn parts<'a>(
    map: &'a Map<String, Value>,
    at: &Pointer,
    key: &str,
) -> Result<Vec<(&'a Value, Pointer)>> {
    match map.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let at = at.child(key);
            Ok(list.iter().enumerate().map(|(index, node)| (node, at.child(index.to_string()))).collect())
        }
        Some(_) => bail!("at {at}/{key}: this is a list of schemas: correct the document"),
    }
}

fn has_properties(map: &Map<String, Value>) -> bool {
    map.get("properties").is_some_and(|properties| properties.as_object().is_none_or(|p| !p.is_empty()))
}

fn has_shape(map: &Map<String, Value>) -> bool {
    map.keys().any(|key| SHAPE_KEYS.contains(&key.as_str()))
}

/// Says only which properties are required, or the like: no alternative of its own.
fn only_constrains(node: &Value) -> bool {
    let Value::Object(map) = node else { return false };
    let shaped = map.keys().any(|key| key != "type" && SHAPE_KEYS.contains(&key.as_str()));
    let constrains = map.keys().any(|key| {
        key != "type" && key != "nullable" && !key.starts_with("x-") && !TEXT_KEYS.contains(&key.as_str())
    });
    let object = map.get("type").is_none_or(|name| name == "object");
    !shaped && constrains && object
}

/// Allows anything, or any object.
fn vague(flat: &Flat<'_>) -> bool {
    flat.leaves
        .iter()
        .all(|leaf| leaf.form == Form::Any || (leaf.form == Form::Map && map_values(leaf).is_none()))
}

/// The `type` keyword as a list; none if it is not there.
fn types<'a>(map: &'a Map<String, Value>, at: &Pointer) -> Result<Option<Vec<&'a str>>> {
    match map.get("type") {
        None => Ok(None),
        Some(Value::String(name)) => Ok(Some(vec![name])),
        // Some documents write the type of nothing at all as a bare null.
        Some(Value::Null) => Ok(Some(vec!["null"])),
        Some(Value::Array(names)) => {
            let names = names.iter().map(|name| if name.is_null() { Some("null") } else { name.as_str() });
            let names: Option<Vec<_>> = names.collect();
            names
                .map(Some)
                .with_context(|| format!("at {at}/type: a type is a word or a list of words: correct it"))
        }
        Some(_) => bail!("at {at}/type: a type is a word or a list of words: correct it with an override"),
    }
}

fn form_of(name: &str, map: &Map<String, Value>) -> Option<Form> {
    Some(match name {
        "array" => Form::List,
        "boolean" => Form::Boolean,
        "integer" => Form::Integer,
        "number" => Form::Number,
        "object" if has_properties(map) => Form::Object,
        "object" => Form::Map,
        // `file` is what some generators still write for a binary body.
        "string" | "file" => Form::Text,
        // Not in the standard, but common, and nothing else can be meant.
        "any" => Form::Any,
        _ => return None,
    })
}

/// The types of a schema that does not state one.
fn inferred(map: &Map<String, Value>) -> BTreeSet<Form> {
    let from_values: BTreeSet<Form> = values(map)
        .filter_map(|value| match value {
            Value::Null => None,
            Value::Bool(_) => Some(Form::Boolean),
            Value::Number(number) if number.is_f64() => Some(Form::Number),
            Value::Number(_) => Some(Form::Integer),
            Value::String(_) => Some(Form::Text),
            Value::Array(_) => Some(Form::List),
            Value::Object(_) => Some(Form::Map),
        })
        .collect();
    if !from_values.is_empty() {
        return from_values;
    }
    let has = |key: &str| map.contains_key(key);
    let form = if has("items") || has("prefixItems") {
        Form::List
    } else if has("additionalProperties") || has("patternProperties") {
        Form::Map
    } else if has("pattern") || has("minLength") || has("maxLength") || has("format") {
        match map.get("format").and_then(Value::as_str) {
            Some("int32" | "int64") => Form::Integer,
            Some("float" | "double") => Form::Number,
            _ => Form::Text,
        }
    } else {
        return BTreeSet::new();
    };
    BTreeSet::from([form])
}

/// What `enum` and `const` list.
pub(crate) fn values(map: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    map.get("enum").and_then(Value::as_array).into_iter().flatten().chain(map.get("const"))
}

pub(crate) fn list_items<'a>(leaf: &Leaf<'a>) -> Option<(&'a Value, Pointer)> {
    // Lists whose places have types of their own, and lists without a type, are lists of anything.
    let node = leaf.node.get("items").filter(|_| leaf.node.get("prefixItems").is_none())?;
    node.is_object().then(|| (node, leaf.at.child("items")))
}

pub(crate) fn map_values<'a>(leaf: &Leaf<'a>) -> Option<(&'a Value, Pointer)> {
    let node =
        leaf.node.get("additionalProperties").filter(|_| leaf.node.get("patternProperties").is_none())?;
    node.is_object().then(|| (node, leaf.at.child("additionalProperties")))
}

/// The words of a place that name what is inline there.
fn name_of(place: &Pointer) -> String {
    let skipped =
        ["components", "schemas", "responses", "parameters", "paths", "content", "schema", "properties"];
    let words = place.tokens().iter().map(String::as_str).filter(|token| !skipped.contains(token));
    words.collect::<Vec<_>>().join(" ")
}
