//! Reads `spec.toml` and the document it names.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::Value;

use super::pointer::Pointer;

/// The document that is read when `spec.toml` names none.
const DEFAULT_DOCUMENT: &str = "openapi.yaml";

/// `specs/<provider>/spec.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// Where the generated file goes, from the root of the workspace.
    pub(crate) output: Option<PathBuf>,
    /// The document, from the folder of `spec.toml`.
    document: Option<PathBuf>,
    /// Where the facts come from.
    #[serde(default)]
    pub(crate) source: Source,
    /// What the adapter needs; everything they reach is generated.
    pub(crate) roots: Roots,
    /// What is not wanted.
    #[serde(default)]
    pub(crate) drop: Vec<Drop>,
    /// What the document gets wrong.
    #[serde(default, rename = "override")]
    pub(crate) overrides: Vec<Override>,
}

/// Where the facts of the document come from; read by people, and `url` by `fetch-spec`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Source {
    document: Option<PathBuf>,
    /// Pages the facts come from; the first is the provider's own document, which `fetch-spec` downloads.
    #[serde(default, alias = "urls")]
    url: Urls,
    #[serde(rename = "date")]
    _date: Option<toml::Value>,
    #[serde(rename = "licence", alias = "license")]
    _licence: Option<String>,
    #[serde(rename = "note", alias = "notes")]
    _note: Option<toml::Value>,
}

/// One address or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a string or a list of strings")]
enum Urls {
    One(String),
    Many(Vec<String>),
}

impl Default for Urls {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl Source {
    /// The address of the provider's own document.
    pub(crate) fn url(&self) -> Option<&str> {
        match &self.url {
            Urls::One(url) => Some(url),
            Urls::Many(urls) => urls.first().map(String::as_str),
        }
    }
}

/// The names from which generation starts; `*` means all of a kind.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roots {
    #[serde(default)]
    pub(crate) schemas: Vec<String>,
    #[serde(default)]
    pub(crate) responses: Vec<String>,
    #[serde(default)]
    pub(crate) queries: Vec<String>,
}

impl Roots {
    /// Everything a document offers; what `codegen-trial` asks for.
    pub(crate) fn everything() -> Self {
        let all = || vec!["*".to_owned()];
        Self { schemas: all(), responses: all(), queries: all() }
    }
}

/// A property, or any node, that is taken out before generating.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drop {
    pub(crate) at: String,
    pub(crate) reason: String,
}

/// A schema that is corrected before generating.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Override {
    pub(crate) at: String,
    pub(crate) set: Option<Value>,
    pub(crate) replace: Option<Value>,
    pub(crate) reason: String,
}

impl Spec {
    /// Reads the text of `spec.toml`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let spec: Self = toml::from_str(text).map_err(|error| {
            let place = error.span().map(|span| format!("line {}: ", line_of(text, span.start)));
            anyhow!("{}{}", place.unwrap_or_default(), one_line(error.message()))
        })?;
        if spec.document.is_some() && spec.source.document.is_some() {
            bail!("`document` is named twice, at the top and under [source]: keep one");
        }
        if spec.roots.schemas.is_empty() && spec.roots.responses.is_empty() && spec.roots.queries.is_empty() {
            bail!("[roots] names nothing to generate: list `schemas`, `responses` or `queries`");
        }
        for (kind, at, reason) in (spec.drop.iter().map(|drop| ("drop", &drop.at, &drop.reason)))
            .chain(spec.overrides.iter().map(|o| ("override", &o.at, &o.reason)))
        {
            if reason.trim().is_empty() {
                bail!("the {kind} at `{at}` has an empty reason: say what is wrong with the document");
            }
        }
        for Override { at, set, replace, .. } in &spec.overrides {
            match (set, replace) {
                (Some(_), Some(_)) => bail!("the override at `{at}` has both `set` and `replace`: keep one"),
                (None, None) => bail!("the override at `{at}` changes nothing: give it `set` or `replace`"),
                (Some(Value::Object(_)), None) | (None, Some(Value::Object(_) | Value::Bool(_))) => {}
                _ => bail!("the override at `{at}` must be a table such as {{ type = \"string\" }}"),
            }
        }
        Ok(spec)
    }

    /// The document's name, from the folder of `spec.toml`.
    pub(crate) fn document(&self) -> &Path {
        self.document.as_deref().or(self.source.document.as_deref()).unwrap_or(Path::new(DEFAULT_DOCUMENT))
    }
}

/// An OpenAPI document of version 3.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// The whole document.
    pub(crate) value: Value,
}

