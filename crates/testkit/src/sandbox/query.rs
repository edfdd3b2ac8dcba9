//! The query string of a request.

use url::form_urlencoded;

/// Pairs in the order they were sent; a name may come several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string, or a form, which is written the same way.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self { pairs: form_urlencoded::parse(text).into_owned().collect() }
    }

    /// The last value of `name`, as most frameworks read it. A value without text counts as not sent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).last().filter(|value| !value.is_empty())
    }

    /// Every value of `name`.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The query string with the pairs of these names taken out and `more` put at the end.
    pub(crate) fn rewritten(&self, without: &[&str], more: &[(&str, &str)]) -> String {
        let mut text = form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(self.pairs.iter().filter(|(name, _)| !without.contains(&name.as_str())));
        text.extend_pairs(more);
        text.finish()
    }
}
