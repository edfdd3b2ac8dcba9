//! Between reading and writing: pages that have come while others were being written.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use charging_sessions_store::Batch;
use tokio::sync::Notify;

use crate::locked;

/// How many pages are written at once at most. More would save little: what a write changes is then mostly the records
/// themselves.
const MOST_PAGES: u64 = 10;
/// How many records are written at once at most, unless one page has more. As many again may be waiting meanwhile. A
/// record takes about four kilobytes, so this is what bounds the memory of a slice.
const MOST_RECORDS: usize = 500;

/// Pages of one listing in a row, as one batch.
pub(crate) struct Pages {
    pub(crate) batch: Batch,
    pub(crate) count: u64,
    /// Hashes of the identifiers in the batch.
    ids: HashSet<u64>,
}

/// What has been read and not yet been written. Whoever reads adds to it page by page; whoever writes takes all of it.
#[derive(Default)]
pub(crate) struct Waiting {
    pages: Mutex<Option<Pages>>,
    ended: AtomicBool,
    came: Notify,
    taken: Notify,
    written: Notify,
    hasher: RandomState,
}

impl Waiting {
    /// Adds the next page, once there is room for it.
    pub(crate) async fn put(&self, mut page: Batch) {
        loop {
            match self.try_put(page) {
                None => return self.came.notify_one(),
                Some(back) => page = back,
            }
            self.taken.notified().await;
        }
    }

    /// Says that no more pages will come.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.came.notify_one();
    }

    /// All pages that wait, once there are some; `None` if there will be none.
    pub(crate) async fn take(&self) -> Option<Pages> {
        loop {
            // Looked at first, because what came before it must not be overlooked.
            let ended = self.ended.load(Ordering::Acquire);
            let pages = locked(&self.pages).take();
            if pages.is_some() {
                self.taken.notify_one();
            }
            if pages.is_some() || ended {
                return pages;
            }
            self.came.notified().await;
        }
    }

    /// Says that what was taken has been written.
    pub(crate) fn wrote(&self) {
        self.written.notify_one();
    }

    /// Waits until what was taken last has been written.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    /// The page, if there is no room for it.
    fn try_put(&self, mut page: Batch) -> Option<Batch> {
        let sessions = page.sessions.iter().map(|session| &session.key().source_id);
        let rejected = page.rejected.iter().filter_map(|record| record.id.as_ref());
        let ids: HashSet<u64> = sessions.chain(rejected).map(|id| self.hasher.hash_one(id)).collect();
        let mut waiting = locked(&self.pages);
        let Some(Pages { batch, count, ids: known }) = &mut *waiting else {
            *waiting = Some(Pages { batch: page, count: 1, ids });
            return None;
        };
        let records = batch.sessions.len() + batch.rejected.len() + page.sessions.len() + page.rejected.len();
        // In one batch, only the last state of a record would count; what it was a page before is a revision, too.
        if *count >= MOST_PAGES || records > MOST_RECORDS || !known.is_disjoint(&ids) {
            return Some(page);
        }
        known.extend(ids);
        *count += 1;
        // What the first page may have missed, the batch may have missed.
        batch.at = batch.at.min(page.at);
        batch.next = page.next;
        batch.sessions.append(&mut page.sessions);
        batch.rejected.append(&mut page.rejected);
        None
    }
}
