//! An answer as bytes, and the places in it.

use std::io::{self, Write as _};

use flate2::{Compress, Compression, FlushCompress, write::GzEncoder};

/// How much of a bomb is packed once, and then repeated.
const CHARGE: usize = 1 << 20;

/// A place in an answer where something happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// Before its first byte.
    Start,
    /// In the middle of the status line.
    StatusLine,
    /// In the middle of the headers.
    Headers,
    /// Between the headers and the body.
    BodyStart,
    /// In the middle of a body whose length was announced.
    Body,
    /// In the middle of a body of which only the end of the connection is the end.
    BodyWithoutLength,
    /// In the middle of the length of a chunk.
    ChunkSize,
    /// Behind all chunks, before the one that ends them.
    LastChunk,
    /// In the middle of a body that is packed with gzip. The announced length is that of the half.
    Gzip,
}

/// An answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, apart from those that frame the body.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer of these parts.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body: body.into() }
    }

    /// Gives a header this value alone.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Replaces the first `from` in the body by `to`. Whether there was one.
    pub fn replace(&mut self, from: &str, to: &str) -> bool {
        let at = self.body.windows(from.len().max(1)).position(|part| part == from.as_bytes());
        if let Some(at) = at {
            self.body.splice(at..at + from.len(), to.bytes());
        }
        at.is_some()
    }

    pub(super) fn parse(bytes: &[u8]) -> io::Result<Self> {
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.ok_or_else(|| wrong("an answer without the end of its headers"))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| wrong("an answer without a status"))?;
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let (framing, headers): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| {
            ["content-length", "transfer-encoding", "connection"]
                .iter()
                .any(|framing| name.eq_ignore_ascii_case(framing))
        });
        if framing.iter().any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding")) {
            return Err(wrong("the sandbox answers in chunks, which the gateway does not read"));
        }
        Ok(Self { status, headers, body: bytes[end + 4..].to_vec() })
    }

    fn head(&self, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} -\r\n", self.status);
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        (head + framing + "\r\n").into_bytes()
    }

    fn with_length(&self, body: &[u8]) -> Vec<u8> {
        // A body that may not be there has no length either.
        let framing = match self.status {
            204 | 304 => String::new(),
            _ => format!("content-length: {}\r\n", body.len()),
        };
        [&self.head(&framing), body].concat()
    }

    /// The whole answer.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.with_length(&self.body)
    }

    /// The answer, divided at a place.
    pub(super) fn until(&self, place: Place) -> (Vec<u8>, Vec<u8>) {
        let half = self.body.len() / 2;
        let whole = self.bytes();
        let headers = whole.len() - self.body.len();
        let mut in_chunks = self.head("transfer-encoding: chunked\r\n");
        let (bytes, at) = match place {
            Place::Start => (whole, 0),
            Place::StatusLine => (whole, "HTTP/1.1 2".len()),
            Place::Headers => (whole, headers - 10),
            Place::BodyStart => (whole, headers),
            Place::Body => (whole, headers + half),
            Place::BodyWithoutLength => {
                let head = self.head("");
                ([&head[..], &self.body].concat(), head.len() + half)
            }
            Place::ChunkSize => {
                in_chunks.extend(chunk(&self.body[..half]));
                let second = chunk(&self.body[half..]);
                let at = in_chunks.len() + 1;
                in_chunks.extend(second);
                in_chunks.extend(b"0\r\n\r\n");
                (in_chunks, at)
            }
            Place::LastChunk => {
                in_chunks.extend(chunk(&self.body));
                let at = in_chunks.len();
                in_chunks.extend(b"0\r\n\r\n");
                (in_chunks, at)
            }
            Place::Gzip => {
                let packed = gzip(&self.body);
                let mut answer = self.clone();
                answer.set_header("content-encoding", "gzip");
                let bytes = answer.with_length(&packed[..packed.len() / 2]);
                let at = bytes.len();
                (bytes, at)
            }
        };
        let (sent, rest) = bytes.split_at(at.min(bytes.len()));
        (sent.to_vec(), rest.to_vec())
    }
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// The length of a body that a head announces.
pub(super) fn length_in(head: &str) -> Option<usize> {
    let headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut lengths = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next()?.1.trim().parse().ok()
}

