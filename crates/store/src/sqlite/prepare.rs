//! What can be made of records before it is known what the store has of them: on a thread of its own, while the records
//! before them are being written.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc::{channel, sync_channel},
    },
    thread,
};

use charging_sessions_core::{ChargingSession, Payload};

use super::{Failure, stopped};
use crate::{
    Hash,
    columns::Packer,
    hash::{write_content, write_record},
};

/// How many records are handed over at once: enough that the hand-over is not felt, and few enough that what was made is
/// still in the cache of the processor.
const CHUNK: usize = 32;
/// Up to how many records a thread would cost more than it saves: one page of most providers.
const FEW: usize = 256;
/// How many chunks may wait.
const WAITING: usize = 2;

/// What preparing knows of writing.
#[derive(Default)]
pub(super) struct Outlook<'a> {
    /// Whether the latest record that was written was new or had changed, so that the next ones probably are.
    pub(super) keeps: AtomicBool,
    /// The payload that those after it in the batch are packed by.
    pub(super) payload_example: OnceLock<&'a Payload>,
    /// The JSON of the record that those of the account are packed by.
    pub(super) record_example: OnceLock<Vec<u8>>,
}

/// What packs payloads and records that are like their examples.
#[derive(Default)]
struct Packers {
    payload: Option<Packer>,
    record: Option<Packer>,
}

impl Packers {
    /// Makes those for which there is an example by now.
    fn learn(&mut self, outlook: &Outlook<'_>) {
        let like = |packer: &mut Option<Packer>, example: Option<&[u8]>| {
            *packer = packer.take().or_else(|| example.and_then(Packer::like));
        };
        like(&mut self.payload, outlook.payload_example.get().map(|payload| payload.as_bytes()));
        like(&mut self.record, outlook.record_example.get().map(Vec::as_slice));
    }
}

/// A record, and what was made of it.
pub(super) struct Prepared<'a> {
    pub(super) session: &'a ChargingSession,
    /// What its content hashes to.
    pub(super) hash: Hash,
    /// The content in the text of the chunk, as JSON.
    content: Range<usize>,
    /// What only a record that is new or has changed needs, made beforehand if that was likely.
    kept: Option<Kept>,
}

/// What is kept of a record that is new or has changed.
pub(super) struct Kept {
    /// All of it in the text of the chunk, as JSON.
    pub(super) record: Range<usize>,
    /// The same, packed by the example of the account, if there was one and if that makes it shorter.
    pub(super) packed_record: Option<Vec<u8>>,
    /// What its payload hashes to.
    pub(super) payload: Option<Hash>,
    /// The payload, packed by the example of the batch, if there was one and if that makes it shorter.
    pub(super) packed_payload: Option<Vec<u8>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(session: &'a ChargingSession, text: &mut Vec<u8>) -> Self {
        let start = text.len();
        let hash = write_content(session, text);
        Self { session, hash, content: start..text.len(), kept: None }
    }

    /// What is kept of it, if it has not been made beforehand.
    pub(super) fn keep(&mut self, text: &mut Vec<u8>) -> Kept {
        self.kept.take().unwrap_or_else(|| self.kept(text, &mut Packers::default()))
    }

    fn kept(&self, text: &mut Vec<u8>, packers: &mut Packers) -> Kept {
        let record = text.len();
        write_record(self.session, self.content.clone(), text);
        let record = record..text.len();
        let payload = self.session.provenance.payload.as_ref().map(Payload::as_bytes);
        let pack = |packer: &mut Option<Packer>, plain: &[u8]| packer.as_mut()?.pack(plain);
        Kept {
            packed_record: pack(&mut packers.record, &text[record.clone()]),
            record,
            payload: payload.map(Hash::of),
            packed_payload: payload.and_then(|payload| pack(&mut packers.payload, payload)),
        }
    }
}

/// Gives each of `sessions` to `write`, with the text of its chunk.
pub(super) fn each<'a>(
    sessions: &[&'a ChargingSession],
    outlook: &Outlook<'a>,
    mut write: impl FnMut(Prepared<'a>, &mut Vec<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut packers = Packers::default();
    let mut prepare = |chunk: &[&'a ChargingSession], mut text: Vec<u8>| {
        let keeps = outlook.keeps.load(Ordering::Relaxed);
        if keeps {
            packers.learn(outlook);
        }
        text.clear();
        let prepared = |session: &&'a ChargingSession| {
            let mut prepared = Prepared::new(session, &mut text);
            prepared.kept = keeps.then(|| prepared.kept(&mut text, &mut packers));
            prepared
        };
        let prepared: Vec<_> = chunk.iter().map(prepared).collect();
        (prepared, text)
    };
    // Gives the text back, to be used for another chunk.
    let mut write_all = |(prepared, mut text): (Vec<Prepared<'a>>, Vec<u8>)| {
        prepared.into_iter().try_for_each(|prepared| write(prepared, &mut text))?;
        Ok(text)
    };
    if sessions.len() <= FEW {
        let write_chunk = |text, chunk: &[_]| write_all(prepare(chunk, text));
        return sessions.chunks(CHUNK).try_fold(Vec::new(), write_chunk).map(drop);
    }
    thread::scope(|scope| {
        let (send, receive) = sync_channel(WAITING);
        let (give_back, used) = channel();
        scope.spawn(move || {
            let prepare = |chunk| send.send(prepare(chunk, used.try_recv().unwrap_or_default()));
            // Whoever does not take more has failed.
            let _ = sessions.chunks(CHUNK).try_for_each(prepare);
        });
        for _ in sessions.chunks(CHUNK) {
            let prepared = receive.recv().map_err(|e| Failure::Refused(stopped().with_source(e)))?;
            // Nobody takes the last ones.
            let _ = give_back.send(write_all(prepared)?);
        }
        Ok(())
    })
}
