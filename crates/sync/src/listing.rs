//! One slice: from page to page, and whether its end was reached with everything.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
    sync::{Arc, atomic::Ordering},
};

use charging_sessions_core::{
    ChargingSession, Cursor, Error, ErrorKind, RejectedRecord, Result, SessionKey, SessionPage, SessionQuery,
    checks,
};
use charging_sessions_store::{Batch, Changes, Filter, Hash, Slice, content_hash};
use futures_util::future::try_join;
use jiff::{SignedDuration, Timestamp};

use crate::{
    Event, Run,
    plan::{contains, minus},
    report::count,
    waiting::{Ready, Taken, Waiting},
};

/// How far before the last listing of changes the next one begins: clocks differ, and a change may have been made
/// while it was read.
const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// What became of a listing.
enum Listed {
    /// Its end was reached, and everything came.
    Whole,
    /// The run is to stop.
    Stopped,
    /// The place it was at is not accepted.
    Refused(Error),
    /// Its end was reached, and it cannot be said that everything came.
    Unproven { error: Error, resumed: bool },
}

/// Where a slice is, as the store keeps it.
///
/// A listing of changes must not end as one of everything does, because all that has not changed would seem to have
/// vanished. So it never ends for the store: what it leaves is the place of the next one.
#[derive(Debug, PartialEq)]
enum Place {
    Start,
    Whole(Cursor),
    Changes { since: Timestamp, began: Timestamp, cursor: Cursor },
    ChangesRead { began: Timestamp },
}

impl Place {
    fn of(stored: Option<&Cursor>) -> Self {
        let Some(cursor) = stored else { return Self::Start };
        // No cursor of a source begins like this: there, a colon comes before any space.
        let Some(text) = cursor.as_str().strip_prefix("changes ") else { return Self::Whole(cursor.clone()) };
        let parts: Vec<_> = text.splitn(3, ' ').collect();
        match (parts.as_slice(), parts[0].parse()) {
            ([_], Ok(began)) => Self::ChangesRead { began },
            ([_, began, cursor], Ok(since)) => {
                let cursor = Cursor::from(*cursor);
                began.parse().map_or(Self::Start, |began| Self::Changes { since, began, cursor })
            }
            _ => Self::Start,
        }
    }

    fn stored(self) -> Option<Cursor> {
        match self {
            Self::Start => None,
            Self::Whole(cursor) => Some(cursor),
            Self::Changes { since, began, cursor } => {
                Some(format!("changes {since} {began} {cursor}").as_str().into())
            }
            Self::ChangesRead { began } => Some(format!("changes {began}").as_str().into()),
        }
    }
}

