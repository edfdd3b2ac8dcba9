//! How the bytes of a revision are kept: what was received, and the record behind it, with what is in an example left
//! out.

use std::ops::{Range, RangeInclusive};

use lz4_flex::block::{compress_into_with_dict, decompress_into_with_dict, get_maximum_output_size};

use crate::columns::Damaged;

/// How many bytes an example may have: shorter ones have nothing to offer, and longer ones take longer to go through
/// than they save.
const EXAMPLES: RangeInclusive<usize> = 128..=16_384;

/// How many times as long as its bytes a block of LZ4 can be once it is unpacked, rounded up.
const MOST_EXPANSION: usize = 256;

/// Whether others can be packed by what has this size.
pub(super) fn suits(plain: usize) -> bool {
    EXAMPLES.contains(&plain)
}

/// Whether so much of what can be an example is left beside another one that it should rather be one itself.
pub(super) fn has_become_unlike(plain: usize, packed: usize) -> bool {
    suits(plain) && packed * 2 >= plain
}

/// Adds to `packed` a block of LZ4 that is `plain`, with an example, which may be empty, as its dictionary. Where it is,
/// if it is shorter; else nothing is added.
pub(super) fn pack(plain: &[u8], example: &[u8], packed: &mut Vec<u8>) -> Option<Range<usize>> {
    let start = packed.len();
    packed.resize(start + get_maximum_output_size(plain.len()), 0);
    let length = compress_into_with_dict(plain, &mut packed[start..], example).ok();
    let length = length.filter(|length| *length < plain.len());
    packed.truncate(start + length.unwrap_or_default());
    length.map(|length| start..start + length)
}

/// What had `size` bytes, whether it was packed by this example or kept as it was. `room` is for what was packed.
pub(super) fn unpack<'b>(
    size: usize,
    bytes: &'b [u8],
    example: &[u8],
    room: &'b mut Vec<u8>,
) -> Result<&'b [u8], Damaged> {
    if bytes.len() == size {
        return Ok(bytes);
    }
    // A damaged number must not take all memory.
    if size / MOST_EXPANSION > bytes.len() {
        return Err(Damaged);
    }
    room.clear();
    room.resize(size, 0);
    match decompress_into_with_dict(bytes, room, example) {
        Ok(length) if length == size => Ok(room),
        _ => Err(Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(size: usize, bytes: &[u8], example: &[u8]) -> Result<Vec<u8>, Damaged> {
        unpack(size, bytes, example, &mut b"of another".to_vec()).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_is_like_another_is_packed_to_what_is_different() {
        let body = |id: u32| {
            (0..40).map(|n| format!("\"{n} {}\": null, ", n * n)).collect::<String>() + &id.to_string()
        };
        let (one, two) = (body(1), body(2));
        let (one, two) = (one.as_bytes(), two.as_bytes());
        let mut packed = b"before".to_vec();
        let place = pack(two, one, &mut packed).unwrap();
        assert!(place.start == 6 && place.end == packed.len() && place.len() < 40, "{place:?}");
        let bytes = &packed[place];
        assert_eq!(back(two.len(), bytes, one).unwrap(), two);
        // By another example, of another size, or damaged.
        for (size, bytes, example) in [
            (two.len(), bytes, &b""[..]),
            (two.len() - 1, bytes, one),
            (two.len() + 1, bytes, one),
            (usize::MAX, bytes, one),
            (two.len(), &bytes[1..], one),
            (two.len(), b"", one),
        ] {
            assert!(back(size, bytes, example).is_err(), "{size}");
        }
    }

    #[test]
    fn what_would_be_no_shorter_stays_as_it_is() {
        let mut packed = Vec::new();
        for plain in [&b""[..], b"x", b"abcdefghijklmnopqrstuvwxyz0123456789"] {
            assert_eq!(pack(plain, b"", &mut packed), None);
            assert!(packed.is_empty());
        }
        let zeros = vec![0; 1 << 20];
        let place = pack(&zeros, b"", &mut packed).unwrap();
        assert_eq!(back(zeros.len(), &packed[place], b"").unwrap(), zeros);
        assert!(!suits(zeros.len()) && !suits(1) && suits(1000));
        assert_eq!(back(5, b"plain", b"").unwrap(), b"plain");
    }
}