impl Document {
    /// Reads YAML or JSON, whatever the file is called: a JSON text starts with a brace.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let value: Value = if text.trim_start().starts_with('{') {
            // A YAML flow mapping starts with a brace too, so YAML has the second word.
            serde_json::from_str(text).or_else(|json| {
                yaml(text)
                    .map_err(|_| anyhow!("line {}, column {}: not JSON: {json}", json.line(), json.column()))
            })?
        } else {
            yaml(text)?
        };
        let Value::Object(map) = &value else {
            bail!("line 1: this is not an OpenAPI document, which is a mapping with the key `openapi`");
        };
        if map.contains_key("swagger") {
            bail!("at #/swagger: Swagger 2.0 is not read: convert the document to OpenAPI 3 first");
        }
        let version = match map.get("openapi") {
            Some(Value::String(version)) => version.clone(),
            Some(Value::Number(version)) => version.to_string(),
            _ => bail!(
                "at #/openapi: the document states no OpenAPI version: add for instance `openapi: 3.1.0`"
            ),
        };
        if !["3.0", "3.1", "3.2"]
            .iter()
            .any(|known| version == *known || version.starts_with(&format!("{known}.")))
        {
            bail!("at #/openapi: OpenAPI {version} is not read: only 3.0, 3.1 and 3.2 are");
        }
        Ok(Self { value })
    }

    /// Follows a reference that stands `at` some place to the node it names.
    pub(crate) fn resolve(&self, reference: &Value, at: &Pointer) -> Result<(&Value, Pointer)> {
        let Value::String(reference) = reference else {
            bail!("at {at}: `$ref` is not a string: write for instance `#/components/schemas/X`");
        };
        if !reference.starts_with('#') {
            bail!(
                "at {at}: `$ref` to `{reference}` leaves the document: copy what it names into the document"
            );
        }
        let place = Pointer::parse(reference).with_context(|| format!("at {at}"))?;
        match place.find(&self.value) {
            Some(node) => Ok((node, place)),
            None => bail!(
                "at {at}: `$ref` to `{reference}` leads nowhere: add what it names, or drop the place in spec.toml"
            ),
        }
    }

    /// Follows `$ref` of anything but schemas (path items, parameters, responses) to its end.
    pub(crate) fn follow<'a>(&'a self, node: &'a Value, at: &Pointer) -> Result<(&'a Value, Pointer)> {
        let (mut node, mut place) = (node, at.clone());
        let mut seen = vec![place.clone()];
        while let Some(reference) = node.get("$ref") {
            (node, place) = self.resolve(reference, &place)?;
            if seen.contains(&place) {
                bail!("at {at}: `$ref` goes round in a circle through {place}: correct the document");
            }
            seen.push(place.clone());
        }
        Ok((node, place))
    }
}

/// One provider's folder, read and parsed.
#[derive(Debug)]
pub(crate) struct Input {
    /// The provider's name, as its folder is called.
    pub(crate) provider: String,
    /// What `spec.toml` says.
    pub(crate) spec: Spec,
    /// The text of `spec.toml`.
    pub(crate) spec_text: String,
    /// The parsed document, as it stands in the file.
    pub(crate) document: Document,
    /// The text of the document.
    pub(crate) document_text: String,
    /// The document's path from the root of the workspace, for messages.
    pub(crate) document_name: String,
}

impl Input {
    /// Reads `specs/<provider>`.
    pub(crate) fn read(root: &Path, provider: &str) -> Result<Self> {
        let folder = PathBuf::from("specs").join(provider);
        if !root.join(&folder).is_dir() {
            let known = providers(root)?;
            bail!(
                "there is no folder specs/{provider}: {}",
                if known.is_empty() {
                    "no provider has one yet".to_owned()
                } else {
                    format!("known are {}", known.join(", "))
                }
            );
        }
        let spec_name = folder.join("spec.toml");
        let spec_text = read_text(root, &spec_name)?;
        let spec = Spec::parse(&spec_text).with_context(|| spec_name.display().to_string())?;
        let document_path = folder.join(spec.document());
        let document_text = read_text(root, &document_path)?;
        let document_name = document_path.display().to_string();
        let document = Document::parse(&document_text).with_context(|| document_name.clone())?;
        Ok(Self { provider: provider.to_owned(), spec, spec_text, document, document_text, document_name })
    }
}

/// All folders under `specs/` that have a `spec.toml`, in order.
pub(crate) fn providers(root: &Path) -> Result<Vec<String>> {
    let specs = root.join("specs");
    let mut providers = Vec::new();
    if specs.is_dir() {
        for entry in fs::read_dir(&specs).context("specs cannot be listed")? {
            let entry = entry.context("specs cannot be listed")?;
            if entry.path().join("spec.toml").is_file() {
                providers.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    providers.sort();
    Ok(providers)
}

fn read_text(root: &Path, name: &Path) -> Result<String> {
    let bytes = fs::read(root.join(name)).with_context(|| format!("{} cannot be read", name.display()))?;
    String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8 text: save it as UTF-8", name.display()))
}

fn yaml(text: &str) -> Result<Value> {
    // Documents of vendors are far larger than configuration files; the depth limit stays.
    let options = serde_saphyr::options! {
        strict_booleans: true,
        budget: serde_saphyr::budget! {
            max_events: 100_000_000,
            max_nodes: 50_000_000,
            max_total_scalar_bytes: 1 << 30,
        },
    };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| anyhow!("not YAML: {}", one_line(&error.without_snippet().to_string())))
}

pub(crate) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
