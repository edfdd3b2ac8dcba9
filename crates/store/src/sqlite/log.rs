//! Copying what SQLite's log has into the file, beside the writing that goes on.
//!
//! SQLite itself does it within a commit, which then waits for the disk twice. Here a connection of its own copies what is
//! in the log, and keeps others from writing only for what came meanwhile. Then the log begins anew.

use std::{
    cell::Cell,
    ffi::c_int,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::{Connection, OpenFlags};
use tokio::task::spawn_blocking;

use super::{Shared, connect, lock};

/// From how many pages on. 32 MiB: a large read in does not copy the same pages again each few commits.
const MANY: c_int = 4096;

thread_local! {
    /// How many pages the log had after the latest commit of this thread. SQLite tells a function that has no other place
    /// to put it.
    static PAGES: Cell<c_int> = const { Cell::new(0) };
}

/// Counts the pages of the log, in place of SQLite's own copying.
pub(super) fn watch(writer: &Connection) {
    writer.wal_hook(Some(|_, pages| {
        PAGES.set(pages);
        Ok(())
    }));
}

/// What copies.
#[derive(Default)]
pub(super) struct Copier {
    connection: Mutex<Option<Connection>>,
    busy: AtomicBool,
}

/// Says that nobody copies any more, also if it has never begun because the runtime has ended.
struct Turn(Arc<Shared>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.copier.busy.store(false, Ordering::Release);
    }
}

/// To be called after each commit, by the same thread.
pub(super) fn committed(shared: &Arc<Shared>) {
    if PAGES.take() >= MANY && !shared.copier.busy.swap(true, Ordering::AcqRel) {
        let turn = Turn(Arc::clone(shared));
        // If it fails, the log stays, and grows until it is copied with the next try or until writing itself fails, which
        // then has a reason to state.
        spawn_blocking(move || turn.0.copy_log());
    }
}

impl Shared {
    fn copy_log(&self) -> rusqlite::Result<()> {
        let (Some(path), Some(writer)) = (&self.path, &self.writer) else { return Ok(()) };
        let mut connection = lock(&self.copier.connection);
        let connection = match &mut *connection {
            Some(connection) => connection,
            none => none.insert(connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, 0)?),
        };
        let copy = || connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        copy()?;
        let _nobody_writes = lock(writer);
        copy()
    }
}