/// `bytes`, packed.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    packed.write_all(bytes).and_then(|()| packed.finish()).unwrap_or_default()
}

/// A thousandth of `bytes` (in whole MiB, rounded up) that unpacks to as many spaces. The checksum at its end is wrong:
/// whoever gets there has read too much.
pub fn gzip_bomb(bytes: u64) -> Vec<u8> {
    let mut charge = Vec::with_capacity(CHARGE / 100);
    let mut packer = Compress::new(Compression::best(), false);
    // Ends at a whole byte and refers to nothing before it, so that it can stand many times in a row.
    drop(packer.compress_vec(&vec![b' '; CHARGE], &mut charge, FlushCompress::Full));
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..bytes.div_ceil(CHARGE as u64) {
        bomb.extend(&charge);
    }
    // An empty last block, and a checksum and a length of nothing.
    bomb.extend([3, 0]);
    bomb.extend([0; 8]);
    bomb
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{DeflateDecoder, GzDecoder};

    use super::*;

    fn answer() -> Answer {
        Answer::new(200, &[("content-type", "application/json"), ("x-a", "b")], "[1, 2, 3]")
    }

    fn sent(place: Place) -> String {
        String::from_utf8_lossy(&answer().until(place).0).into_owned()
    }

    #[test]
    fn an_answer_is_what_was_written() {
        let bytes = answer().bytes();
        assert_eq!(Answer::parse(&bytes).unwrap(), answer());
        let mut changed = answer();
        assert!(changed.replace("2", "22") && !changed.replace("7", ""));
        changed.set_header("X-A", "c");
        assert_eq!(changed.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-a")).count(), 1);
        assert!(changed.bytes().ends_with(b"content-length: 10\r\n\r\n[1, 22, 3]"));
        assert!(Answer::parse(b"HTTP/1.1 200 OK\r\n").is_err());
        assert!(!String::from_utf8(Answer::new(204, &[], "").bytes()).unwrap().contains("content-length"));
    }

    #[test]
    fn each_place_is_where_it_says() {
        let head = "HTTP/1.1 200 -\r\ncontent-type: application/json\r\nx-a: b\r\n";
        assert_eq!(sent(Place::Start), "");
        assert_eq!(sent(Place::StatusLine), "HTTP/1.1 2");
        assert_eq!(sent(Place::Headers), format!("{head}content-len"));
        assert_eq!(sent(Place::BodyStart), format!("{head}content-length: 9\r\n\r\n"));
        assert_eq!(sent(Place::Body), format!("{head}content-length: 9\r\n\r\n[1, "));
        assert_eq!(sent(Place::BodyWithoutLength), format!("{head}\r\n[1, "));
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
        assert_eq!(sent(Place::ChunkSize), format!("{chunked}4\r\n[1, \r\n5"));
        assert_eq!(sent(Place::LastChunk), format!("{chunked}9\r\n[1, 2, 3]\r\n"));
        let (packed, rest) = answer().until(Place::Gzip);
        assert!(rest.is_empty() && String::from_utf8_lossy(&packed).contains("content-encoding: gzip"));
    }

    #[test]
    fn a_bomb_unpacks_to_what_it_says() {
        let mut text = String::new();
        GzDecoder::new(&gzip(b"abc")[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        let bomb = gzip_bomb(3 << 20);
        assert!(bomb.len() < 8_000, "{}", bomb.len());
        let mut unpacked = Vec::new();
        DeflateDecoder::new(&bomb[10..bomb.len() - 8]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked.len() == 3 << 20 && unpacked.iter().all(|byte| *byte == b' '));
    }
}
