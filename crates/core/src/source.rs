//! The contract: a source of charging sessions, and what it hands out.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{
    Asset, AssetPage, Capabilities, ChargingSession, Cursor, Error, ErrorKind, Interval, Issue, IssueCode,
    Parties, Payload, Provenance, ProviderId, RecordKind, Result, SessionKey, SessionQuery,
};

/// A provider account from which charging sessions can be read.
///
/// # Contract
///
/// - A source reads one account and only reads: any call may be repeated.
/// - [`fetch_page`](Self::fetch_page) is the primitive; streams are derived from it by
///   [`ChargingSessionSourceExt`]. A page can be retried, resumed and committed, a stream cannot.
/// - Delivery is at least once: records may repeat, within a listing and between listings.
///   [`SessionKey`] is what to deduplicate by, and the later record wins.
/// - Retries, waiting and renewal of credentials happen below this trait. An error that reaches the caller
///   is not worth an immediate retry, unless it [says so](Error::is_retryable).
///
/// # Wrappers
///
/// Every method is required: a wrapper that forgets to forward one does not compile. The trait is
/// implemented for references, `Box` and `Arc`, also of `dyn ChargingSessionSource`.
#[async_trait]
pub trait ChargingSessionSource: fmt::Debug + Send + Sync {
    /// The stable name of the provider, for example `ev-energy`.
    fn provider(&self) -> ProviderId;

    /// What this source can do. Constant for the life of the source; performs no I/O.
    fn capabilities(&self) -> Capabilities;

    /// Fetches one page.
    ///
    /// - `cursor` is `None` for the first page, afterwards the [`SessionPage::next`] of the page before.
    /// - The page may be shorter than asked for, or empty, and still have a `next`. Only a missing `next`
    ///   ends the listing.
    /// - Every session meets every condition of `query`, as far as the record tells.
    /// - A record that cannot be mapped is in [`SessionPage::rejected`]; it never fails the page.
    /// - A source may send for pages that follow in the same listing before they are asked for.
    /// - Dropping the future abandons the page and has no other effect.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Unsupported`], before any request is made, if `query` needs something that
    ///   [`capabilities`](Self::capabilities) do not declare.
    /// - [`ErrorKind::InvalidCursor`], before any request is made, if `cursor` was made by another provider,
    ///   another release or for another query; also if the provider no longer accepts it.
    /// - Any other kind if the request failed.
    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage>;
}

/// A source that can read the energy intervals of a single session.
///
/// Apart from [`ChargingSessionSource`], because it is another request per session, which most users do not
/// want to pay for, and because some providers have no intervals.
#[async_trait]
pub trait IntervalSource: fmt::Debug + Send + Sync {
    /// Fetches the intervals of the session with this key, oldest first.
    ///
    /// An empty answer means that the provider has none for this session.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if the provider does not know the session, [`ErrorKind::Unsupported`] if the
    /// key belongs to another provider or to a level without intervals, any other kind if the request failed.
    async fn fetch_intervals(&self, session: &SessionKey) -> Result<SessionIntervals>;
}

/// A source that can list what sessions belong to: vehicles and charge points.
///
/// Apart from [`ChargingSessionSource`], because a listing of sessions needs no call of it: a source whose provider
/// lists sessions asset by asset walks the assets itself. Who plans for many assets asks here, and
/// [narrows](SessionQuery::with_asset) each query to one.
#[async_trait]
pub trait AssetSource: fmt::Debug + Send + Sync {
    /// Fetches some assets: those that can have sessions. As with sessions, a page may be short or empty, and only a
    /// missing [`next`](AssetPage::next) ends the listing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidCursor`], before any request is made, if `cursor` was not made by this method of such a
    /// source; any other kind if the request failed.
    async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage>;
}

/// A stream over any [`AssetSource`], including `dyn`.
pub trait AssetSourceExt: AssetSource {
    /// All assets, one by one. The stream ends after the first error.
    fn assets(&self) -> BoxStream<'_, Result<Asset>> {
        stream::unfold(At::Page(None), move |at| async move {
            let At::Page(cursor) = at else { return None };
            let page = self.fetch_assets(cursor.as_ref()).await.and_then(|page| {
                moves(cursor.as_ref(), page.next.as_ref())?;
                Ok(page)
            });
            let (assets, at) = match page {
                Ok(page) => (page.assets.into_iter().map(Ok).collect(), At::after(page.next)),
                Err(error) => (vec![Err(error)], At::End),
            };
            Some((stream::iter(assets), at))
        })
        .flatten()
        .boxed()
    }
}

