//! JSON Lines: one whole record on each line.

use std::io::{self, Write};

use charging_sessions_core::ChargingSession;
use serde::Serialize;

use crate::{Record, Standing};

/// Records as JSON Lines. Each is the record as the JSON Schema has it, and beside it, under `stored`, what is known
/// besides. A reader of records ignores that.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    session: &'a ChargingSession,
    stored: Stored<'a>,
}

#[derive(Serialize)]
struct Stored<'a> {
    revision: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_since: Option<jiff::Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_sha256: Option<String>,
    counts: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts_because: Option<String>,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn record(&mut self, record: &Record, standing: &Standing) -> io::Result<()> {
        let stored = Stored {
            revision: record.revision,
            missing_since: record.missing_since,
            payload_sha256: record.payload_hex(),
            counts: standing.as_str(),
            counts_because: standing.why().map(ToString::to_string),
        };
        serde_json::to_writer(&mut self.out, &Line { session: &record.session, stored })?;
        self.out.write_all(b"\n")
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}
