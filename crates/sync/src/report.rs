//! How a run went.

use std::fmt;

use charging_sessions_core::{Error, Result};
use charging_sessions_store::{Account, Changes, RunReport, Slice};
use jiff::Timestamp;

/// What happens while a run reads. Given to the [observer](crate::AccountSync::observer) in the order in which it
/// happens; slices are read at the same time, so that their events are mixed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run has decided what to read.
    Planned {
        /// How many slices it reads.
        slices: u64,
        /// How many it has no need to read.
        skipped: u64,
    },
    /// A slice is being read.
    SliceBegun {
        /// The slice.
        slice: &'a Slice,
        /// Whether an earlier run was interrupted in it.
        resumed: bool,
    },
    /// A page was written, or was compared in a dry run; or several at once, which came while those before were being
    /// written.
    PageCommitted {
        /// The slice that is being read.
        slice: &'a Slice,
        /// How many pages.
        pages: u64,
        /// What they changed.
        changes: &'a Changes,
    },
    /// The end of a slice was reached.
    SliceCompleted {
        /// The slice.
        slice: &'a Slice,
    },
    /// A slice could not be read to its end. What was read of it stays.
    SliceFailed {
        /// The slice.
        slice: &'a Slice,
        /// Why.
        error: &'a Error,
    },
}

/// How many records were what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Not known before.
    pub new: u64,
    /// With another content than before.
    pub changed: u64,
    /// As they were. A record counts each time it comes.
    pub unchanged: u64,
    /// Vanished before, and there again.
    pub returned: u64,
    /// No longer listed.
    pub vanished: u64,
    /// Not mapped, and kept as bytes for the first time.
    pub quarantined: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, changes: &Changes) {
        self.new += count(&changes.new);
        self.changed += count(&changes.changed);
        self.unchanged += changes.unchanged;
        self.returned += count(&changes.returned);
        self.vanished += count(&changes.vanished);
        self.quarantined += changes.quarantined;
    }
}

pub(crate) fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

/// A slice that could not be read to its end, and why.
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The slice; `None` if it was the list of assets.
    pub slice: Option<Slice>,
    /// Why.
    pub error: Error,
}

/// How a run went. Shown as one line.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// What was written to.
    pub account: Account,
    /// When the run began.
    pub began_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// What the records were.
    pub counts: Counts,
    /// How many slices were read to their ends.
    pub slices_read: u64,
    /// How many slices had no need to be read.
    pub slices_skipped: u64,
    /// How many slices the run did not get to, or was interrupted in.
    pub slices_left: u64,
    /// How many pages were read.
    pub pages: u64,
    /// How many requests were made, if they are [counted](crate::AccountSync::requests).
    pub requests: Option<u64>,
    /// Slices that could not be read to their ends. The others were.
    pub failures: Vec<Failure>,
    /// Whether everything was read that had to be.
    pub complete: bool,
    /// Whether the run ended at its [limit](crate::AccountSync::most_pages), and nothing else keeps the rest from being
    /// read at once.
    pub more: bool,
    /// When the provider may be asked again, if it made the run end.
    pub resume_at: Option<Timestamp>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

impl Report {
    pub(crate) fn begin(account: Account, now: Timestamp, dry_run: bool) -> Self {
        Self {
            account,
            began_at: now,
            ended_at: now,
            counts: Counts::default(),
            slices_read: 0,
            slices_skipped: 0,
            slices_left: 0,
            pages: 0,
            requests: None,
            failures: Vec::new(),
            complete: false,
            more: false,
            resume_at: None,
            dry_run,
        }
    }

    /// For the store's log, with what ended the run if `result` is an error.
    pub(crate) fn to_log(&self, result: &Result<()>) -> RunReport {
        let Counts { new, changed, unchanged, returned, vanished, quarantined } = self.counts;
        let mut log = RunReport::default();
        (log.began_at, log.ended_at) = (self.began_at, self.ended_at);
        log.requests = self.requests.unwrap_or_default();
        log.counts = [new, changed, unchanged, returned, vanished, quarantined];
        log.error = match (result, self.failures.as_slice()) {
            (Err(error), _) => Some(error.to_string()),
            (Ok(()), []) if self.complete || self.more => None,
            (Ok(()), []) => Some("the run was stopped before its end".into()),
            (Ok(()), [one]) => Some(one.error.to_string()),
            (Ok(()), [one, more @ ..]) => Some(format!("{}; {} more slices failed", one.error, more.len())),
        };
        log
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { new, changed, unchanged, returned, vanished, quarantined } = self.counts;
        write!(
            f,
            "{}: {new} new, {changed} changed, {unchanged} unchanged, {returned} returned, ",
            self.account
        )?;
        write!(f, "{vanished} vanished, {quarantined} quarantined; slices: {} read, ", self.slices_read)?;
        write!(f, "{} skipped, {} failed, ", self.slices_skipped, self.failures.len())?;
        write!(f, "{} left; {} pages", self.slices_left, self.pages)?;
        if let Some(requests) = self.requests {
            write!(f, ", {requests} requests")?;
        }
        f.write_str(if self.complete { "; complete" } else { "; not complete" })?;
        if let Some(at) = self.resume_at {
            write!(f, ", to be resumed at {at}")?;
        }
        if self.dry_run { f.write_str("; nothing was written") } else { Ok(()) }
    }
}
