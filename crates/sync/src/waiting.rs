//! Between reading and writing: pages that have come while others were being written.

use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    mem,
    num::NonZeroUsize,
    panic::resume_unwind,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use charging_sessions_core::{ChargingSession, Error, ErrorKind, Result};
use charging_sessions_store::{Batch, Prepared};
use tokio::{
    sync::{MutexGuard, Notify, Semaphore, SemaphorePermit},
    task::{JoinHandle, spawn},
};

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

/// The sessions of a page, as they are written, and what was made of them beforehand.
pub(crate) type Ready = (Vec<ChargingSession>, Prepared);

/// Pages of one listing in a row, as one batch.
struct Pages<'a> {
    /// Without its sessions.
    batch: Batch,
    /// Those, page by page.
    sessions: Vec<JoinHandle<Ready>>,
    count: u64,
    records: usize,
    /// Hashes of the identifiers in the batch.
    ids: HashSet<u64>,
    /// What they take of the room, until it is their turn.
    room: Option<SemaphorePermit<'a>>,
}

/// Pages of one listing in a row that are to be written.
pub(crate) struct Taken<'a> {
    pub(crate) batch: Batch,
    pub(crate) pages: u64,
    /// It lasts until this is dropped.
    pub(crate) turn: MutexGuard<'a, ()>,
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

    /// Adds the next page, once there is room for it. Its sessions are made ready beside the reading of pages after it.
    pub(crate) async fn put(
        &self,
        mut page: Batch,
        ready: impl FnOnce(Vec<ChargingSession>) -> Ready + Send + 'static,
    ) {
        let records = page.sessions.len() + page.rejected.len();
        let room = u32::try_from(records).unwrap_or(u32::MAX).clamp(1, MOST_WAITING);
        // Whoever holds room waits for nothing but its turn, so room comes back.
        let room = self.desk.room.acquire_many(room).await.ok();
        let ids = self.ids(&page);
        let sessions = mem::take(&mut page.sessions);
        let sessions = vec![spawn(async move { ready(sessions) })];
        let mut page = Pages { batch: page, sessions, count: 1, records, ids, room };
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

    /// All pages that wait, once there are some and it is their turn; `None` if there will be none.
    pub(crate) async fn take(&self) -> Result<Option<Taken<'a>>> {
        loop {
            // Looked at first, because what came before it must not be overlooked.
            let ended = self.ended.load(Ordering::Acquire);
            if locked(&self.pages).is_some() {
                break;
            }
            if ended {
                return Ok(None);
            }
            self.came.notified().await;
        }
        let turn = self.desk.turn.lock().await;
        let Some(Pages { mut batch, sessions, count, room, .. }) = locked(&self.pages).take() else {
            return Ok(None);
        };
        drop(room);
        self.taken.notify_one();
        for page in sessions {
            let (mut sessions, prepared) = page.await.map_err(|e| match e.try_into_panic() {
                Ok(cause) => resume_unwind(cause),
                Err(e) => Error::new(ErrorKind::Storage, "the runtime was stopped before a page was written")
                    .with_source(e),
            })?;
            batch.sessions.append(&mut sessions);
            batch.prepared.append(prepared);
        }
        Ok(Some(Taken { batch, pages: count, turn }))
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
        let records = pages.records + page.records;
        // In one batch, only the last state of a record would count; what it was a page before is a revision, too.
        if pages.count >= MOST_PAGES || records > MOST_RECORDS || !pages.ids.is_disjoint(&page.ids) {
            return Some(page);
        }
        pages.ids.extend(page.ids);
        pages.sessions.append(&mut page.sessions);
        pages.count += 1;
        pages.records = records;
        // What the first page may have missed, the batch may have missed.
        batch.at = batch.at.min(new.at);
        batch.next = new.next.take();
        batch.rejected.append(&mut new.rejected);
        if let (Some(room), Some(more)) = (&mut pages.room, page.room) {
            room.merge(more);
        }
        None
    }
}