impl<S: AssetSource + ?Sized> AssetSourceExt for S {}

/// The intervals of one session.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct SessionIntervals {
    /// The intervals, oldest first.
    pub intervals: Vec<Interval>,
    /// When the provider last computed them, if it says so.
    pub updated_at: Option<jiff::Timestamp>,
    /// What was odd about them.
    pub issues: Vec<Issue>,
    /// The answer, byte for byte.
    pub payload: Payload,
}

/// One page of sessions and where to go on from it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// Sessions in the provider's order. May be empty even when `next` is `Some`.
    pub sessions: Vec<ChargingSession>,
    /// Records of this page that could not be mapped, with their bytes. Never silently dropped.
    pub rejected: Vec<RejectedRecord>,
    /// Where the next page starts; `None` means that the end was reached.
    ///
    /// Store it only together with `sessions`: a restart then repeats at most one page and skips nothing.
    pub next: Option<Cursor>,
    /// How many records the whole listing has, as the provider says on this page.
    pub total: Option<u64>,
}

impl SessionPage {
    /// A page with its sessions and its successor.
    pub fn new(sessions: Vec<ChargingSession>, next: Option<Cursor>) -> Self {
        Self { sessions, next, ..Self::default() }
    }

    /// The first session, for answers that hold one record or none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRecord`] if a record could not be mapped.
    pub fn into_session(mut self) -> Result<Option<ChargingSession>> {
        match self.rejected.first() {
            Some(rejected) => Err(Error::new(ErrorKind::InvalidRecord, rejected.to_string())),
            None => Ok((!self.sessions.is_empty()).then(|| self.sessions.swap_remove(0))),
        }
    }
}

/// A provider record that did not become a session. Kept, so that a later release can try again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RejectedRecord {
    /// The provider's identifier, if one could be read.
    pub id: Option<String>,
    /// Why, as a stable code.
    pub code: IssueCode,
    /// The place in the provider's answer, as a JSON pointer, for example `/3/start`.
    pub path: String,
    /// Why, for people. Names the field; quotes no value.
    pub reason: String,
    /// The record, byte for byte.
    pub payload: Payload,
    /// What else is known of it. Without this, it can be shown and cannot be tried again.
    pub context: Option<Box<RecordContext>>,
}

/// What a mapping knows of a record besides its bytes: what a later release needs to try again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordContext {
    /// The level that the record is of.
    pub kind: RecordKind,
    /// Which operation gave it, when, and which version of the mapping could not read it.
    pub origin: Provenance,
    /// Whom the request named, where the record does not: its vehicle, its user. A vehicle or charge point without an
    /// identifier says what the record's own identifier is of.
    #[serde(default)]
    pub parties: Parties,
}

impl RecordContext {
    /// A record of this level and from there.
    pub fn new(kind: RecordKind, origin: &Provenance) -> Self {
        Self { kind, origin: origin.clone(), parties: Parties::default() }
    }

    /// Adds whom the request named.
    #[must_use]
    pub fn with_parties(mut self, parties: Parties) -> Self {
        self.parties = parties;
        self
    }
}

impl RejectedRecord {
    /// A rejection with its code, place and reason.
    pub fn new(
        code: IssueCode,
        path: impl Into<String>,
        reason: impl Into<String>,
        payload: impl Into<Payload>,
    ) -> Self {
        Self {
            id: None,
            code,
            path: path.into(),
            reason: reason.into(),
            payload: payload.into(),
            context: None,
        }
    }

    /// Adds what else is known.
    #[must_use]
    pub fn with_context(mut self, context: &RecordContext) -> Self {
        self.context = Some(Box::new(context.clone()));
        self
    }

    /// Adds the provider's identifier.
    #[must_use]
    pub fn with_id(mut self, id: Option<String>) -> Self {
        self.id = id;
        self
    }
}

impl fmt::Display for RejectedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id.as_deref().unwrap_or("without an identifier");
        write!(f, "record {id} at {}: {} ({})", self.path, self.reason, self.code)
    }
}

