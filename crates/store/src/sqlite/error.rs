//! What went wrong with the file, in one sentence that says what to do.

use std::path::Path;

use charging_sessions_core::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// Where a store is, as messages name it.
pub(super) fn name(path: Option<&Path>) -> String {
    path.map_or_else(|| "the store in memory".into(), |path| format!("the store {}", path.display()))
}

/// An error of the store at `path`.
pub(super) fn storage(path: Option<&Path>, what: &str) -> Error {
    Error::new(ErrorKind::Storage, format!("{} {what}", name(path)))
}

/// What is stored there does not read back.
pub(super) fn damaged(path: Option<&Path>) -> Error {
    storage(path, "is damaged; put back a copy of it, or move it away and sync again")
}

/// What was found when it was looked for.
pub(super) fn damaged_by(path: Option<&Path>, damage: &str) -> Error {
    storage(path, &format!("is damaged ({damage}); put back a copy of it, or move it away and sync again"))
}

/// An error of SQLite at `path`.
pub(super) fn sqlite(path: Option<&Path>, error: rusqlite::Error) -> Error {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "is not an SQLite database; name another file",
        Some(ErrorCode::DatabaseCorrupt) => return damaged(path).with_source(error),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "is locked by another program; wait for it or close it, and try again"
        }
        Some(ErrorCode::DiskFull) => {
            "cannot grow, because the disk is full; make room and try again: what was written before is safe"
        }
        Some(ErrorCode::ReadOnly) => {
            "cannot be written to; check the permissions of the file and its folder, or open it for reading only"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "cannot be opened; check that the folder exists and that the file and its folder may be read and written"
        }
        Some(ErrorCode::SystemIoFailure) => "cannot be read or written; check the disk",
        Some(_) => "refused what was asked of it, which is a mistake in this program; please report it",
        // A value of another type or form than we write.
        None => return damaged(path).with_source(error),
    };
    storage(path, what).with_source(error)
}
