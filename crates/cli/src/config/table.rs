//! Reads tables of TOML, and says in one sentence where something is wrong and what to do.

use std::{fmt, fs, ops::Range, path::PathBuf, str::FromStr};

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::exit::Failure;

/// A file of the configuration.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl File {
    pub(super) fn read(path: PathBuf) -> Result<Self, Failure> {
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(error) => {
                let message = format!("the configuration {} cannot be read: {error}", path.display());
                Err(Failure::usage(message))
            }
        }
    }

    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'_>>, Failure> {
        // Only the parser's sentence: the line that it would print beside may hold a secret.
        DeTable::parse(&self.text).map_err(|error| {
            self.wrong(error.span().unwrap_or(0..0), format!("this is not TOML: {}", error.message()))
        })
    }

    /// The file and the line of a span.
    pub(super) fn place(&self, span: Range<usize>) -> String {
        let before = self.text.as_bytes().iter().take(span.start);
        format!("{}:{}", self.path.display(), 1 + before.filter(|byte| **byte == b'\n').count())
    }

    pub(super) fn wrong(&self, span: Range<usize>, message: impl fmt::Display) -> Failure {
        Failure::at(&self.place(span), message)
    }
}

/// A table of a file, whose keys are all known.
#[derive(Debug)]
pub(super) struct Table<'a> {
    file: &'a File,
    span: Range<usize>,
    values: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// The table, if it is one. `what` names it in messages.
    pub(super) fn of(file: &'a File, value: &'a Spanned<DeValue<'a>>, what: &str) -> Result<Self, Failure> {
        match value.get_ref() {
            DeValue::Table(values) => Ok(Self::new(file, value.span(), values)),
            other => Err(file.wrong(value.span(), format!("`{what}` must be a table, not {}", kind(other)))),
        }
    }

    pub(super) fn new(file: &'a File, span: Range<usize>, values: &'a DeTable<'a>) -> Self {
        Self { file, span, values }
    }

    /// Refuses keys other than these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        let Some((key, _)) = self.entries().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) else {
            return Ok(());
        };
        let cure = meant(key.get_ref(), known);
        Err(self.file.wrong(key.span(), format!("unknown key `{}`: {cure}", key.get_ref())))
    }

    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.values.iter()
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.values.get(key)
    }

    /// The table under `key`.
    pub(super) fn table(&self, key: &str) -> Result<Option<Table<'a>>, Failure> {
        self.get(key).map(|value| Self::of(self.file, value, key)).transpose()
    }

    /// Something is wrong with the value of `key`, or with the table if there is none.
    pub(super) fn wrong(&self, key: &str, message: impl fmt::Display) -> Failure {
        self.file.wrong(self.get(key).map_or(self.span.clone(), Spanned::span), message)
    }

    /// The file and the line of `key`.
    pub(super) fn place(&self, key: &str) -> String {
        self.file.place(self.get(key).map_or(self.span.clone(), Spanned::span))
    }

    fn read<T>(
        &self,
        key: &str,
        wanted: &str,
        read: impl Fn(&'a DeValue<'a>) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || self.wrong(key, format!("`{key}` must be {wanted}, not {}", kind(value.get_ref())));
        read(value.get_ref()).map(Some).ok_or_else(wrong)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Failure> {
        match self.read(key, "text in quotes", |value| value.as_str().map(str::to_owned))? {
            Some(text) if text.is_empty() => Err(self.wrong(key, format!("`{key}` is empty: write it here"))),
            text => Ok(text),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Failure> {
        let all = |value: &DeValue<'_>| {
            value.as_array()?.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect()
        };
        let texts = self.read(key, "a list of texts such as [\"one\", \"two\"]", all)?;
        Ok(texts.unwrap_or_default())
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, Failure> {
        Ok(self.read(key, "true or false", DeValue::as_bool)?.unwrap_or_default())
    }

    /// Text with a form of its own. It is not repeated in the message, because it may hold what is private.
    pub(super) fn parsed<T: FromStr>(&self, key: &str, wanted: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let wrong = |_| self.wrong(key, format!("`{key}` must be {wanted}"));
        text.parse().map(Some).map_err(wrong)
    }

    /// A day, with or without quotes.
    pub(super) fn day(&self, key: &str) -> Result<Option<jiff::civil::Date>, Failure> {
        let day = |value: &DeValue<'_>| match value {
            DeValue::Datetime(it) => it.to_string().parse().ok().filter(|_| it.time.is_none()),
            DeValue::String(text) => text.parse().ok().filter(|_| text.len() == 10),
            _ => None,
        };
        let wrong = || self.wrong(key, format!("`{key}` must be a day such as 2024-01-01"));
        self.get(key).map(|value| day(value.get_ref()).ok_or_else(wrong)).transpose()
    }
}

/// What a value is, for messages.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known word that was probably meant, or else all of them.
pub(super) fn meant(word: &str, known: &[&str]) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(word, known);
    match known.iter().min_by_key(|known| distance(known)) {
        Some(near) if distance(near) <= near.len().div_ceil(3) => format!("did you mean `{near}`?"),
        _ => format!("known are {}", listed(known)),
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