/// Streams over any [`ChargingSessionSource`], including `dyn`.
pub trait ChargingSessionSourceExt: ChargingSessionSource {
    /// All pages of `query`. The stream ends after the first error.
    fn pages(&self, query: SessionQuery) -> BoxStream<'_, Result<SessionPage>> {
        pages(self, query, None)
    }

    /// All pages of `query`, going on from a stored cursor.
    fn pages_from(&self, query: SessionQuery, cursor: Cursor) -> BoxStream<'_, Result<SessionPage>> {
        pages(self, query, Some(cursor))
    }

    /// All sessions of `query`, one by one.
    ///
    /// A rejected record becomes an [`ErrorKind::InvalidRecord`] item and the stream goes on after it; any
    /// other error ends the stream. To resume, or to keep the rejected bytes, read [`pages`](Self::pages).
    fn sessions(&self, query: SessionQuery) -> BoxStream<'_, Result<ChargingSession>> {
        let provider = self.provider();
        self.pages(query)
            .flat_map(move |page| {
                let (sessions, rejected, error) = match page {
                    Ok(page) => (page.sessions, page.rejected, None),
                    Err(error) => (Vec::new(), Vec::new(), Some(Err(error))),
                };
                let rejected = rejected.into_iter().map(move |record| {
                    Err(Error::new(ErrorKind::InvalidRecord, record.to_string()).with_provider(provider))
                });
                stream::iter(sessions.into_iter().map(Ok).chain(rejected).chain(error))
            })
            .boxed()
    }
}

impl<S: ChargingSessionSource + ?Sized> ChargingSessionSourceExt for S {}

/// Pages of `query` from `source`, which may be a reference or an owned handle such as
/// `Arc<dyn ChargingSessionSource>`; the latter gives a `'static` stream that can be spawned.
///
/// The stream ends after the page without `next`, or after the first error. A source whose cursor does not
/// move is stopped with [`ErrorKind::Protocol`], because it would never end.
pub fn pages<'a, S>(
    source: S,
    query: SessionQuery,
    start: Option<Cursor>,
) -> BoxStream<'a, Result<SessionPage>>
where
    S: ChargingSessionSource + 'a,
{
    stream::unfold((source, query, At::Page(start)), |(source, query, at)| async move {
        let At::Page(cursor) = at else { return None };
        let page = source.fetch_page(&query, cursor.as_ref()).await.and_then(|page| {
            moves(cursor.as_ref(), page.next.as_ref())
                .map_err(|error| error.with_provider(source.provider()))?;
            Ok(page)
        });
        let at = match &page {
            Ok(page) => At::after(page.next.clone()),
            Err(_) => At::End,
        };
        Some((page, (source, query, at)))
    })
    .boxed()
}

/// Where a stream of pages is.
enum At {
    Page(Option<Cursor>),
    End,
}

impl At {
    fn after(next: Option<Cursor>) -> Self {
        next.map_or(Self::End, |next| Self::Page(Some(next)))
    }
}

/// A page that names itself as its next would be read for ever.
fn moves(at: Option<&Cursor>, next: Option<&Cursor>) -> Result<()> {
    if next.is_some() && next == at {
        let message = "the listing does not move: a page names itself as its next";
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    Ok(())
}

macro_rules! forward {
    ($($ty:ty),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: ChargingSessionSource + ?Sized> ChargingSessionSource for $ty {
            fn provider(&self) -> ProviderId {
                (**self).provider()
            }
            fn capabilities(&self) -> Capabilities {
                (**self).capabilities()
            }
            async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
                (**self).fetch_page(query, cursor).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: IntervalSource + ?Sized> IntervalSource for $ty {
            async fn fetch_intervals(&self, session: &SessionKey) -> Result<SessionIntervals> {
                (**self).fetch_intervals(session).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: AssetSource + ?Sized> AssetSource for $ty {
            async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage> {
                (**self).fetch_assets(cursor).await
            }
        }
    )*};
}
forward!(&S, Box<S>, Arc<S>);

// All of them stay usable as `dyn`.
const _: fn(&dyn ChargingSessionSource, &dyn IntervalSource, &dyn AssetSource) = |_, _, _| {};
