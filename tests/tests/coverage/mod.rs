//! What becomes of each property that a document describes, found out by changing it and looking at the result.

use std::{collections::BTreeSet, fmt::Write as _, fs};

use serde_json::{Map, Value, json};

/// Schemas of a provider's document.
pub(crate) struct Schemas {
    schemas: Value,
    /// Reasons in `spec.toml`, by schema and property.
    dropped: Vec<(String, String)>,
}

/// A property, with a value for it and another one, if it is no object.
struct Property {
    /// Where in the record, with `[]` for each list.
    path: String,
    /// The same place as a JSON pointer into the sample.
    pointer: String,
    /// Schema and property, here and above: what a reason may be given for.
    names: Vec<String>,
    /// Values that differ from the sample's.
    others: Vec<Value>,
}

impl Schemas {
    pub(crate) fn of(provider: &str) -> Self {
        let folder = format!("{}/../specs/{provider}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(format!("{folder}/openapi.yaml")).unwrap();
        let document: Value = serde_saphyr::from_str(&text).unwrap();
        let spec = fs::read_to_string(format!("{folder}/spec.toml")).unwrap();
        let value = |line: &str| line.split_once('"').unwrap().1.trim_end_matches('"').to_owned();
        let mut dropped = Vec::new();
        for entry in spec.split("[[drop]]").skip(1) {
            let at = entry.lines().find(|line| line.starts_with("at = ")).map(value).unwrap();
            let reason = entry.lines().find(|line| line.starts_with("reason = ")).map(value).unwrap();
            dropped.push((at, reason));
        }
        Self { schemas: document["components"]["schemas"].clone(), dropped }
    }

    /// The same, with a property that is one row, whatever it holds.
    pub(crate) fn with_whole(mut self, at: &str, reason: &str) -> Self {
        self.dropped.push((at.to_owned(), reason.to_owned()));
        self
    }

    /// The rows of a table: each property of the schema `root`, and what changes when it does in what `map` makes.
    ///
    /// `left_out` has the reasons for properties that change nothing, by name or by schema and name; what
    /// `spec.toml` drops has its reason there.
    pub(crate) fn table(
        &self,
        root: &str,
        left_out: &[(&str, &str)],
        map: impl Fn(&Value) -> Value,
    ) -> String {
        let mut properties = Vec::new();
        let sample = self.sample(root, "", "", &[], &mut properties, 0);
        let (mut table, mut unexplained) = (String::new(), Vec::new());
        for property in &properties {
            let effect = |sample: &Value| {
                let before = map(sample);
                property.others.iter().find_map(|other| {
                    let places = differences(&before, &map(&with(sample, &property.pointer, other.clone())));
                    (!places.is_empty()).then(|| shown(&places))
                })
            };
            // One that counts more may stand before it.
            let behind = || {
                let others = properties.iter().filter(|other| other.pointer != property.pointer);
                others.into_iter().find_map(|other| {
                    let places = effect(&with(&sample, &other.pointer, Value::Null))?;
                    Some(format!("{places}, if `{}` is not given", other.path))
                })
            };
            let reason = || self.reason(property, left_out);
            let target = effect(&sample).or_else(reason).or_else(behind);
            match target {
                Some(target) => writeln!(table, "| `{}` | {target} |", property.path).unwrap(),
                None => unexplained.push(property.names.last().cloned().unwrap_or_default()),
            }
        }
        assert!(
            unexplained.is_empty(),
            "nothing becomes of these properties of {root}, and nobody says why: {unexplained:?}"
        );
        table
    }

    /// Why a property is in the raw payload only.
    fn reason(&self, property: &Property, left_out: &[(&str, &str)]) -> Option<String> {
        let named = |name: &String| {
            let dropped = self.dropped.iter().find(|(at, _)| at == name).map(|(_, reason)| reason.as_str());
            let last = name.rsplit('.').next();
            let listed = left_out.iter().find(|(at, _)| at == name || Some(*at) == last);
            dropped.or(listed.map(|(_, reason)| *reason))
        };
        property.names.iter().rev().find_map(named).map(|reason| format!("raw payload only. {reason}"))
    }

    /// A value that has everything the schema describes; adds its leaves to `properties`.
    fn sample(
        &self,
        name: &str,
        path: &str,
        pointer: &str,
        names: &[String],
        properties: &mut Vec<Property>,
        depth: usize,
    ) -> Value {
        self.value(&self.schemas[name], name, path, pointer, names, properties, depth)
    }

    #[expect(clippy::too_many_arguments, reason = "a walk over a tree with a name for each place in it")]
    fn value(
        &self,
        schema: &Value,
        name: &str,
        path: &str,
        pointer: &str,
        names: &[String],
        properties: &mut Vec<Property>,
        depth: usize,
    ) -> Value {
        // What is left out as a whole is one row.
        if names.last().is_some_and(|name| self.dropped.iter().any(|(at, _)| at == name)) {
            properties.push(leaf(path, pointer, names, vec![Value::Null]));
            return json!("https://api.example/one/1x");
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            // What contains itself is a link further down.
            let above = names.iter().any(|above| above.split('.').next() == Some(name));
            if above || depth > 5 {
                properties.push(leaf(path, pointer, names, vec![json!("https://api.example/other/1x")]));
                return json!("https://api.example/one/1x");
            }
            return self.sample(name, path, pointer, names, properties, depth + 1);
        }
        for word in ["oneOf", "anyOf"] {
            if let Some(choices) = schema[word].as_array() {
                // The richest: an object before a list before anything else.
                let rank = |choice: &&Value| match choice["type"].as_str() {
                    _ if choice.get("$ref").is_some() || choice.get("properties").is_some() => 3,
                    Some("array") if choice["items"].get("$ref").is_some() => 2,
                    Some("null") | None => 0,
                    Some(_) => 1,
                };
                let richest = choices.iter().max_by_key(rank).unwrap();
                return self.value(richest, name, path, pointer, names, properties, depth);
            }
        }
        let mut members = Map::new();
        self.members(schema, &mut members);
        if !members.is_empty() {
            let mut object = Map::new();
            for (key, member) in &members {
                let mut names = names.to_vec();
                names.push(format!("{name}.{key}"));
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let pointer = format!("{pointer}/{key}");
                let value = self.value(member, name, &path, &pointer, &names, properties, depth);
                object.insert(key.clone(), value);
            }
            return object.into();
        }
        let kind = schema["type"].as_str().or_else(|| {
            schema["type"].as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null")
        });
        if kind == Some("array") {
            let (path, pointer) = (format!("{path}[]"), format!("{pointer}/0"));
            return json!([self.value(&schema["items"], name, &path, &pointer, names, properties, depth)]);
        }
        let words: Vec<Value> = schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|word| word.is_string())
            .cloned()
            .collect();
        // Each instant is another, so that what is derived from two of them can be told apart.
        let minute = properties.len() % 60;
        let mut values = match (kind, schema["format"].as_str()) {
            _ if !words.is_empty() => words,
            (_, Some("date-time")) => {
                vec![
                    json!(format!("2026-06-01T10:{minute:02}:00Z")),
                    json!(format!("2026-06-02T11:{minute:02}:30Z")),
                ]
            }
            (_, Some("date")) => vec![json!("2026-06-01"), json!("2026-06-02")],
            (Some("boolean"), _) => vec![json!(true), json!(false)],
            (Some("integer"), _) => vec![json!(60), json!(61)],
            (Some("number"), _) => vec![json!(20.5), json!(21.5)],
            (Some("object") | None, _) => vec![json!({"any": 1}), json!({"any": 2})],
            _ if name_is(names, "currency") => vec![json!("GBP"), json!("EUR")],
            _ if name_is(names, "latitude") || name_is(names, "longitude") => {
                vec![json!("51.5"), json!("52.5")]
            }
            _ if name_is(names, "unit") => unit(path),
            _ if name_is(names, "type") => vec![json!("EV"), json!("ChargePoint")],
            _ if name_is(names, "price") || path.ends_with("_sub_unit") => vec![json!("20.5"), json!("21.5")],
            _ => vec![json!(format!("one-{}", properties.len())), json!("other-1")],
        };
        let first = values.remove(0);
        values.push(Value::Null);
        properties.push(leaf(path, pointer, names, values));
        first
    }

