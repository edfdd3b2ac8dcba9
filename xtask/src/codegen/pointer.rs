//! JSON pointers: where in a document something stands.

use std::fmt;

use anyhow::{Result, bail};
use serde_json::Value;

/// A place in a document, printed as `#/components/schemas/X`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pointer(Vec<String>);

impl Pointer {
    /// Reads the fragment of a reference: `#/a/b`, with `~0`, `~1` and percent escapes.
    pub(crate) fn parse(reference: &str) -> Result<Self> {
        let Some(path) = reference.strip_prefix('#') else {
            bail!("`{reference}` is not a JSON pointer into this document, which starts with `#/`");
        };
        if path.is_empty() {
            return Ok(Self::default());
        }
        let Some(path) = path.strip_prefix('/') else {
            bail!(
                "`{reference}` names an anchor, which is not read: write a pointer such as `#/components/schemas/X`"
            );
        };
        Ok(Self(
            path.split('/')
                .map(|token| percent_decoded(token).replace("~1", "/").replace("~0", "~"))
                .collect(),
        ))
    }

    /// The place one step further in.
    pub(crate) fn child(&self, token: impl Into<String>) -> Self {
        let mut tokens = self.0.clone();
        tokens.push(token.into());
        Self(tokens)
    }

    /// The steps from the top of the document.
    pub(crate) fn tokens(&self) -> &[String] {
        &self.0
    }

    /// The component schema that stands exactly here.
    pub(crate) fn component(&self) -> Option<&str> {
        match self.0.as_slice() {
            [components, schemas, name] if components == "components" && schemas == "schemas" => Some(name),
            _ => None,
        }
    }

    /// The value at this place.
    pub(crate) fn find<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(document, |value, token| match value {
            Value::Object(map) => map.get(token),
            Value::Array(list) => list.get(token.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The value at this place, to be changed.
    pub(crate) fn find_mut<'a>(&self, document: &'a mut Value) -> Option<&'a mut Value> {
        self.0.iter().try_fold(document, |value, token| match value {
            Value::Object(map) => map.get_mut(token),
            Value::Array(list) => list.get_mut(token.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The place around this one, and the last step.
    pub(crate) fn split_last(&self) -> Option<(Self, &str)> {
        let (last, rest) = self.0.split_last()?;
        Some((Self(rest.to_vec()), last))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#")?;
        self.0.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

fn percent_decoded(token: &str) -> String {
    let bytes = token.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| token.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8(decoded).unwrap_or_else(|_| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_reads_and_prints_its_escapes() {
        let pointer = Pointer::parse("#/paths/~1users~1%7Bid%7D/get").unwrap();
        assert_eq!(pointer.tokens(), ["paths", "/users/{id}", "get"]);
        assert_eq!(pointer.to_string(), "#/paths/~1users~1{id}/get");
    }

    #[test]
    fn a_percent_sign_that_escapes_nothing_stays() {
        assert_eq!(Pointer::parse("#/a%zz/b%").unwrap().tokens(), ["a%zz", "b%"]);
        assert_eq!(Pointer::parse("#/100%ü").unwrap().tokens(), ["100%ü"]);
    }

    #[test]
    fn an_anchor_and_another_file_are_refused() {
        assert!(Pointer::parse("#name").unwrap_err().to_string().contains("anchor"));
        assert!(Pointer::parse("other.yaml#/x").unwrap_err().to_string().contains("not a JSON pointer"));
    }
}