impl Run<'_> {
    /// Reads a slice to its end; `false` if the run is to stop before.
    pub(crate) async fn read(&self, slice: &Slice) -> Result<bool> {
        let (mut refused, mut unproven) = (false, false);
        loop {
            match self.list(slice, refused || unproven).await? {
                Listed::Whole => return Ok(true),
                Listed::Stopped => return Ok(false),
                Listed::Refused(error) if refused => return Err(error),
                Listed::Refused(_) => {
                    refused = true;
                    self.restart(slice).await?;
                }
                Listed::Unproven { error, resumed: false } if unproven => return Err(error),
                Listed::Unproven { resumed, .. } => unproven |= !resumed,
            }
        }
    }

    /// Reads a slice from the place at which it is. One that has been begun is read `again` whatever the limits.
    async fn list(&self, slice: &Slice, again: bool) -> Result<Listed> {
        // A dry run begins at the start, because only so can it see what has vanished.
        let asking = self.desk.asking().await;
        let mut stored = match self.lease {
            Some(_) => self.sync.store.place(&self.sync.account, slice).await?,
            None => None,
        };
        drop(asking);
        let reader = self.desk.reader().await;
        if !again && self.leaves_out(slice) {
            return Ok(Listed::Stopped);
        }
        let now = self.sync.now();
        let after = |began| Some((minus(began, OVERLAP), now));
        let (changes, cursor) = match (Place::of(stored.as_ref()), self.changes_after(slice)) {
            (Place::Whole(cursor), _) => (None, Some(cursor)),
            (Place::Changes { since, began, cursor }, Some(_)) => (Some((since, began)), Some(cursor)),
            (Place::ChangesRead { began }, Some(_)) => (after(began), None),
            (Place::Start, Some(began)) => (after(began), None),
            (Place::Start, None) => (None, None),
            (Place::Changes { .. } | Place::ChangesRead { .. }, None) => {
                self.restart(slice).await?;
                stored = None;
                (None, None)
            }
        };
        let query = match (changes, slice.window) {
            (Some((since, _)), _) => SessionQuery::changed_since(since),
            (None, Some(window)) => SessionQuery::started_in(window),
            (None, None) => SessionQuery::all(),
        };
        let query = slice.asset.iter().cloned().fold(query, SessionQuery::with_asset);
        let resumed = cursor.is_some();
        self.tell(&Event::SliceBegun { slice, resumed });
        let waiting = Waiting::at(&self.desk);
        let mut reading = Reading { slice, query, changes, stored, cursor };
        // The next page is read while the one before is being written, and the next slice while the last page is.
        let read = async {
            let end = self.read_pages(&mut reading, &waiting).await;
            drop(reader);
            waiting.end();
            // Whatever ended the reading, what had come before is written first.
            Ok(end)
        };
        let (end, ()) = try_join(read, self.write_pages(slice, &waiting)).await?;
        let listed = end?;
        if changes.is_none() && matches!(listed, Listed::Unproven { .. }) {
            self.restart(slice).await?;
        }
        Ok(listed)
    }

    /// Reads page by page, and leaves each to be written.
    async fn read_pages(&self, reading: &mut Reading<'_>, waiting: &Waiting<'_>) -> Result<Listed> {
        let resumed = reading.cursor.is_some();
        let mut proof = Proof::default();
        let mut visited = HashSet::new();
        loop {
            let cursor = reading.cursor.as_ref();
            // What is counted to be whole must come in one piece; what was resumed is not in one piece anyway.
            if cursor.is_some() && (proof.total.is_none() || resumed) && self.has_enough() {
                return Ok(Listed::Stopped);
            }
            // A cursor may be long, and a listing have many.
            visited.extend(cursor.map(|cursor| Hash::of(cursor.as_str().as_bytes())));
            // A change that is made while the page is under way may not be in it.
            let at = self.sync.now();
            let fetch = self.sync.source.fetch_page(&reading.query, cursor);
            let page = match self.halt.run_until_cancelled(fetch).await {
                None => return Ok(Listed::Stopped),
                Some(Err(error)) if error.kind() == ErrorKind::InvalidCursor && cursor.is_some() => {
                    return Ok(Listed::Refused(error));
                }
                Some(page) => page?,
            };
            let again =
                page.next.as_ref().filter(|next| visited.contains(&Hash::of(next.as_str().as_bytes())));
            if let Some(next) = again {
                let message = match Some(next) == cursor {
                    true => "the listing does not move: a page names itself as its next",
                    false => "the listing goes in a circle: a page names one before it as its next",
                };
                return Err(
                    Error::new(ErrorKind::Protocol, message).with_provider(self.sync.account.provider)
                );
            }
            self.belongs(&page)?;
            self.pages_read.fetch_add(1, Ordering::Relaxed);
            proof.add(&page);
            let gap = if page.next.is_none() { proof.gap() } else { None };
            let ended = page.next.is_none();
            waiting.put(reading.advance(page, at, gap.is_some()), self.ready()).await;
            if self.sync.is_piece() {
                // Whoever shares out work counts on it that a page which has come is written before another is asked for.
                waiting.written().await;
            }
            if let Some(gap) = gap {
                let error = Error::new(ErrorKind::Protocol, gap).with_provider(self.sync.account.provider);
                return Ok(Listed::Unproven { error, resumed });
            }
            if ended {
                return Ok(Listed::Whole);
            }
        }
    }

    /// What makes the sessions of a page ready to be written.
    fn ready(&self) -> impl FnOnce(Vec<ChargingSession>) -> Ready + Send + 'static {
        let store = self.lease.is_some().then(|| (Arc::clone(&self.sync.store), self.sync.account.clone()));
        move |mut sessions| {
            let limits = checks::Limits::default();
            sessions.iter_mut().for_each(|session| checks::screen(session, &limits));
            let prepared = store.map(|(store, account)| store.prepare(&account, &sessions));
            (sessions, prepared.unwrap_or_default())
        }
    }

    /// Writes the pages that are read, in order: all that have come while those before were being written.
    async fn write_pages(&self, slice: &Slice, waiting: &Waiting<'_>) -> Result<()> {
        let mut seen = HashSet::new();
        while let Some(Taken { batch, pages, turn }) = waiting.take().await? {
            self.write(slice, batch, pages, &mut seen).await?;
            drop(turn);
            waiting.wrote();
        }
        Ok(())
    }

    /// When the last reading of everything began, if the source is to be asked for what has changed.
    fn changes_after(&self, slice: &Slice) -> Option<Timestamp> {
        if !self.capabilities.updated_since || self.sync.full {
            return None;
        }
        let read = self.coverage.iter().filter(|read| contains(&read.slice, slice));
        read.map(|read| read.began_at).max()
    }

    /// Records of another account would be written under its name, and seem to have vanished from this one.
    fn belongs(&self, page: &SessionPage) -> Result<()> {
        let account = &self.sync.account;
        let is_other = |key: &&SessionKey| key.provider != account.provider || key.account != account.account;
        let Some(other) = page.sessions.iter().map(ChargingSession::key).find(is_other) else {
            return Ok(());
        };
        let other = format!("{}/{}", other.provider, other.account);
        let message = format!("the source reads {other}, not {account}; give both the same account name");
        Err(Error::new(ErrorKind::Config, message))
    }

    async fn write(
        &self,
        slice: &Slice,
        batch: Batch,
        pages: u64,
        seen: &mut HashSet<SessionKey>,
    ) -> Result<()> {
        let changes = match &self.lease {
            Some(lease) => self.sync.store.commit(&**lease, batch).await?,
            None => self.compare(batch, seen).await?,
        };
        let mut report = self.report();
        report.counts.add(&changes);
        report.pages += pages;
        drop(report);
        self.tell(&Event::PageCommitted { slice, pages, changes: &changes });
        Ok(())
    }

    async fn restart(&self, slice: &Slice) -> Result<()> {
        match &self.lease {
            Some(lease) => self.sync.store.restart(&**lease, slice).await,
            None => Ok(()),
        }
    }

    /// What writing the page would change.
    async fn compare(&self, batch: Batch, seen: &mut HashSet<SessionKey>) -> Result<Changes> {
        let (store, account) = (&self.sync.store, &self.sync.account);
        let mut changes = Changes::default();
        for session in batch.sessions {
            let key = session.key().clone();
            let known = store.session(&key).await?;
            if !seen.insert(key.clone()) {
                changes.unchanged += 1;
                continue;
            }
            let Some(known) = known else {
                changes.new.push(key);
                continue;
            };
            let (returned, same) = (known.missing_since.is_some(), known.content == content_hash(&session));
            changes.unchanged += u64::from(same && !returned);
            changes.returned.extend(returned.then(|| key.clone()));
            changes.changed.extend((!same).then_some(key));
        }
        if !batch.rejected.is_empty() {
            let kept = store.quarantine(Some(account)).await?;
            let is_new =
                |record: &&RejectedRecord| kept.iter().all(|kept| kept.record.payload != record.payload);
            changes.quarantined = count(&batch.rejected.iter().filter(is_new).collect::<Vec<_>>());
        }
        if batch.next.is_some() {
            return Ok(changes);
        }
        for kind in &batch.slice.kinds {
            let mut filter = Filter::default();
            (filter.kind, filter.window, filter.asset) =
                (Some(*kind), batch.slice.window, batch.slice.asset.clone());
            let missed = |session: ChargingSession| {
                let key = session.identity.key;
                changes.vanished.extend((!seen.contains(&key)).then_some(key));
            };
            self.for_each(filter, missed).await?;
        }
        Ok(changes)
    }
}

