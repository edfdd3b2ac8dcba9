//! What can be made of records before it is known what the store has of them: on a thread of its own, while the records
//! before them are being written.

use std::{
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{channel, sync_channel},
    },
    thread,
};

use charging_sessions_core::{ChargingSession, Payload};

use super::{Failure, pack, stopped};
use crate::{
    Hash,
    hash::{write_content, write_record},
};

/// How many records are handed over at once: enough that the hand-over is not felt, and few enough that what was made is
/// still in the cache of the processor.
const CHUNK: usize = 32;
/// Up to how many records a thread would cost more than it saves: one page of most providers.
const FEW: usize = 256;
/// How many of the first records are handed over, so that writing begins soon.
const FIRST: usize = 8;
/// How many chunks may wait.
const WAITING: usize = 2;

/// What preparing knows of writing.
#[derive(Default)]
pub(super) struct Outlook {
    /// Whether the latest record that was written was new or had changed, so that the next ones probably are.
    pub(super) keeps: AtomicBool,
    /// What the revisions of the account are packed by.
    pub(super) example: OnceLock<Arc<[u8]>>,
}

/// What was made of a chunk of records.
#[derive(Default)]
pub(super) struct Made {
    /// JSON and payloads.
    pub(super) text: Vec<u8>,
    /// What those are once they are packed.
    pub(super) packed: Vec<u8>,
}

/// A record, and what was made of it.
pub(super) struct Prepared<'a> {
    pub(super) session: &'a ChargingSession,
    /// The handle of its key.
    pub(super) handle: [u8; 16],
    /// What its content hashes to.
    pub(super) hash: Hash,
    /// The content in the text of the chunk, as JSON.
    content: Range<usize>,
    /// What only a record that is new or has changed needs, made beforehand if that was likely.
    kept: Option<Kept>,
}

/// What is kept of a record that is new or has changed.
pub(super) struct Kept {
    /// The payload, if there is one, and then the record as JSON, in the text of the chunk.
    pub(super) plain: Range<usize>,
    /// How much of it is the payload.
    pub(super) payload_size: usize,
    /// What the payload hashes to.
    pub(super) payload: Option<Hash>,
    /// The same, packed by the example of the account, if there was one and if that makes it shorter.
    pub(super) packed: Option<Range<usize>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(session: &'a ChargingSession, made: &mut Made) -> Self {
        let start = made.text.len();
        let hash = write_content(session, &mut made.text);
        let handle = session.key().id().into_bytes();
        Self { session, handle, hash, content: start..made.text.len(), kept: None }
    }

    /// What is kept of it, if it has not been made beforehand.
    pub(super) fn keep(&mut self, made: &mut Made) -> Kept {
        self.kept.take().unwrap_or_else(|| self.kept(made, None))
    }

    fn kept(&self, made: &mut Made, example: Option<&[u8]>) -> Kept {
        let Made { text, packed } = made;
        let start = text.len();
        let payload = self.session.provenance.payload.as_ref().map(Payload::as_bytes);
        text.extend_from_slice(payload.unwrap_or_default());
        let payload_size = text.len() - start;
        write_record(self.session, self.content.clone(), text);
        let plain = start..text.len();
        let packed = example.and_then(|example| pack::pack(&text[plain.clone()], example, packed));
        Kept { plain, payload_size, payload: payload.map(Hash::of), packed }
    }
}

/// Gives each of `sessions` to `write`, with what was made of its chunk.
pub(super) fn each<'a>(
    sessions: &[&'a ChargingSession],
    outlook: &Outlook,
    mut write: impl FnMut(Prepared<'a>, &mut Made) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let prepare = |chunk: &[&'a ChargingSession], mut made: Made| {
        let keeps = outlook.keeps.load(Ordering::Relaxed);
        let example = outlook.example.get().map(|example| &**example);
        made.text.clear();
        made.packed.clear();
        let prepared = |session: &&'a ChargingSession| {
            let mut prepared = Prepared::new(session, &mut made);
            prepared.kept = keeps.then(|| prepared.kept(&mut made, example));
            prepared
        };
        let prepared: Vec<_> = chunk.iter().map(prepared).collect();
        (prepared, made)
    };
    // Gives the room back, to be used for another chunk.
    let mut write_all = |(prepared, mut made): (Vec<Prepared<'a>>, Made)| {
        prepared.into_iter().try_for_each(|prepared| write(prepared, &mut made))?;
        Ok(made)
    };
    if sessions.len() <= FEW {
        let write_chunk = |made, chunk: &[_]| write_all(prepare(chunk, made));
        return sessions.chunks(CHUNK).try_fold(Made::default(), write_chunk).map(drop);
    }
    let (first, others) = sessions.split_at(FIRST);
    let chunks = || [first].into_iter().chain(others.chunks(CHUNK));
    thread::scope(|scope| {
        let (send, receive) = sync_channel(WAITING);
        let (give_back, used) = channel();
        scope.spawn(move || {
            let prepare = |chunk| send.send(prepare(chunk, used.try_recv().unwrap_or_default()));
            // Whoever does not take more has failed.
            let _ = chunks().try_for_each(prepare);
        });
        for _ in chunks() {
            let prepared = receive.recv().map_err(|e| Failure::Refused(stopped().with_source(e)))?;
            // Nobody takes the last ones.
            let _ = give_back.send(write_all(prepared)?);
        }
        Ok(())
    })
}
