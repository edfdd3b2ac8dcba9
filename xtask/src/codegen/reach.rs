//! Finds the roots: component schemas, and the operations whose responses and queries are wanted.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    load::{Document, Roots},
    pointer::Pointer,
};

const METHODS: [&str; 9] = ["get", "put", "post", "delete", "options", "head", "patch", "trace", "query"];

/// What is generated, found in the document but not read yet.
#[derive(Debug, Default)]
pub(crate) struct Reached<'a> {
    /// Component schemas by name.
    pub(crate) schemas: Vec<&'a str>,
    /// Schemas of answers.
    pub(crate) responses: Vec<Response<'a>>,
    /// Operations whose query parameters become a struct.
    pub(crate) queries: Vec<Operation<'a>>,
}

/// The schema of an operation's answer.
#[derive(Debug)]
pub(crate) struct Response<'a> {
    pub(crate) operation: Operation<'a>,
    pub(crate) schema: &'a Value,
    pub(crate) at: Pointer,
}

/// One operation of the document.
#[derive(Clone, Debug)]
pub(crate) struct Operation<'a> {
    /// `GET /path`.
    pub(crate) title: String,
    /// The operationId, else method and path; becomes a Rust name.
    pub(crate) name: String,
    pub(crate) node: &'a Value,
    pub(crate) at: Pointer,
    /// The path item around it, which may hold parameters for all its operations.
    pub(crate) item: &'a Value,
    pub(crate) item_at: Pointer,
}

/// Looks up every root.
pub(crate) fn reach<'a>(document: &'a Document, roots: &Roots) -> Result<Reached<'a>> {
    let mut reached = Reached::default();
    let schemas = Pointer::default().child("components").child("schemas");
    let schemas = schemas.find(&document.value).and_then(Value::as_object);
    for root in &roots.schemas {
        match schemas.and_then(|schemas| schemas.get_key_value(root)) {
            Some((name, _)) => reached.schemas.push(name),
            None if root == "*" => reached
                .schemas
                .extend(schemas.into_iter().flat_map(|schemas| schemas.keys()).map(String::as_str)),
            None => {
                bail!("the root schema `{root}` is not in #/components/schemas: correct [roots] in spec.toml")
            }
        }
    }
    let operations = operations(document)?;
    for root in &roots.responses {
        if root == "*" {
            for operation in &operations {
                reached.responses.extend(response(document, operation)?);
            }
            continue;
        }
        let operation = named(&operations, root)?;
        match response(document, operation)? {
            Some(response) => reached.responses.push(response),
            None => bail!(
                "at {}: `{root}` has no 2xx response with a JSON schema: correct `responses` under [roots]",
                operation.at
            ),
        }
    }
    for root in &roots.queries {
        if root == "*" {
            reached.queries.extend(operations.iter().cloned());
        } else {
            reached.queries.push(named(&operations, root)?.clone());
        }
    }
    Ok(reached)
}

fn named<'o, 'a>(operations: &'o [Operation<'a>], root: &str) -> Result<&'o Operation<'a>> {
    let by_title = root
        .split_once(char::is_whitespace)
        .map(|(method, path)| format!("{} {}", method.to_uppercase(), path.trim()));
    operations
        .iter()
        .find(|operation| by_title.as_ref() == Some(&operation.title) || operation.name == root)
        .with_context(|| {
            format!("no operation is called `{root}`: write `METHOD /path` or an operationId in [roots]")
        })
}

fn operations(document: &Document) -> Result<Vec<Operation<'_>>> {
    let mut operations = Vec::new();
    let paths = Pointer::default().child("paths");
    let Some(Value::Object(items)) = paths.find(&document.value) else { return Ok(operations) };
    for (path, item) in items {
        if !path.starts_with('/') {
            continue;
        }
        let (item, item_at) = document.follow(item, &paths.child(path.as_str()))?;
        let Value::Object(keys) = item else { bail!("at {item_at}: a path item is a mapping of methods") };
        for (method, node) in keys {
            if !METHODS.contains(&method.as_str()) {
                continue;
            }
            let title = format!("{} {path}", method.to_uppercase());
            let id = node.get("operationId").and_then(Value::as_str).filter(|id| !id.trim().is_empty());
            let name = id.map_or_else(|| format!("{method} {path}"), str::to_owned);
            let at = item_at.child(method.as_str());
            operations.push(Operation { title, name, node, at, item, item_at: item_at.clone() });
        }
    }
    Ok(operations)
}

/// The first 2xx response that has a JSON schema.
fn response<'a>(document: &'a Document, operation: &Operation<'a>) -> Result<Option<Response<'a>>> {
    let Some(Value::Object(responses)) = operation.node.get("responses") else { return Ok(None) };
    for (code, node) in responses.iter().filter(|(code, _)| code.starts_with('2')) {
        let at = operation.at.child("responses").child(code.as_str());
        let (node, at) = document.follow(node, &at)?;
        let Some(Value::Object(content)) = node.get("content") else { continue };
        let json = content.keys().find(|media| media.starts_with("application/json"));
        let json = json.or_else(|| content.keys().find(|media| media.contains("json")));
        let Some((media, node)) = json.and_then(|media| content.get_key_value(media)) else { continue };
        let (node, at) = document.follow(node, &at.child("content").child(media.as_str()))?;
        if let Some(schema) = node.get("schema") {
            return Ok(Some(Response { operation: operation.clone(), schema, at: at.child("schema") }));
        }
    }
    Ok(None)
}
