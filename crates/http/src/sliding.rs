//! A place in a list that is paged by offset while records join and leave it.

use charging_sessions_core::{Error, ErrorKind, Result, SessionPage};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;

use crate::{link, paging::Stride};

/// How many records before the place are remembered.
const MOST_KNOWN: usize = 48;
/// How many of them each page repeats at most, if that is not asked for to find a known one.
const MOST_LEARNT: u64 = 16;
/// How often a list is read again from its start because nothing in it was known any more.
const MOST_RESTARTS: u8 = 5;
/// How many pages in a row may give nothing new, although there is more: as many as it takes to go back over all that is
/// known, and some more.
const MOST_IDLE: u8 = 12;

/// A place in a list that is paged by offset and never holds still, so that reading it again from its start whenever
/// something has changed, as [`OffsetPlace`](crate::OffsetPlace) does, would not end. Goes into a cursor.
///
/// A record that leaves the list moves those behind it forward, and the next offset passes over one of them. So each
/// page asks again for the last record of the page before, and has to begin with a record that is known. If it does
/// not, the next one begins further back, twice as far each time, until a known record is met; from then on each page
/// repeats as many. What joins in the middle only moves records backward, which repeats some of them; as many as the
/// total has risen by are passed over when a page has nothing else.
///
/// All that a page holds is to be delivered, apart from what [`repeated`](Self::repeated) names.
///
/// ```
/// use charging_sessions_http::SlidingPlace;
///
/// let ids = |ids: [&str; 2]| ids.map(|id| Some(id.to_owned()));
/// let mut place = SlidingPlace::default();
/// place.advance(&ids(["a", "b"]), Some(5), None)?;
/// assert_eq!((place.offset(), place.overlap()), (1, 1));
/// // `b` is gone: whether `c` follows on `a`, or what did is gone by, cannot be seen.
/// place.advance(&ids(["d", "e"]), Some(4), None)?;
/// assert_eq!(place.offset(), 0);
/// # Ok::<(), charging_sessions_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlidingPlace {
    /// The offset behind what was received.
    position: u64,
    /// How many records before it are asked for again.
    back: u64,
    /// How many it took to meet a known one, when it took more than one.
    learnt: u64,
    /// Digests of the records before it, the nearest last.
    known: Vec<u64>,
    /// How many there were, as the page before said.
    total: Option<u64>,
    /// Whether the provider has said of a page where the next one begins.
    linked: bool,
    restarts: u8,
    /// How many pages in a row have given nothing new.
    #[serde(default, skip_serializing_if = "is_zero")]
    idle: u8,
    #[serde(default, skip_serializing_if = "Stride::is_unknown")]
    stride: Stride,
    #[serde(skip)]
    done: bool,
}

impl SlidingPlace {
    /// The offset of the next page.
    pub fn offset(&self) -> u64 {
        self.position.saturating_sub(self.back)
    }

    /// How many records of those before the next page repeats. To be added to its size.
    pub fn overlap(&self) -> u32 {
        u32::try_from(self.back.min(self.position)).unwrap_or(u32::MAX)
    }

    /// Whether the page that it was last moved on by ends the list.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The offsets of the pages that are left, from the next on, if two pages have moved the place on by the same number
    /// of records, and the list has a total. For [`Client::expect`](crate::Client::expect).
    pub fn ahead(&self) -> impl Iterator<Item = u64> + use<> {
        let total = self.total.filter(|_| !self.done);
        self.stride.ahead(self.offset(), self.overlap(), total)
    }

    /// As [`advance`](Self::advance), and takes from the page what only repeats what was received. Its total is `total`.
    ///
    /// # Errors
    ///
    /// As for [`advance`](Self::advance).
    pub fn take(
        &mut self,
        page: &mut SessionPage,
        ids: &[Option<String>],
        total: Option<u64>,
        next: Option<u64>,
    ) -> Result<()> {
        let repeated = self.repeated(ids);
        page.sessions.retain(|session| !repeated.contains(&session.key().source_id));
        self.advance(ids, total, next)
    }

    /// Which of the identifiers of the next page only repeat what was received. To be asked before
    /// [`advance`](Self::advance).
    pub fn repeated(&self, ids: &[Option<String>]) -> Vec<String> {
        let overlap = self.overlap() as usize;
        ids.iter().take(overlap).flatten().filter(|id| self.knows(id)).cloned().collect()
    }

