//! The documents in `specs/`, and what they say about an answer.

use std::{cell::RefCell, collections::HashMap, fs};

use bytes::Bytes;
use http::{Request, Response, header};
use jsonschema::{
    ValidationError, Validator,
    error::ValidationErrorKind::{AnyOf, OneOfNotValid},
};
use serde_json::{Map, Value};

/// What a document says about requests and answers.
pub(crate) struct Document {
    /// The document, in which no object may have a property that is not described.
    closed: Value,
    /// The path of the server's address.
    base: String,
    /// Compiled schemas by their place.
    validators: RefCell<HashMap<String, Validator>>,
}

impl Document {
    /// The document of a provider.
    pub(crate) fn of(provider: &str) -> Self {
        let path = format!("{}/../specs/{provider}/openapi.yaml", env!("CARGO_MANIFEST_DIR"));
        let mut closed: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let server = closed["servers"][0]["url"].as_str().unwrap();
        let base = server.parse::<http::Uri>().unwrap().path().trim_end_matches('/').to_owned();
        close(&mut closed, true);
        Self { closed, base, validators: RefCell::default() }
    }

    /// Every operation with each status that is described for it.
    pub(crate) fn described(&self) -> Vec<(String, u16)> {
        let operations = self.closed["paths"].as_object().unwrap().values().flat_map(operations);
        operations
            .flat_map(|(_, operation)| {
                let name = operation["operationId"].as_str().unwrap();
                let statuses = operation["responses"].as_object().unwrap().keys();
                statuses.map(move |status| (name.to_owned(), status.parse().unwrap()))
            })
            .collect()
    }

    /// Every example of a body, with the place of its schema.
    pub(crate) fn examples(&self) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        collect(&self.closed, "", &mut found);
        found
    }

    /// The name of the operation that was asked for, unless the answer is not as described.
    pub(crate) fn check(&self, request: &Request<Bytes>, answer: &Response<Bytes>) -> Result<String, String> {
        let (method, path, status) = (request.method().as_str(), request.uri().path(), answer.status());
        let place =
            self.operation(method, path).ok_or_else(|| format!("{method} {path} is not described"))?;
        let name = self.closed.pointer(&place).unwrap()["operationId"].as_str().unwrap().to_owned();
        let refuse = |why: String| Err(format!("{name}, {status}: {why}"));
        let mut response = format!("{place}/responses/{}", status.as_u16());
        let Some(described) = self.closed.pointer(&response) else {
            return refuse("the status is not described".to_owned());
        };
        if let Some(reference) = described["$ref"].as_str() {
            response = reference.trim_start_matches('#').to_owned();
        }
        let media = answer.headers().get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
        let schema = format!("{response}/content/{}/schema", escaped(media.unwrap_or_default()));
        if self.closed.pointer(&schema).is_none() {
            return refuse(format!("the content type {media:?} is not described"));
        }
        let body = match serde_json::from_slice(answer.body()) {
            Ok(body) => body,
            Err(_) if media == Some("text/plain") => Value::from(String::from_utf8_lossy(answer.body())),
            Err(error) => return refuse(format!("the body is not JSON: {error}")),
        };
        match self.errors(&schema, &body).as_slice() {
            [] => Ok(name),
            errors => refuse(format!("{path}\n  {}", errors.join("\n  "))),
        }
    }

    /// What does not fit the schema at this place.
    pub(crate) fn errors(&self, schema: &str, body: &Value) -> Vec<String> {
        let mut validators = self.validators.borrow_mut();
        let validator = validators.entry(schema.to_owned()).or_insert_with(|| {
            // References lead into the document, so the schema is put on top of it.
            let mut root = self.closed.clone();
            let described = self.closed.pointer(schema).and_then(Value::as_object).unwrap();
            root.as_object_mut().unwrap().extend(described.clone());
            jsonschema::draft202012::options().should_validate_formats(true).build(&root).unwrap()
        });
        let mut errors = Vec::new();
        validator.iter_errors(body).for_each(|error| leaves(&error, &mut errors));
        errors
    }

    /// The place of an operation.
    fn operation(&self, method: &str, path: &str) -> Option<String> {
        let path = path.strip_prefix(&self.base)?;
        let mut templates = self.closed["paths"].as_object()?.iter();
        let (template, _) = templates.find(|(template, operations)| {
            let parts: Vec<_> = template.split('/').zip(path.split('/')).collect();
            parts.len() == template.split('/').count().max(path.split('/').count())
                && parts.iter().all(|(template, part)| template.starts_with('{') || template == part)
                && operations.get(method.to_lowercase()).is_some()
        })?;
        Some(format!("/paths/{}/{}", escaped(template), method.to_lowercase()))
    }
}

/// The operations of a path.
fn operations(path: &Value) -> impl Iterator<Item = (&String, &Value)> {
    path.as_object().into_iter().flatten().filter(|(_, operation)| operation.get("operationId").is_some())
}

/// As part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Lets no object have properties that are not described. `here` is false where a schema describes only a part
/// of an object, or where it is closed by whoever refers to it.
fn close(value: &mut Value, here: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| close(item, here)),
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut().filter(|(key, _)| *key != "example") {
                match (key.as_str(), field) {
                    ("schemas", Value::Object(schemas)) => {
                        schemas.values_mut().for_each(|schema| close(schema, false));
                    }
                    (key, field) => close(field, key != "allOf"),
                }
            }
            if here && is_object_schema(fields) {
                fields.insert("unevaluatedProperties".to_owned(), false.into());
            }
        }
        _ => {}
    }
}

fn is_object_schema(fields: &Map<String, Value>) -> bool {
    ["properties", "allOf", "$ref"].iter().any(|key| fields.contains_key(*key))
}

/// The examples below a place.
fn collect<'a>(value: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| collect(item, &format!("{place}/{index}"), found));
        }
        Value::Object(fields) => {
            if let (Some(_), Some(example)) = (fields.get("schema"), fields.get("example")) {
                found.push((format!("{place}/schema"), example));
            }
            for (key, field) in fields {
                collect(field, &format!("{place}/{}", escaped(key)), found);
            }
        }
        _ => {}
    }
}

/// The errors behind an error: of a choice, those of each branch.
fn leaves(error: &ValidationError<'_>, into: &mut Vec<String>) {
    match error.kind() {
        AnyOf { context } | OneOfNotValid { context } => {
            context.iter().flatten().for_each(|error| leaves(error, into));
        }
        _ => into.push(format!("{}: {}", error.instance_path(), error.masked())),
    }
}
