//! A place in a listing to go on from.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, ProviderId, Result, SessionQuery};

/// A place in a listing, made by one source for one query and meaningful only to it.
///
/// It serializes as a plain string and holds no host and no secret, so it may be stored and logged. Inside
/// stand the provider, the version of the adapter's state, the query's
/// [fingerprint](SessionQuery::fingerprint) and the state itself: a cursor that is damaged, outdated or used
/// with another provider or query is refused instead of silently reading the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(Box<str>);

impl Cursor {
    /// Encodes an adapter's state. Raise `version` whenever the meaning of the state changes.
    pub fn encode<T: Serialize>(provider: ProviderId, version: u8, query: &SessionQuery, state: &T) -> Self {
        let state = serde_json::to_string(state).expect("cursor state is plain data");
        Self(format!("{provider}:{version}:{}:{state}", query.fingerprint()).into())
    }

    /// Decodes what [`encode`](Self::encode) made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCursor`] if it was made by another provider or version, for another query, or is
    /// damaged.
    pub fn decode<T: DeserializeOwned>(
        &self,
        provider: ProviderId,
        version: u8,
        query: &SessionQuery,
    ) -> Result<T> {
        let invalid = |why: String| Error::new(ErrorKind::InvalidCursor, why).with_provider(provider);
        let mut parts = self.0.splitn(4, ':');
        let (made_by, made_in, made_for) = (parts.next(), parts.next(), parts.next());
        let state =
            parts.next().ok_or_else(|| invalid("this is not a cursor; start the listing again".into()))?;
        if made_by != Some(provider.as_str()) {
            return Err(invalid("the cursor belongs to another provider; start the listing again".into()));
        }
        if made_in != Some(version.to_string().as_str()) {
            return Err(invalid("the cursor was made by another release; start the listing again".into()));
        }
        if made_for != Some(query.fingerprint().as_str()) {
            return Err(invalid("the cursor belongs to another query; start the listing again".into()));
        }
        serde_json::from_str(state)
            .map_err(|e| invalid("the cursor is damaged; start the listing again".into()).with_source(e))
    }

    /// The cursor as text, as it serializes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Cursor {
    /// A cursor from stored text. Whether it is one is seen when it is used.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ProviderId = ProviderId::new("here");

    #[test]
    fn a_cursor_comes_back_as_it_was_made() {
        let query = SessionQuery::all();
        let cursor = Cursor::encode(HERE, 1, &query, &("a:b", 7));
        let stored: Cursor = serde_json::from_str(&serde_json::to_string(&cursor).unwrap()).unwrap();
        assert_eq!(stored.decode::<(String, u8)>(HERE, 1, &query).unwrap(), ("a:b".to_owned(), 7));
    }

    #[test]
    fn a_cursor_from_elsewhere_is_refused_with_the_reason() {
        let query = SessionQuery::all();
        let cursor = Cursor::encode(HERE, 1, &query, &7);
        for (error, words) in [
            (cursor.decode::<u8>(ProviderId::new("there"), 1, &query), "another provider"),
            (cursor.decode::<u8>(HERE, 2, &query), "another release"),
            (cursor.decode::<u8>(HERE, 1, &query.clone().with_finished(true)), "another query"),
            (cursor.decode::<Vec<u8>>(HERE, 1, &query).map(|_| 0), "damaged"),
            (Cursor::from("x").decode::<u8>(HERE, 1, &query), "not a cursor"),
            (Cursor::from("").decode::<u8>(HERE, 1, &query), "not a cursor"),
        ] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidCursor);
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