    fn knows(&self, id: &str) -> bool {
        self.known.contains(&digest(id))
    }

    /// Moves on by a page: the identifiers of its records in order, as far as they can be read, the total that it
    /// states, and the offset at which the provider says that the next one begins.
    ///
    /// Without a total, only a page with nothing new ends the list, or one without a next after others with one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`], exhausted, if nothing in the list holds still, or it never gives as many records as
    /// it states.
    pub fn advance(&mut self, ids: &[Option<String>], total: Option<u64>, next: Option<u64>) -> Result<()> {
        self.done = false;
        let asked = self.offset();
        let received = ids.len() as u64;
        // What has no identifier cannot be compared.
        let follows =
            asked == 0 || self.back == 0 || ids.iter().flatten().next().is_some_and(|id| self.knows(id));
        let totals = self.total.zip(total);
        let fell = totals.map_or(0, |(before, now)| before.saturating_sub(now));
        let rose = totals.map_or(0, |(before, now)| now.saturating_sub(before));
        self.total = total;
        if !follows {
            return self.step_back(fell);
        }
        let is_new = |id: &&Option<String>| id.as_ref().is_none_or(|id| !self.knows(id));
        let news = ids.iter().filter(is_new).count();
        let reached = asked.saturating_add(received);
        // The provider counts on over records that it left out.
        let reached = next.filter(|_| received > 0).map_or(reached, |next| next.max(reached));
        let ends = match total {
            _ if next.is_some() && news > 0 => false,
            _ if next.is_none() && self.linked => true,
            Some(total) => reached >= total,
            None => news == 0,
        };
        if !ends && news == 0 && total.is_some() {
            self.idle = self.idle.saturating_add(1);
            // What joined before the place has moved known records behind it. No further, and not to the end: a provider
            // that always gives the same page would seem to come there.
            let moved = rose.min(reached.saturating_sub(self.position));
            if moved > 0 {
                self.position = self.position.saturating_add(moved);
                self.stride = Stride::default();
                // Also after a page that was asked for without a known record, so that the next one has one.
                self.back = self.learnt.max(1);
                self.remember(ids);
                return Ok(());
            }
            // A provider whose pages are no longer than what is asked for again gives nothing but that.
            if self.back > 0 && received > 0 && received <= self.back && self.idle <= MOST_IDLE {
                self.back = 0;
                return Ok(());
            }
            return self.step_back(fell);
        }
        self.idle = 0;
        self.linked |= next.is_some();
        self.stride.moved(reached.saturating_sub(self.position));
        self.position = reached;
        // A list that has moved goes on moving, and each step back costs a page.
        self.learnt = self.learnt.max(self.back.min(MOST_LEARNT));
        self.back = self.learnt.max(1);
        self.remember(ids);
        self.done = ends;
        Ok(())
    }

    fn remember(&mut self, ids: &[Option<String>]) {
        let page: Vec<u64> = ids.iter().flatten().map(|id| digest(id)).collect();
        self.known.retain(|known| !page.contains(known));
        self.known.extend(page);
        self.known.drain(..self.known.len().saturating_sub(MOST_KNOWN));
    }

    /// Begins the next page further back, or at the start if nothing before is known.
    fn step_back(&mut self, fell: u64) -> Result<()> {
        let most = self.known.len() as u64;
        if self.back < most && self.offset() > 0 && self.idle <= MOST_IDLE {
            self.stride = Stride::default();
            self.back = self.back.saturating_mul(2).max(self.back.saturating_add(fell)).max(1).min(most);
            return Ok(());
        }
        if self.restarts >= MOST_RESTARTS {
            let text = "a list keeps changing while it is read, or gives fewer records than it states";
            return Err(Error::new(ErrorKind::Unavailable, text).exhausted());
        }
        *self = Self { restarts: self.restarts + 1, ..Self::default() };
        Ok(())
    }
}

/// Where a list goes on, as its `Link` header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// At this offset.
    Offset(u64),
    /// By a query without an offset: the provider pages in a way of its own.
    Query(String),
    /// Nobody says, or in a way that cannot be used. Whoever pages by offset can do without.
    Unsaid,
}

