//! Between reading and writing: pages that have come while others were being written.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
    num::NonZeroUsize,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use charging_sessions_store::Batch;
use tokio::sync::{MutexGuard, Notify, Semaphore, SemaphorePermit};

use crate::locked;

/// How many pages are written at once at most. More would save little: what a write changes is then mostly the records
/// themselves.
const MOST_PAGES: u64 = 10;
/// How many records are written at once at most, unless one page has more.
const MOST_RECORDS: usize = 500;
/// How many records of all listings together wait to be written, at most, unless one page has more. Besides, one batch
/// is being written, and each listing may have read one page for which there is no room. A record takes about four
/// kilobytes, so this is what bounds the memory of a run.
const MOST_WAITING: u32 = 500;

/// What the listings of a run share on their way from the source into the store.
pub(crate) struct Desk {
    readers: Semaphore,
    /// For records that wait to be written.
    room: Semaphore,
    /// Whose turn it is to write. A store writes one batch of an account at a time: who waits here, and not there,
    /// collects more pages meanwhile, and keeps no thread waiting.
    turn: tokio::sync::Mutex<()>,
    /// Who asks the store where a listing is. One at a time: of each thread that a store works on, memory remains.
    asking: tokio::sync::Mutex<()>,
}

impl Desk {
    /// At which so many listings are read at the same time.
    pub(crate) fn new(readers: NonZeroUsize) -> Self {
        Self {
            readers: Semaphore::new(readers.get().min(Semaphore::MAX_PERMITS)),
            room: Semaphore::new(MOST_WAITING as usize),
            turn: tokio::sync::Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Leave to ask the store where a listing is, until it is dropped.
    pub(crate) async fn asking(&self) -> MutexGuard<'_, ()> {
        self.asking.lock().await
    }

    /// Leave to read a listing, until it is dropped. In order of asking.
    pub(crate) async fn reader(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.readers.acquire().await.ok()
    }
}

/// Pages of one listing in a row, as one batch.
pub(crate) struct Pages<'a> {
    pub(crate) batch: Batch,
    pub(crate) count: u64,
    /// Hashes of the identifiers in the batch.
    ids: HashSet<u64>,
    /// What they take of the room, until it is their turn.
    room: Option<SemaphorePermit<'a>>,
}

/// What has been read of one listing and not yet been written. Whoever reads adds to it page by page; whoever writes
/// takes all of it.
pub(crate) struct Waiting<'a> {
    desk: &'a Desk,
    pages: Mutex<Option<Pages<'a>>>,
    ended: AtomicBool,
    came: Notify,
    taken: Notify,
    written: Notify,
    hasher: RandomState,
}

impl<'a> Waiting<'a> {
    pub(crate) fn at(desk: &'a Desk) -> Self {
        Self {
            desk,
            pages: Mutex::default(),
            ended: AtomicBool::default(),
            came: Notify::new(),
            taken: Notify::new(),
            written: Notify::new(),
            hasher: RandomState::new(),
        }
    }

    /// Adds the next page, once there is room for it.
    pub(crate) async fn put(&self, page: Batch) {
        let records = u32::try_from(page.sessions.len() + page.rejected.len()).unwrap_or(u32::MAX);
        // Whoever holds room waits for nothing but its turn, so room comes back.
        let room = self.desk.room.acquire_many(records.clamp(1, MOST_WAITING)).await.ok();
        let mut page = Pages { ids: self.ids(&page), batch: page, count: 1, room };
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

    /// All pages that wait, once there are some and it is their turn; `None` if there will be none. The turn lasts until
    /// the guard is dropped.
    pub(crate) async fn take(&self) -> Option<(MutexGuard<'a, ()>, Pages<'a>)> {
        loop {
            // Looked at first, because what came before it must not be overlooked.
            let ended = self.ended.load(Ordering::Acquire);
            if locked(&self.pages).is_some() {
                break;
            }
            if ended {
                return None;
            }
            self.came.notified().await;
        }
        let turn = self.desk.turn.lock().await;
        let mut pages = locked(&self.pages).take()?;
        drop(pages.room.take());
        self.taken.notify_one();
        Some((turn, pages))
    }

    /// Says that what was taken has been written.
    pub(crate) fn wrote(&self) {
        self.written.notify_one();
    }

    /// Waits until what was taken last has been written.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }

    fn ids(&self, page: &Batch) -> HashSet<u64> {
        let sessions = page.sessions.iter().map(|session| &session.key().source_id);
        let rejected = page.rejected.iter().filter_map(|record| record.id.as_ref());
        sessions.chain(rejected).map(|id| self.hasher.hash_one(id)).collect()
    }

    /// The page, if there is no room for it in the batch that waits.
    fn try_put(&self, mut page: Pages<'a>) -> Option<Pages<'a>> {
        let mut waiting = locked(&self.pages);
        let Some(pages) = &mut *waiting else {
            *waiting = Some(page);
            return None;
        };
        let (batch, new) = (&mut pages.batch, &mut page.batch);
        let records = batch.sessions.len() + batch.rejected.len() + new.sessions.len() + new.rejected.len();
        // In one batch, only the last state of a record would count; what it was a page before is a revision, too.
        if pages.count >= MOST_PAGES || records > MOST_RECORDS || !pages.ids.is_disjoint(&page.ids) {
            return Some(page);
        }
        pages.ids.extend(page.ids);
        pages.count += 1;
        // What the first page may have missed, the batch may have missed.
        batch.at = batch.at.min(new.at);
        batch.next = new.next.take();
        batch.sessions.append(&mut new.sessions);
        batch.prepared.append(mem::take(&mut new.prepared));
        batch.rejected.append(&mut new.rejected);
        if let (Some(room), Some(more)) = (&mut pages.room, page.room) {
            room.merge(more);
        }
        None
    }
}