    /// The properties of a schema, with those that it takes over from others.
    fn members(&self, schema: &Value, members: &mut Map<String, Value>) {
        for part in schema["allOf"].as_array().into_iter().flatten() {
            match part["$ref"].as_str() {
                Some(reference) => {
                    self.members(&self.schemas[reference.rsplit('/').next().unwrap()], members);
                }
                None => self.members(part, members),
            }
        }
        members.extend(schema["properties"].as_object().cloned().unwrap_or_default());
    }
}

fn with(sample: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = sample.clone();
    *changed.pointer_mut(pointer).unwrap() = value;
    changed
}

fn leaf(path: &str, pointer: &str, names: &[String], others: Vec<Value>) -> Property {
    Property { path: path.to_owned(), pointer: pointer.to_owned(), names: names.to_vec(), others }
}

fn name_is(names: &[String], last: &str) -> bool {
    names.last().is_some_and(|name| name.rsplit('.').next() == Some(last))
}

/// Units that fit the figure.
fn unit(path: &str) -> Vec<Value> {
    match path {
        _ if path.contains("total") => vec![json!("kWh"), json!("Wh")],
        _ if path.contains("Power") => vec![json!("kW"), json!("W")],
        _ if path.contains("range") => vec![json!("km"), json!("m")],
        _ => vec![json!("%")],
    }
}

