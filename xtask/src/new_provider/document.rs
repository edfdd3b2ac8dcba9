//! What is read of the document itself: which operation lists the sessions, and where it is.

use std::{fs, path::Path};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use super::field_name;

/// The names of what every configuration has.
const TAKEN: [&str; 6] = ["client_id", "client_secret", "account", "base_url", "token_url", "policy"];

/// Where the API is if the document does not say.
const PLACEHOLDER: &str = "https://api.example";

/// The operation that lists the sessions.
pub(super) struct Listing {
    /// As the roots of `spec.toml` name it.
    pub(super) operation: String,
    /// `GET /path`.
    pub(super) title: String,
    pub(super) path: String,
    /// The names between braces in the path, each with the field of the configuration that holds its value.
    pub(super) parameters: Vec<(String, String)>,
    /// The version of the API.
    pub(super) version: String,
    pub(super) base_url: String,
    /// The path of the token endpoint.
    pub(super) token_path: String,
}

/// The text of the document, and the document.
pub(super) fn read(file: &Path) -> Result<(String, Value)> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|error| anyhow!("{name} cannot be read ({error}): pass an OpenAPI document with --spec"))?;
    let plain = text.trim_start_matches('\u{feff}');
    // A YAML flow mapping starts with a brace too, so YAML has the second word.
    let json = serde_json::from_str(plain).ok();
    let document: Value = match json {
        Some(document) => document,
        None => serde_saphyr::from_str(plain).map_err(|error| {
            let error = error.without_snippet().to_string();
            anyhow!(
                "{name} is neither JSON nor YAML: {}",
                error.split_whitespace().collect::<Vec<_>>().join(" ")
            )
        })?,
    };
    let version =
        document.get("openapi").map(|version| version.as_str().map_or(version.to_string(), str::to_owned));
    match version {
        Some(version) if version.starts_with("3.") => Ok((text, document)),
        Some(version) => bail!("{name} is OpenAPI {version}: only 3.0, 3.1 and 3.2 are read"),
        None => {
            bail!("{name} is not an OpenAPI 3 document: it has no key `openapi` such as `openapi: 3.1.0`")
        }
    }
}

/// Finds the operation called `wanted`, else the only one that can be meant.
pub(super) fn listing(document: &Value, wanted: Option<&str>) -> Result<Listing> {
    let candidates = candidates(document);
    let called =
        |found: &(String, String)| wanted == Some(&found.0) || wanted == Some(&format!("GET {}", found.1));
    let all = || candidates.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let (operation, path) = match (wanted, &candidates[..]) {
        (_, []) => bail!("there is no GET operation with a JSON answer: add the one that lists the sessions"),
        (Some(wanted), _) => candidates.iter().find(|found| called(found)).with_context(|| {
            format!(
                "no GET operation with a JSON answer is called `{wanted}`: pass --operation with one of {}",
                all()
            )
        })?,
        (None, [only]) => only,
        (None, many) => bail!(
            "{} GET operations have a JSON answer: pass --operation with the one that lists the sessions, of {}",
            many.len(),
            all()
        ),
    };
    // It becomes part of Rust and TOML, and no path of an API needs these.
    ensure!(
        !path.contains(['"', '\\', '?', '#']) && !operation.contains(['"', '\\']),
        "`GET {path}` has a quotation mark, a backslash, `?` or `#` in its path or name: correct the document"
    );
    let version = document.pointer("/info/version").and_then(Value::as_str).unwrap_or("unknown");
    Ok(Listing {
        operation: operation.clone(),
        title: format!("GET {path}"),
        parameters: parameters(path),
        path: path.clone(),
        version: version.escape_default().to_string(),
        base_url: base_url(document).unwrap_or_else(|| PLACEHOLDER.to_owned()),
        token_path: token_path(document).unwrap_or_else(|| "/oauth/token".to_owned()),
    })
}

impl Listing {
    /// The path with `text` in the place of each parameter.
    pub(super) fn pattern(&self, text: &str) -> String {
        self.parameters
            .iter()
            .fold(self.path.clone(), |path, (name, _)| path.replace(&format!("{{{name}}}"), text))
    }
}

fn parameters(path: &str) -> Vec<(String, String)> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, _) in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
        let mut field = field_name(name);
        while TAKEN.contains(&field.as_str()) || parameters.iter().any(|(_, known)| *known == field) {
            field.push_str("_of_path");
        }
        parameters.push((name.to_owned(), field));
    }
    parameters
}

/// The operations that could be the listing: name and path.
fn candidates(document: &Value) -> Vec<(String, String)> {
    let paths = document.get("paths").and_then(Value::as_object);
    let gets = paths.into_iter().flatten().filter_map(|(path, item)| {
        let get = followed(document, item).get("get")?;
        let responses = get.get("responses")?.as_object()?;
        let mut good = responses.iter().filter(|(code, _)| code.starts_with('2'));
        let is_json = good.any(|(_, response)| {
            let content = followed(document, response).get("content").and_then(Value::as_object);
            content.into_iter().flatten().any(|(media, node)| {
                media.contains("json") && followed(document, node).get("schema").is_some()
            })
        });
        let id = get.get("operationId").and_then(Value::as_str).filter(|id| !id.trim().is_empty());
        is_json.then(|| (id.map_or_else(|| format!("GET {path}"), str::to_owned), path.clone()))
    });
    gets.collect()
}

/// The end of a chain of references; a chain without an end is the generator's to refuse.
fn followed<'a>(document: &'a Value, mut node: &'a Value) -> &'a Value {
    for _ in 0..16 {
        let Some(place) = node.get("$ref").and_then(Value::as_str).and_then(|place| place.strip_prefix('#'))
        else {
            break;
        };
        node = document.pointer(place).unwrap_or(&Value::Null);
    }
    node
}

/// The first server, if it is a whole address.
fn base_url(document: &Value) -> Option<String> {
    let url = document.pointer("/servers/0/url")?.as_str()?;
    let host = url.strip_prefix("https://")?;
    let plain = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/".contains(c));
    let named = host.starts_with(|c: char| c.is_ascii_alphanumeric());
    (plain && named).then(|| url.to_owned())
}

/// Where the document says that clients sign in.
fn token_path(document: &Value) -> Option<String> {
    let schemes = document.pointer("/components/securitySchemes")?.as_object()?;
    let url = schemes.values().find_map(|scheme| {
        followed(document, scheme).pointer("/flows/clientCredentials/tokenUrl")?.as_str()
    })?;
    let path = match url.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => url,
    };
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/".contains(c));
    (plain && path.starts_with('/')).then(|| path.to_owned())
}
