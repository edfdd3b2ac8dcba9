//! Parameters of the listings, pages, and the tokens that lead to the next one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{data::Session, problem::Problem};
use crate::sandbox::{fault::PageFault, query::Query, random::Random};

const DEFAULT_SIZE: usize = 25;
const MAX_SIZE: usize = 100;

const TOKEN: &str = "continuationToken";

/// Which sessions are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter {
    start: Timestamp,
    end: Option<Timestamp>,
}

impl Filter {
    pub(super) fn parse(query: &Query) -> Result<Self, Problem> {
        let moment = |name: &str| match query.get(name) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| Problem::parameter(name, "no moment with an offset."))
            }
        };
        let start = moment("start")?.ok_or_else(|| Problem::parameter("start", "it is required."))?;
        Ok(Self { start, end: moment("end")? })
    }

    pub(super) fn admits(&self, session: &Session) -> bool {
        self.start <= session.start && self.end.is_none_or(|end| session.start < end)
    }

    /// What a token is bound to, besides the path.
    pub(super) fn text(&self) -> String {
        format!("{}/{:?}", self.start, self.end)
    }
}

/// Something that has a place in a listing.
pub(super) struct Row<'a> {
    /// What the listing is ordered by; the id decides between equals.
    pub(super) rank: i128,
    pub(super) id: &'a str,
}

/// Which page is asked for.
#[derive(Debug)]
pub(super) struct PageRequest {
    size: usize,
    listing: u64,
    after: Option<Cursor>,
}

#[derive(Debug)]
struct Cursor {
    page: usize,
    rank: i128,
    id: String,
}

/// What is on a page.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) from: usize,
    pub(super) to: usize,
    next: Option<String>,
}

impl PageRequest {
    /// `listing` is all that a token is bound to.
    pub(super) fn parse(query: &Query, listing: &str, cap: Option<usize>) -> Result<Self, Problem> {
        let size = match query.get("pageSize") {
            None => DEFAULT_SIZE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| *size > 0)
                .ok_or_else(|| Problem::parameter("pageSize", "no whole number above zero."))?,
        };
        let size = size.min(MAX_SIZE).min(cap.unwrap_or(MAX_SIZE)).max(1);
        let listing = checksum(listing);
        let after = match query.get(TOKEN) {
            None => None,
            Some(text) => {
                let cursor = Cursor::read(text, listing);
                Some(cursor.ok_or_else(|| Problem::parameter(TOKEN, "not one of this listing."))?)
            }
        };
        Ok(Self { size, listing, after })
    }

    /// Finds the page among `rows`, which are in the order of the listing. `is_overlapping` lets the second
    /// page begin with the last record of the first.
    pub(super) fn cut(&self, rows: &[Row<'_>], fault: Option<PageFault>, is_overlapping: bool) -> Cut {
        let page = self.after.as_ref().map_or(0, |cursor| cursor.page);
        let from = self.after.as_ref().map_or(0, |cursor| {
            rows.partition_point(|row| (row.rank, row.id) <= (cursor.rank, cursor.id.as_str()))
        });
        let back = match fault {
            Some(PageFault::Shift(by)) => by,
            _ => usize::from(is_overlapping && page == 1),
        };
        let from = from.saturating_sub(back);
        let size = match fault {
            Some(PageFault::Size(records)) => records,
            _ => self.size,
        };
        let to = rows.len().min(from + size);
        let next = rows[from..to]
            .last()
            .filter(|_| to < rows.len())
            .map(|row| Cursor { page: page + 1, rank: row.rank, id: row.id.to_owned() }.write(self.listing));
        Cut { from, to, next }
    }

    /// The whole answer. `path` is where the listing is, with its host.
    pub(super) fn envelope(
        &self,
        cut: &Cut,
        records: Vec<Value>,
        path: &str,
        query: &Query,
        is_older: bool,
    ) -> Value {
        let size = self.size;
        if let Some(token) = &cut.next {
            let next = format!("{path}?{}", query.rewritten(&[TOKEN], &[(TOKEN, token)]));
            return json!({
                "data": records, "links": { "next": next }, "meta": { TOKEN: token, "pageSize": size },
            });
        }
        let is_nothing = records.is_empty();
        let data = if is_nothing { Value::Null } else { records.into() };
        if is_older {
            json!({ "data": data, "links": { "next": "" }, "meta": { TOKEN: "", "pageSize": size } })
        } else if is_nothing {
            json!({ "data": data, "links": {}, "meta": { "pageSize": size } })
        } else {
            json!({ "data": data, "links": { "next": null }, "meta": { TOKEN: null, "pageSize": size } })
        }
    }
}

impl Cursor {
    fn write(&self, listing: u64) -> String {
        let text = format!("{listing:x}.{}.{}.{}", self.page, self.rank, self.id);
        URL_SAFE_NO_PAD.encode(format!("{:x}.{text}", checksum(&text)))
    }

    /// `None` if it was not written for this listing.
    fn read(text: &str, listing: u64) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (sum, text) = text.split_once('.')?;
        let mut parts = text.split('.');
        let is_whole = sum == format!("{:x}", checksum(text)) && parts.next()? == format!("{listing:x}");
        let cursor = Self {
            page: parts.next()?.parse().ok()?,
            rank: parts.next()?.parse().ok()?,
            id: parts.next()?.to_owned(),
        };
        is_whole.then_some(cursor)
    }
}

fn checksum(text: &str) -> u64 {
    let parts: Vec<u64> = text.bytes().map(u64::from).collect();
    Random::new(&parts).below(1 << 48)
}