/// The places at which two values differ, `[]` for each list, without what only says that something was odd.
fn differences(one: &Value, other: &Value) -> BTreeSet<String> {
    fn walk(one: &Value, other: &Value, path: &str, places: &mut BTreeSet<String>) {
        match (one, other) {
            (Value::Object(a), Value::Object(b)) => {
                for key in a.keys().chain(b.keys()).collect::<BTreeSet<_>>() {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&one[key], &other[key], &path, places);
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                for index in 0..a.len().max(b.len()) {
                    let at = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
                    walk(&at(a), &at(b), &format!("{path}[]"), places);
                }
            }
            (Value::Object(members), Value::Null) | (Value::Null, Value::Object(members)) => {
                for key in members.keys() {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    walk(&members[key], &Value::Null, &path, places);
                }
            }
            _ if one != other => _ = places.insert(path.to_owned()),
            _ => {}
        }
    }
    let mut places = BTreeSet::new();
    walk(one, other, "", &mut places);
    let of_issues: BTreeSet<String> =
        places.iter().filter(|place| place.contains("issues")).cloned().collect();
    let others: BTreeSet<String> = places.difference(&of_issues).cloned().collect();
    match others.is_empty() && !of_issues.is_empty() {
        true => ["issues".to_owned()].into(),
        false => others,
    }
}

/// A few places, shortest first.
fn shown(places: &BTreeSet<String>) -> String {
    if places.contains("rejected[]") || places.contains("rejected") {
        return "without it the record is rejected".to_owned();
    }
    let mut places: Vec<&str> = places
        .iter()
        .map(|place| if place.starts_with("extra") { "extra" } else { place.as_str() })
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    places.sort_by_key(|place| (place.matches('.').count(), place.len()));
    let more = places.len().saturating_sub(4);
    places.truncate(4);
    let places: Vec<_> = places.into_iter().map(|place| format!("`{place}`")).collect();
    places.join(", ") + if more > 0 { ", …" } else { "" }
}