/// A slice that is being read from page to page.
struct Reading<'a> {
    slice: &'a Slice,
    query: SessionQuery,
    /// Of a listing of changes: since when, and when it began.
    changes: Option<(Timestamp, Timestamp)>,
    /// The place as the store has it, once all pages that have come are written.
    stored: Option<Cursor>,
    /// The place as the source knows it.
    cursor: Option<Cursor>,
}

impl Reading<'_> {
    /// The page as it is written, with the place after it. `gap` says that the listing has ended without some records.
    fn advance(&mut self, page: SessionPage, at: Timestamp, gap: bool) -> Batch {
        self.cursor.clone_from(&page.next);
        let next = match (page.next, self.changes) {
            (Some(cursor), None) => Place::Whole(cursor),
            (Some(cursor), Some((since, began))) => Place::Changes { since, began, cursor },
            (None, Some((since, _))) if gap => Place::ChangesRead { began: since },
            (None, Some((_, began))) => Place::ChangesRead { began },
            // The rows are kept, and the slice is not covered. If the run ends here, the next one is refused with
            // this place, and starts again.
            (None, None) if gap => Place::Whole("unproven".into()),
            (None, None) => Place::Start,
        };
        let next = next.stored();
        let mut batch = Batch::new(self.slice.clone(), mem::replace(&mut self.stored, next.clone()), at);
        (batch.next, batch.sessions, batch.rejected) = (next, page.sessions, page.rejected);
        batch
    }
}

