//! Places in listings, by `Link` header and by offset. They go into cursors.

use charging_sessions_core::{Error, ErrorKind, Result, SessionPage};
use serde::{Deserialize, Serialize};

use crate::link;

/// A place in lists that are paged by `Link` headers, of which a query may need several, read one after another. Goes
/// into a cursor.
///
/// ```
/// use charging_sessions_http::LinkPlace;
///
/// // Two lists, because the provider gives the sessions of one vehicle at a time.
/// let place = LinkPlace::resume(None, "expand=tariff".into(), 2)?;
/// assert_eq!((place.list(), place.ask([("vehicle", "a".into())])), (0, "vehicle=a".into()));
/// let place = place.after(Some("page=2".into()), 2).unwrap();
/// assert_eq!((place.list(), place.ask([("vehicle", "a".into())])), (0, "page=2&vehicle=a".into()));
/// let place = place.after(None, 2).unwrap();
/// assert_eq!((place.list(), place.ask([("vehicle", "b".into())])), (1, "vehicle=b".into()));
/// assert_eq!(place.after(None, 2), None);
/// # Ok::<(), charging_sessions_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkPlace {
    /// Which of the lists.
    list: usize,
    /// The query of the provider's next-link; `None` at the start of a list.
    next: Option<String>,
    /// What the source asks for besides the query, because a place in one listing is none in another.
    options: String,
}

impl LinkPlace {
    /// The place that a cursor held, or the start if there is none. `options` is what the source asks for besides the
    /// query, and `lists` is how many lists there are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCursor`] if the place is of a source with other options, or of another number of lists.
    pub fn resume(stored: Option<Self>, options: String, lists: usize) -> Result<Self> {
        let Some(place) = stored else { return Ok(Self { list: 0, next: None, options }) };
        if place.options != options || place.list >= lists {
            let message = "the cursor belongs to a source with other options; start the listing again";
            return Err(Error::new(ErrorKind::InvalidCursor, message));
        }
        Ok(place)
    }

    /// Which of the lists it is in, from 0.
    pub fn list(&self) -> usize {
        self.list
    }

    /// The query to ask for its page with, percent-encoded: that of the link, and those of `conditions` that it does
    /// not name.
    pub fn ask<'a>(&self, conditions: impl IntoIterator<Item = (&'a str, String)>) -> String {
        link::with_conditions(self.next.as_deref().unwrap_or_default(), conditions)
    }

    /// The place after its page, which gave this [next-link](link::next); `None` after the last page of the last list.
    pub fn after(self, next: Option<String>, lists: usize) -> Option<Self> {
        let list = self.list + usize::from(next.is_none());
        (next.is_some() || list < lists).then_some(Self { list, next, ..self })
    }
}

/// How far each page moves a place on, which foretells where those after the next begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stride {
    /// How many records the last page brought.
    step: u64,
    /// Whether the page before it brought as many.
    steady: bool,
}

impl Stride {
    pub(crate) fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Takes note of a page.
    pub(crate) fn moved(&mut self, by: u64) {
        *self = Self { step: by, steady: by > 0 && by == self.step };
    }

    /// The offsets from the next on, `offset`, as long as a page that begins there has more than `overlap` records.
    pub(crate) fn ahead(self, offset: u64, overlap: u32, total: Option<u64>) -> impl Iterator<Item = u64> {
        let end = total.filter(|_| self.steady).unwrap_or_default().saturating_sub(overlap.into());
        std::iter::successors(Some(offset), move |offset| offset.checked_add(self.step.max(1)))
            .take_while(move |offset| *offset < end)
    }
}

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
    #[serde(default, skip_serializing_if = "Stride::is_unknown")]
    stride: Stride,
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

    /// The offsets of the pages that are left, from the next on, if two pages have moved the place on by the same number
    /// of records, and the list has a total. Each repeats one record. For [`Client::expect`](crate::Client::expect).
    pub fn ahead(&self) -> impl Iterator<Item = u64> + use<> {
        let total = self.total.filter(|_| !self.done && self.overlap() == 1);
        self.stride.ahead(self.offset(), self.overlap(), total)
    }

    /// As [`advance`](Self::advance), and takes from the page what the one before had already, and its total: it is that
    /// of this list, of which a listing may have several.
    ///
    /// # Errors
    ///
    /// As for [`advance`](Self::advance).
    pub fn take(&mut self, page: &mut SessionPage, ids: &[Option<String>]) -> Result<()> {
        page.sessions.retain(|session| Some(session.key().source_id.as_str()) != self.repeated());
        self.advance(ids, page.total.take())
    }

    /// Moves on by a page: the identifiers of its records in order, as far as they can be read, and the total that
    /// it states. Moves back to the start if the list has changed since the page before.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCursor`] if the list has changed too often, or never gives as many records as it states:
    /// this place leads nowhere any more, and only a new one can.
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
                let text = "a list keeps changing while it is read, or gives fewer records than it states; start \
                            the listing again";
                return Err(Error::new(ErrorKind::InvalidCursor, text));
            }
            *self = Self { restarts: self.restarts + 1, ..Self::default() };
            return Ok(());
        }
        self.received += new;
        self.stride.moved(new);
        self.total = total;
        if let Some(last) = ids.last() {
            self.last.clone_from(last);
        }
        // Without a total, or with one that cannot be right, only a page with nothing new is the last.
        let credible = total.filter(|total| *total >= self.received);
        self.done = credible.map_or(new == 0, |total| self.received == total);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_a_source_with_other_options_is_refused() {
        let place = LinkPlace { list: 1, next: Some("page=2".into()), options: "mode=SMART".into() };
        assert_eq!(LinkPlace::resume(Some(place.clone()), "mode=SMART".into(), 2).unwrap(), place);
        for (options, lists) in [("mode=BOOST", 2), ("mode=SMART", 1)] {
            let error = LinkPlace::resume(Some(place.clone()), options.into(), lists).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidCursor);
        }
    }

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
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::InvalidCursor, false));
    }

    #[test]
    fn a_total_below_what_has_come_is_not_the_end() {
        let mut place = after(&["a", "b"], Some(0));
        assert!(!place.is_done());
        place.advance(&ids(&["b", "c"]), Some(0)).unwrap();
        assert!(!place.is_done());
        place.advance(&ids(&["c"]), Some(0)).unwrap();
        assert!(place.is_done());
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
    fn where_pages_begin_is_foretold_once_two_have_brought_as_many() {
        let ahead = |place: &OffsetPlace| place.ahead().collect::<Vec<_>>();
        let mut place = after(&["a", "b"], Some(7));
        assert!(ahead(&place).is_empty());
        place.advance(&ids(&["b", "c", "d"]), Some(7)).unwrap();
        assert_eq!(ahead(&place), [3, 5]);
        let stored: OffsetPlace = serde_json::from_str(&serde_json::to_string(&place).unwrap()).unwrap();
        assert_eq!(ahead(&stored), [3, 5]);
        place.advance(&ids(&["d", "e", "f"]), Some(7)).unwrap();
        assert_eq!(ahead(&place), [5]);
        for (page, total) in
            [(&["f", "g"][..], Some(7)), (&["f", "g", "h"], Some(9)), (&["f", "g", "h"], None)]
        {
            let mut place = place.clone();
            place.advance(&ids(page), total).unwrap();
            assert!(ahead(&place).is_empty(), "{page:?} {total:?}");
        }
    }

    #[test]
    fn a_place_survives_serialization() {
        let place = after(&["a", "b"], Some(4));
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<OffsetPlace>(&json).unwrap(), place);
    }
}
