//! Pages of a listing, and the links between them.

use super::{problem::Problem, view::id_in};
use crate::sandbox::{fault::PageFault, query::Query};

const DEFAULT_SIZE: usize = 25;
const MAX_SIZE: usize = 100;

/// What stands at the end of a listing instead of a link.
const NOWHERE: &str = "about:blank";

const PARAMETERS: [&str; 3] = ["page_size", "page_after", "page_before"];

/// Which page is asked for.
///
/// A cursor is the id of a record, and listings are ordered by id. So a cursor keeps its place when the
/// record itself is gone.
#[derive(Debug)]
pub(super) struct PageRequest<'a> {
    size: usize,
    from: From<'a>,
}

#[derive(Debug)]
enum From<'a> {
    Start,
    After(&'a str),
    Before(&'a str),
}

impl<'a> PageRequest<'a> {
    /// Reads the parameters. `prefix` is that of the ids in the listing.
    pub(super) fn parse(query: &'a Query, prefix: &str) -> Result<Self, Problem> {
        let size = match query.get("page_size") {
            None => DEFAULT_SIZE,
            Some(text) => text
                .parse()
                .ok()
                .filter(|size| (1..=MAX_SIZE).contains(size))
                .ok_or_else(|| Problem::pagination("page_size"))?,
        };
        let cursor = |name: &'static str| match query.get(name) {
            None => Ok(None),
            Some(text) if id_in(text, prefix) == Some(text) => Ok(Some(text)),
            Some(_) => Err(Problem::pagination(name)),
        };
        let (after, before) = (cursor("page_after")?, cursor("page_before")?);
        let from = match (after, before) {
            // `page_before` is ignored if both are sent.
            (Some(id), _) => From::After(id),
            (None, Some(id)) => From::Before(id),
            (None, None) => From::Start,
        };
        Ok(Self { size, from })
    }

    /// Cuts the page out of `rows`, which are in listing order: newest, so greatest, id first.
    pub(super) fn cut<'r, T: Identified>(&self, rows: &'r [T], fault: Option<PageFault>) -> Page<'r, T> {
        let size = match fault {
            Some(PageFault::Size(records)) => records,
            _ => self.size,
        };
        let start = match self.from {
            From::Start => 0,
            From::After(id) => rows.partition_point(|row| row.id() >= id),
            From::Before(id) => rows.partition_point(|row| row.id() > id).saturating_sub(size),
        };
        let end = match self.from {
            From::Before(id) => rows.partition_point(|row| row.id() > id),
            _ => rows.len().min(start + size),
        };
        let back = match fault {
            Some(PageFault::Shift(by)) => by.min(start),
            _ => 0,
        };
        let (start, end) = (start - back, end - back);
        let rows_before = start > 0;
        let rows_after = end < rows.len();
        let page = &rows[start..end];
        Page {
            rows: page,
            size: self.size,
            previous: page.first().filter(|_| rows_before).map(Identified::id),
            next: page.last().filter(|_| rows_after).map(Identified::id),
        }
    }
}

/// A record with an id.
pub(super) trait Identified {
    fn id(&self) -> &str;
}

impl<T: Identified> Identified for &T {
    fn id(&self) -> &str {
        (**self).id()
    }
}

/// A page and its neighbours.
#[derive(Debug)]
pub(super) struct Page<'r, T> {
    pub(super) rows: &'r [T],
    size: usize,
    previous: Option<&'r str>,
    next: Option<&'r str>,
}

impl<T> Page<'_, T> {
    /// The `Link` header: both directions always, every filter of the request, and a host of its own.
    pub(super) fn link(&self, url: &str, query: &Query) -> String {
        let size = self.size.to_string();
        let link = |name: &str, id: Option<&str>| match id {
            None => NOWHERE.to_owned(),
            Some(id) => {
                format!("{url}?{}", query.rewritten(&PARAMETERS, &[("page_size", &size), (name, id)]))
            }
        };
        let (previous, next) = (link("page_before", self.previous), link("page_after", self.next));
        format!("<{previous}>; rel=\"previous\", <{next}>; rel=\"next\"")
    }
}
