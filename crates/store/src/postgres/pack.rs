//! How payloads are kept: as Zstandard, each by itself.

use zstd::bulk::{Compressor, Decompressor};

use crate::columns::Damaged;

/// The level is the fastest, because records are too short for higher ones to find more.
const COMPRESSION: i32 = 1;

/// More than any answer that is read, in bytes.
const LARGEST: usize = 1 << 30;

/// Makes payloads shorter, where they can be.
pub(super) struct Packer(Compressor<'static>);

impl Packer {
    /// `None` if there is no memory.
    pub(super) fn new() -> Option<Self> {
        Compressor::new(COMPRESSION).ok().map(Self)
    }

    /// Zstandard if it is shorter; else `None`.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.compress(plain).ok().filter(|packed| packed.len() < plain.len())
    }
}

/// A payload of this size, as it was received.
pub(super) fn unpack(size: i64, bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
    let size = usize::try_from(size).map_err(|_| Damaged)?;
    if size == bytes.len() {
        return Ok(bytes.to_vec());
    }
    // A damaged number must not take all memory.
    if size > LARGEST {
        return Err(Damaged);
    }
    let plain =
        Decompressor::new().and_then(|mut packer| packer.decompress(bytes, size)).map_err(|_| Damaged)?;
    if plain.len() == size { Ok(plain) } else { Err(Damaged) }
}
