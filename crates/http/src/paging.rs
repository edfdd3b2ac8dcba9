//! Paging by offset, for lists that change while they are read.

use charging_sessions_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// How often a list is read again from its start because it moved.
const MOST_RESTARTS: u8 = 5;

/// A place in a list that is paged by offset. Goes into a cursor.
///
/// A record that is added or removed while a list is read moves the others, and the next offset then skips one.
/// So each page asks again for the last record of the page before: if it does not begin with that one, or the
/// total has changed, the list is read again from its start. The place moves on by what was received, not by what
/// was asked for, so a server that caps its pages loses nothing.
///
/// ```
/// use charging_sessions_http::OffsetPlace;
///
/// let mut place = OffsetPlace::default();
/// assert_eq!((place.offset(), place.overlap()), (0, 0));
/// place.advance(&[Some("a".into()), Some("b".into())], Some(3))?;
/// assert_eq!((place.offset(), place.overlap()), (1, 1));
/// place.advance(&[Some("b".into()), Some("c".into())], Some(3))?;
/// assert!(place.is_done());
/// # Ok::<(), charging_sessions_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetPlace {
    received: u64,
    /// The last record, which the next page must begin with.
    last: Option<String>,
    /// How many there were to be, as the page before said.
    total: Option<u64>,
    restarts: u8,
    #[serde(skip)]
    done: bool,
}

impl OffsetPlace {
    /// The offset of the next page.
    pub fn offset(&self) -> u64 {
        self.received - u64::from(self.overlap())
    }

    /// How many records of the page before the next one repeats: 0 or 1. To be added to the size of the page.
    pub fn overlap(&self) -> u32 {
        self.last.is_some().into()
    }

    /// The record that the next page repeats.
    pub fn repeated(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Whether the page that it was last moved on by ends the list.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Moves on by a page: the identifiers of its records in order, as far as they can be read, and the total that
    /// it states. Moves back to the start if the list has changed since the page before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`], exhausted, if the list has changed too often, or never gives as many records as
    /// it states.
    pub fn advance(&mut self, ids: &[Option<String>], total: Option<u64>) -> Result<()> {
        let repeats = match (&self.last, ids.first()) {
            (None, _) => true,
            (Some(last), Some(Some(first))) => last == first,
            // What has no identifier cannot be compared; what is not there was removed.
            (Some(_), first) => first.is_some(),
        };
        let new = ids.len().saturating_sub(self.overlap() as usize) as u64;
        let moved = !repeats || (self.received > 0 && total != self.total);
        // An empty page before the total is not the end.
        let short = new == 0 && total.is_some_and(|total| self.received < total);
        if moved || short {
            if self.restarts >= MOST_RESTARTS {
                let text = "a list keeps changing while it is read, or gives fewer records than it states";
                return Err(Error::new(ErrorKind::Unavailable, text).exhausted());
            }
            *self = Self { restarts: self.restarts + 1, ..Self::default() };
            return Ok(());
        }
        self.received += new;
        self.total = total;
        if let Some(last) = ids.last() {
            self.last.clone_from(last);
        }
        // Without a total, only a page with nothing new is the last.
        self.done = total.map_or(new == 0, |total| self.received >= total);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Vec<Option<String>> {
        ids.iter().map(|id| (*id != "?").then(|| (*id).to_owned())).collect()
    }

    fn after(page: &[&str], total: Option<u64>) -> OffsetPlace {
        let mut place = OffsetPlace::default();
        place.advance(&ids(page), total).unwrap();
        place
    }

    #[test]
    fn an_empty_list_is_done_at_once() {
        assert!(after(&[], Some(0)).is_done());
        assert!(after(&[], None).is_done());
    }

    #[test]
    fn a_short_page_is_not_the_end() {
        let place = after(&["a", "b"], Some(200));
        assert!(!place.is_done());
        assert_eq!((place.offset(), place.repeated()), (1, Some("b")));
    }

    #[test]
    fn a_list_that_moved_is_read_again_from_its_start() {
        for (page, total) in
            [(&["x", "c"][..], Some(4)), (&["b", "c"], Some(5)), (&[], Some(4)), (&["b"], Some(4))]
        {
            let mut place = after(&["a", "b"], Some(4));
            place.advance(&ids(page), total).unwrap();
            assert_eq!(
                (place.offset(), place.overlap(), place.is_done()),
                (0, 0, false),
                "{page:?} {total:?}"
            );
        }
    }

    #[test]
    fn a_list_that_never_holds_still_is_an_error_and_not_an_end() {
        let mut place = OffsetPlace::default();
        let error = loop {
            if let Err(error) = place.advance(&[], Some(3)) {
                break error;
            }
            assert!(!place.is_done());
        };
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    }

    #[test]
    fn records_without_an_identifier_are_counted_and_not_compared() {
        let mut place = after(&["a", "?"], Some(3));
        assert_eq!((place.offset(), place.overlap()), (2, 0));
        place.advance(&ids(&["c"]), Some(3)).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn without_a_total_only_a_page_with_nothing_new_ends() {
        let mut place = after(&["a", "b"], None);
        assert!(!place.is_done());
        place.advance(&ids(&["b"]), None).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn a_place_survives_serialization() {
        let place = after(&["a", "b"], Some(4));
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<OffsetPlace>(&json).unwrap(), place);
    }
}