impl NextPage {
    /// Reads the link for its query alone, and passes over what cannot be used. A query without an offset counts if it
    /// has a parameter with a value that is none of `own`, which the request had anyway.
    pub fn of(headers: &HeaderMap, own: &[&str]) -> Self {
        let Ok(Some(query)) = link::next(headers) else { return Self::Unsaid };
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        if let Some((_, offset)) = pairs.iter().find(|(name, _)| name == "offset") {
            return offset.parse().map_or(Self::Unsaid, Self::Offset);
        }
        let says =
            pairs.iter().any(|(name, value)| !own.contains(&&**name) && !["", "None"].contains(&&**value));
        if says { Self::Query(query) } else { Self::Unsaid }
    }

    /// The offset, if it is one, and not behind `end`: to pass over what was never asked for would lose it.
    pub fn offset_up_to(&self, end: u64) -> Option<u64> {
        match self {
            Self::Offset(offset) => Some(*offset).filter(|offset| *offset <= end),
            Self::Query(_) | Self::Unsaid => None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u8) -> bool {
    *count == 0
}

/// FNV-1a, the same in every release: a cursor with whole identifiers would be long.
fn digest(id: &str) -> u64 {
    id.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ids(ids: &[&str]) -> Vec<Option<String>> {
        ids.iter().map(|id| (*id != "?").then(|| (*id).to_owned())).collect()
    }

    fn after(page: &[&str], total: Option<u64>, next: Option<u64>) -> SlidingPlace {
        let mut place = SlidingPlace::default();
        place.advance(&ids(page), total, next).unwrap();
        place
    }

    #[test]
    fn an_empty_list_is_done_at_once() {
        assert!(after(&[], Some(0), None).is_done());
        assert!(after(&[], None, None).is_done());
    }

    #[test]
    fn the_total_ends_a_list_and_so_does_the_last_link() {
        assert!(after(&["a", "b"], Some(2), None).is_done());
        let mut place = after(&["a", "b"], None, Some(2));
        assert!(!place.is_done());
        place.advance(&ids(&["b", "c"]), None, None).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn without_total_and_link_only_a_page_with_nothing_new_ends() {
        let mut place = after(&["a", "b"], None, None);
        assert!(!place.is_done());
        place.advance(&ids(&["b"]), None, None).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn records_that_the_provider_leaves_out_of_its_pages_are_passed_over_with_it() {
        let mut place = after(&["a", "c"], Some(5), Some(3));
        assert_eq!((place.offset(), place.is_done()), (2, false));
        place.advance(&ids(&["c", "d"]), Some(5), None).unwrap();
        assert!(place.is_done(), "it says itself that there is no more");
    }

    #[test]
    fn a_record_that_left_is_noticed_and_the_one_that_moved_up_is_read() {
        let mut place = after(&["a", "b", "c"], Some(6), None);
        // `b` is gone: `d` is now where `c` was.
        place.advance(&ids(&["d", "e", "f"]), Some(5), None).unwrap();
        assert_eq!((place.offset(), place.overlap(), place.is_done()), (1, 2, false));
        let page = ids(&["c", "d", "e", "f"]);
        assert_eq!(place.repeated(&page), ["c"]);
        place.advance(&page, Some(5), None).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn a_provider_that_gives_one_record_at_a_time_is_read_to_its_end() {
        let list = ["a", "b", "c"];
        let (mut place, mut read) = (SlidingPlace::default(), BTreeSet::new());
        for _ in 0..20 {
            let at = usize::try_from(place.offset()).unwrap();
            let page = ids(&list[at..(at + 1).min(3)]);
            read.extend(page.iter().flatten().cloned());
            place.advance(&page, Some(3), None).unwrap();
            if place.is_done() {
                break;
            }
        }
        assert!(place.is_done());
        assert_eq!(read.len(), 3);
    }

    /// Reads a list that grows by `joins` at its start before each page, as long as there are any, in pages of `size`.
    fn grows(size: usize, asks_more: bool, mut joins: impl Iterator<Item = usize>) -> BTreeSet<String> {
        let mut list: Vec<String> = (0..30).map(|n| format!("r{n}")).collect();
        let (mut place, mut read) = (SlidingPlace::default(), BTreeSet::new());
        for pages in 1..300 {
            let at = usize::try_from(place.offset()).unwrap().min(list.len());
            let more = if asks_more { place.overlap() as usize } else { 0 };
            let page: Vec<_> =
                list[at..(at + size + more).min(list.len())].iter().cloned().map(Some).collect();
            read.extend(page.iter().flatten().cloned());
            place.advance(&page, Some(list.len() as u64), None).unwrap();
            if place.is_done() {
                return read;
            }
            for n in 0..joins.next().unwrap_or(0) {
                list.insert(0, format!("new{pages}-{n}"));
            }
        }
        panic!("it does not end");
    }

    #[test]
    fn a_list_that_grows_as_fast_as_it_is_read_is_read_to_its_end_once_it_grows_no_more() {
        for (size, asks_more) in [(1, false), (1, true), (2, false), (2, true), (5, true)] {
            for joins in 0..5 {
                let read = grows(size, asks_more, std::iter::repeat_n(joins, 20));
                assert!(
                    (0..30).all(|n| read.contains(&format!("r{n}"))),
                    "{size}, {asks_more}, {joins}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn records_without_an_identifier_are_counted_and_not_compared() {
        let mut place = after(&["a", "?"], Some(4), None);
        assert_eq!(place.offset(), 1);
        place.advance(&ids(&["?", "c", "d"]), Some(4), None).unwrap();
        assert_eq!(place.offset(), 0, "`c` is not known, so a known one is looked for");
        place.advance(&ids(&["a", "?", "c", "d"]), Some(4), None).unwrap();
        assert!(place.is_done());
    }

    #[test]
    fn a_list_that_never_gives_what_it_states_is_an_error_and_not_an_end() {
        let mut place = SlidingPlace::default();
        let error = loop {
            if let Err(error) = place.advance(&[], Some(3), None) {
                break error;
            }
            assert!(!place.is_done());
        };
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, false));
    }

    #[test]
    fn a_link_is_read_for_what_can_be_used_of_it() {
        let next = |link: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("link", link.parse().unwrap());
            NextPage::of(&headers, &["limit", "date_from"])
        };
        assert_eq!(
            next(r#"<https://other.example/x?date_from=None&offset=3&limit=3>; rel="next""#),
            NextPage::Offset(3)
        );
        assert_eq!(
            next(r#"<https://other.example/x?limit=3&after=b>; rel="next""#),
            NextPage::Query("limit=3&after=b".into())
        );
        for link in [
            "",
            "nonsense next",
            r#"<https://other.example/x>; rel="next""#,
            r#"<https://other.example/x?offset=None>; rel="next""#,
            r#"<https://other.example/x?limit=3&after=None&date_from=x>; rel="next""#,
            r#"<https://other.example/x?offset=3>; rel="prev""#,
        ] {
            assert_eq!(next(link), NextPage::Unsaid, "{link}");
        }
    }

    #[test]
    fn a_place_survives_serialization() {
        let place = after(&["a", "b"], Some(4), Some(2));
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<SlidingPlace>(&json).unwrap(), place);
    }

    proptest! {
        /// Records join and leave anywhere between two pages: what is there throughout is read.
        #[test]
        fn nothing_that_stays_is_skipped(
            size in 2_usize..9,
            changes in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
            per_page in 0_usize..4,
        ) {
            let mut list: Vec<String> = (0..60).map(|n| format!("r{n}")).collect();
            let stays: BTreeSet<String> = list.iter().filter(|id| !id.ends_with(['3', '7'])).cloned().collect();
            let (mut place, mut read, mut new, mut pages) = (SlidingPlace::default(), BTreeSet::new(), 0, 0);
            let mut changes = changes.into_iter();
            loop {
                let at = usize::try_from(place.offset()).unwrap().min(list.len());
                let end = (at + size + place.overlap() as usize).min(list.len());
                let page: Vec<_> = list[at..end].iter().cloned().map(Some).collect();
                read.extend(page.iter().flatten().cloned());
                place.advance(&page, Some(list.len() as u64), None).unwrap();
                pages += 1;
                prop_assert!(pages < 500, "the list does not end");
                if place.is_done() {
                    break;
                }
                for (joins, at) in changes.by_ref().take(per_page) {
                    if joins {
                        new += 1;
                        list.insert(at.index(list.len() + 1), format!("new{new}"));
                    } else if let Some(leaves) = list.get(at.index(list.len())).filter(|id| !stays.contains(*id)) {
                        let leaves = leaves.clone();
                        list.retain(|id| *id != leaves);
                    }
                }
            }
            let lost: Vec<_> = stays.difference(&read).collect();
            prop_assert!(lost.is_empty(), "{lost:?}");
        }
    }
}
