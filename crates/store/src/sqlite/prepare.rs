//! What can be made of records before it is known what the store has of them: by whoever reads them, while those before
//! are being written.

use std::{ops::Range, sync::Arc};

use charging_sessions_core::{ChargingSession, Payload};

use super::pack;
use crate::{
    Hash, Prepared,
    hash::{write_content, write_record},
};

/// A revision that others are packed by: its number, and what it has.
pub(super) type Example = (i64, Arc<[u8]>);

/// What is known of an account since it was last written to.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    /// Whether the last record was new or had changed, so that the next ones probably are.
    pub(super) keeps: bool,
    /// What the next ones are packed by.
    pub(super) example: Option<Example>,
}

/// What was made of the records of a page.
#[derive(Debug)]
pub(crate) struct PreparedPage {
    /// By which store, because in another one, the example is another one.
    by: Arc<()>,
    records: Vec<Record>,
    packed: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    handle: [u8; 16],
    content: Hash,
    /// With where its bytes are.
    kept: Option<(Kept, Range<usize>)>,
}

/// What is kept of a record that is new or has changed, apart from its bytes, which are packed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// What the payload hashes to.
    pub(super) payload: Option<Hash>,
    pub(super) payload_size: usize,
    pub(super) record_size: usize,
    /// What they are packed by.
    pub(super) example_id: i64,
}

/// A record that is to be written.
pub(super) struct Coming<'a> {
    pub(super) session: &'a ChargingSession,
    /// The handle of its key.
    pub(super) handle: [u8; 16],
    /// What its content hashes to.
    pub(super) content: Hash,
    /// What was made of it beforehand, because it is probably new or has changed, and its bytes.
    pub(super) kept: Option<(Kept, &'a [u8])>,
    /// Whether its content has just been written as text.
    pub(super) is_written: bool,
}

impl<'a> Coming<'a> {
    /// One of which nothing was made beforehand. Its content is in `text` afterwards.
    pub(super) fn new(session: &'a ChargingSession, text: &mut Text) -> Self {
        let content = text.write_content(session);
        Self { session, handle: handle(session), content, kept: None, is_written: true }
    }
}

fn handle(session: &ChargingSession) -> [u8; 16] {
    session.key().id().into_bytes()
}

/// A record as text, and what becomes of it when it is packed. Its room is used for one after the other.
#[derive(Default)]
pub(super) struct Text {
    pub(super) plain: Vec<u8>,
    pub(super) packed: Vec<u8>,
    content: usize,
}

impl Text {
    /// Writes the content of a record. What it hashes to.
    pub(super) fn write_content(&mut self, session: &ChargingSession) -> Hash {
        self.plain.clear();
        let hash = write_content(session, &mut self.plain);
        self.content = self.plain.len();
        hash
    }

    /// Writes the whole record, once its content is written. Where it is, after the payload, if that is wanted.
    pub(super) fn write(&mut self, session: &ChargingSession, payload: &[u8]) -> Range<usize> {
        self.plain.truncate(self.content);
        self.plain.extend_from_slice(payload);
        write_record(session, 0..self.content, &mut self.plain);
        self.content..self.plain.len()
    }
}

/// Makes of the records of a page what can be made of them.
pub(super) fn page(sessions: &[ChargingSession], outlook: Option<&Outlook>, by: Arc<()>) -> PreparedPage {
    let example = outlook.filter(|outlook| outlook.keeps).and_then(|outlook| outlook.example.as_ref());
    let mut page = PreparedPage { by, records: Vec::with_capacity(sessions.len()), packed: Vec::new() };
    let mut text = Text::default();
    for session in sessions {
        let content = text.write_content(session);
        let kept = example.and_then(|example| kept(session, example, &mut text, &mut page.packed));
        page.records.push(Record { handle: handle(session), content, kept });
    }
    page
}

/// What is kept of a record whose content is in `text`, unless it is to be packed by itself.
fn kept(
    session: &ChargingSession,
    (example_id, example): &Example,
    text: &mut Text,
    packed: &mut Vec<u8>,
) -> Option<(Kept, Range<usize>)> {
    let payload = session.provenance.payload.as_ref().map(Payload::as_bytes);
    let plain = text.write(session, payload.unwrap_or_default());
    let bytes = pack::pack(&text.plain[plain.clone()], example, packed)?;
    if pack::has_become_unlike(plain.len(), bytes.len()) {
        packed.truncate(bytes.start);
        return None;
    }
    let payload_size = payload.map_or(0, <[u8]>::len);
    let record_size = plain.len() - payload_size;
    let kept = Kept { payload: payload.map(Hash::of), payload_size, record_size, example_id: *example_id };
    Some((kept, bytes))
}

impl Prepared {
    /// Whether the store has made something of so many records.
    pub(super) fn is_by(&self, store: &Arc<()>, number: usize) -> bool {
        self.pages.iter().all(|page| Arc::ptr_eq(&page.by, store))
            && self.pages.iter().map(|page| page.records.len()).sum::<usize>() == number
    }

    /// What was made of these sessions, one after the other.
    pub(super) fn of<'a>(&'a self, sessions: &'a [ChargingSession]) -> impl Iterator<Item = Coming<'a>> {
        let records =
            self.pages.iter().flat_map(|page| page.records.iter().map(move |record| (page, record)));
        sessions.iter().zip(records).map(|(session, (page, record))| {
            let kept = record.kept.as_ref().map(|(kept, bytes)| (*kept, &page.packed[bytes.clone()]));
            Coming { session, handle: record.handle, content: record.content, kept, is_written: false }
        })
    }
}