/// Whether a listing has brought as many records as the provider says there are.
#[derive(Default)]
struct Proof {
    total: Option<u64>,
    moved: bool,
    /// Hashes of what they are called, because a listing may be long. If two were alike, there would seem to be one too
    /// few, and the listing would be read again.
    records: HashSet<u64>,
    hasher: RandomState,
}

impl Proof {
    fn add(&mut self, page: &SessionPage) {
        let Some(total) = page.total else { return };
        self.moved |= self.total.replace(total).is_some_and(|before| before != total);
        let sessions = page.sessions.iter().map(|session| self.hasher.hash_one(session.key()));
        let rejected = page.rejected.iter().map(|record| match &record.id {
            Some(id) => self.hasher.hash_one(id),
            None => self.hasher.hash_one(record.payload.as_bytes()),
        });
        self.records.extend(sessions.chain(rejected));
    }

    /// What is missing, in words. Of a listing that was resumed only a part is counted, so that much is.
    fn gap(&self) -> Option<String> {
        let total = self.total?;
        let came = self.records.len();
        let proven = !self.moved && u64::try_from(came) == Ok(total);
        (!proven).then(|| {
            format!("the listing changed while it was read: {came} records came, {total} were promised")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was_stored() {
        let began: Timestamp = "2026-06-01T00:00:00.25Z".parse().unwrap();
        let since = minus(began, OVERLAP);
        let cursor = Cursor::from("test:1:0123456789abcdef:{\"a\":\"b c\"}");
        for place in [|| Place::Start, || Place::Whole(Cursor::from("changes:1:0:{}"))] {
            assert_eq!(Place::of(place().stored().as_ref()), place());
        }
        let changes = || Place::Changes { since, began, cursor: cursor.clone() };
        assert_eq!(Place::of(changes().stored().as_ref()), changes());
        let read = || Place::ChangesRead { began };
        assert_eq!(Place::of(read().stored().as_ref()), read());
        for odd in ["changes ", "changes soon", "changes 2026 2026", "changes a b c"] {
            assert_eq!(Place::of(Some(&Cursor::from(odd))), Place::Start, "{odd}");
        }
    }
}
