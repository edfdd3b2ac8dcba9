//! Reads a source to its end.

use charging_sessions::{
    ChargingSession, ChargingSessionSource, ChargingSessionSourceExt as _, RejectedRecord, SessionQuery,
    TimeWindow, checks,
};
use futures_util::TryStreamExt as _;

use crate::exit::Failure;

/// What a listing held.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) sessions: Vec<ChargingSession>,
    pub(crate) rejected: Vec<RejectedRecord>,
    pub(crate) pages: usize,
}

impl Listing {
    /// Adds another listing, of other records.
    pub(crate) fn add(&mut self, other: Self) {
        self.sessions.extend(other.sessions);
        self.rejected.extend(other.rejected);
        self.pages += other.pages;
    }
}

/// Sessions that started in `window`, or at least all of those, of a source that cannot be asked for them: what started
/// then was changed since.
pub(crate) fn started_in(source: &dyn ChargingSessionSource, window: TimeWindow) -> SessionQuery {
    let can = source.capabilities();
    if !can.window && can.updated_since {
        return SessionQuery::changed_since(window.from());
    }
    SessionQuery::started_in(window)
}

/// Leaves out what did not start in `window`, or in none.
pub(crate) fn clip(listing: &mut Listing, window: Option<TimeWindow>) {
    if let Some(window) = window {
        SessionQuery::started_in(window).clip(&mut listing.sessions);
    }
}

/// Reads everything that `query` asks for, checks every record, and keeps one record for each key.
pub(crate) async fn everything(
    source: &dyn ChargingSessionSource,
    query: SessionQuery,
) -> Result<Listing, Failure> {
    let limits = checks::Limits::default();
    let mut listing = Listing::default();
    let mut pages = source.pages(query);
    while let Some(page) = pages.try_next().await? {
        listing.pages += 1;
        listing.rejected.extend(page.rejected);
        listing.sessions.extend(page.sessions.into_iter().map(|mut session| {
            checks::screen(&mut session, &limits);
            session
        }));
    }
    // Delivery is at least once, and of two records with one key the later holds.
    listing.sessions.reverse();
    let mut seen = std::collections::HashSet::new();
    listing.sessions.retain(|session| seen.insert(session.identity.key.clone()));
    listing.sessions.sort_by(|a, b| {
        (a.timing.period.start, &a.identity.key).cmp(&(b.timing.period.start, &b.identity.key))
    });
    Ok(listing)
}
