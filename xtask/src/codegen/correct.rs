//! Applies the drops and overrides of `spec.toml` to a document before anything is generated.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

use super::{
    load::{Document, Spec},
    pointer::Pointer,
};

/// The keys that decide of what type a schema is; setting one replaces the others.
const TYPE_KEYS: [&str; 6] = ["$ref", "type", "oneOf", "anyOf", "allOf", "const"];

/// What becomes of a correction whose place the document does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmatched {
    /// Our own document: the correction is out of date.
    Refuse,
    /// The provider's document, which may have been put right since.
    Skip,
}

/// The document with every correction of the spec made; overrides come first, so that pointers mean what they
/// mean in the file.
pub(crate) fn corrected(document: &Document, spec: &Spec, unmatched: Unmatched) -> Result<Document> {
    let mut value = document.value.clone();
    for change in &spec.overrides {
        let Some(place) = find(&document.value, &change.at) else {
            if unmatched == Unmatched::Skip {
                continue;
            }
            bail!("the override at `{}` matches nothing: correct `at`, or remove the override", change.at);
        };
        let Some(node) = place.find_mut(&mut value) else {
            bail!(
                "the override at `{}` lies inside another override, which replaced it: keep one",
                change.at
            );
        };
        match (&change.replace, &change.set) {
            (Some(replace), _) => *node = replace.clone(),
            (None, Some(Value::Object(set))) => merge(node, set),
            (None, _) => {}
        }
    }
    let mut places = Vec::new();
    for drop in &spec.drop {
        match find(&document.value, &drop.at) {
            Some(place) if place.split_last().is_some() => places.push((place, drop)),
            None if unmatched == Unmatched::Skip => {}
            Some(_) => {
                bail!("the drop at `{}` would leave nothing: name a place inside the document", drop.at)
            }
            None => bail!("the drop at `{}` matches nothing: correct `at`, or remove the drop", drop.at),
        }
    }
    // From the back, so that the places of a list which are still to go keep their numbers.
    places.sort_by_key(|(place, _)| std::cmp::Reverse(list_order(place)));
    for (place, drop) in places {
        let Some((around, last)) = place.split_last() else { continue };
        let gone = match around.find_mut(&mut value) {
            Some(Value::Object(map)) => map.remove(last).is_some(),
            Some(Value::Array(list)) => match last.parse::<usize>() {
                Ok(index) if index < list.len() => {
                    list.remove(index);
                    true
                }
                _ => false,
            },
            _ => false,
        };
        if !gone {
            bail!("the drop at `{}` lies inside another drop or override: keep one", drop.at);
        }
    }
    Ok(Document { value })
}

/// Orders places so that list positions compare as numbers.
fn list_order(place: &Pointer) -> Vec<(Option<usize>, String)> {
    place.tokens().iter().map(|token| (token.parse().ok(), token.clone())).collect()
}

/// Finds `#/a/json/pointer` or `Schema.property.inner[].leaf`.
fn find(document: &Value, at: &str) -> Option<Pointer> {
    if at.starts_with('#') {
        let place = Pointer::parse(at).ok()?;
        return place.find(document).is_some().then_some(place);
    }
    let schemas = Pointer::default().child("components").child("schemas");
    let names = schemas.find(document)?.as_object()?;
    // Schema names may hold dots themselves: the longest that fits is meant.
    let name = names
        .keys()
        .filter(|name| {
            at.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
        .max_by_key(|name| name.len())?;
    let place = schemas.child(name.as_str());
    descend(document, place, &at[name.len()..])
}

fn descend(document: &Value, place: Pointer, path: &str) -> Option<Pointer> {
    if path.is_empty() {
        return Some(place);
    }
    if let Some(rest) = path.strip_prefix("[]") {
        return descend(document, inner(document, &place, &["items"])?, rest);
    }
    let path = path.strip_prefix('.')?;
    // A property's name may hold a dot too: the shortest that leads somewhere is meant.
    let ends =
        path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at).chain([path.len()]);
    for end in ends {
        let (name, rest) = path.split_at(end);
        if let Some(found) =
            inner(document, &place, &["properties", name]).and_then(|at| descend(document, at, rest))
        {
            return Some(found);
        }
    }
    None
}

/// Looks in the schema itself, then in the inline parts it is put together from.
fn inner(document: &Value, place: &Pointer, keys: &[&str]) -> Option<Pointer> {
    let wanted = keys.iter().fold(place.clone(), |place, key| place.child(*key));
    if wanted.find(document).is_some() {
        return Some(wanted);
    }
    let node = place.find(document)?;
    ["allOf", "oneOf", "anyOf"].iter().find_map(|key| {
        let parts = node.get(key)?.as_array()?;
        (0..parts.len()).find_map(|index| inner(document, &place.child(*key).child(index.to_string()), keys))
    })
}

fn merge(node: &mut Value, set: &Map<String, Value>) {
    let Value::Object(map) = node else {
        *node = Value::Object(set.clone());
        return;
    };
    if TYPE_KEYS.iter().any(|key| set.contains_key(*key)) {
        map.retain(|key, _| !TYPE_KEYS.contains(&key.as_str()) || set.contains_key(key));
    }
    for (key, value) in set {
        match (map.get_mut(key), value) {
            (Some(old @ Value::Object(_)), Value::Object(new)) if !TYPE_KEYS.contains(&key.as_str()) => {
                merge_plain(old, new);
            }
            _ => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Below `properties` a key is a property's name and decides nothing about types.
fn merge_plain(node: &mut Value, set: &Map<String, Value>) {
    let Value::Object(map) = node else { return };
    for (key, value) in set {
        match (map.get_mut(key), value) {
            (Some(old @ Value::Object(_)), Value::Object(new)) => merge(old, new),
            _ => {
                map.insert(key.clone(), value.clone());
            }
        }
    }
}
