//! Reads a source to its end.

use charging_sessions::{
    ChargingSession, ChargingSessionSource, ChargingSessionSourceExt as _, RejectedRecord, SessionQuery,
    checks,
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
