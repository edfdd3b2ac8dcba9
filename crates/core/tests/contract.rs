//! What the contract promises, tried on a small source and on a wrapper around it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use charging_sessions_core::*;
use futures_util::{StreamExt as _, TryStreamExt as _};

const FAKE: ProviderId = ProviderId::new("fake");

/// Pages of identifiers; `!` stands for a record that cannot be mapped.
#[derive(Debug)]
struct Fake(Vec<Vec<&'static str>>);

fn session(id: &str) -> ChargingSession {
    let key = SessionKey::new(FAKE, AccountId::default(), RecordKind::PlugIn, id);
    let origin =
        Provenance::new(Endpoint::new("GET /sessions", None), "2026-01-01T00:00:00Z".parse().unwrap(), 1);
    ChargingSession::new(key, SessionStatus::Completed, origin)
}

#[async_trait]
impl ChargingSessionSource for Fake {
    fn provider(&self) -> ProviderId {
        FAKE
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
    }
    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        query.check(self.capabilities())?;
        let at: usize = cursor.map(|c| c.decode(FAKE, 1, query)).transpose()?.unwrap_or(0);
        let Some(ids) = self.0.get(at) else {
            return Err(Error::new(ErrorKind::Unavailable, "down"));
        };
        let mut page = SessionPage::default();
        for id in ids {
            if *id == "!" {
                page.rejected.push(RejectedRecord::new(
                    IssueCode::ID_MISSING,
                    "/0/id",
                    "no identifier",
                    "{}",
                ));
            } else {
                page.sessions.push(session(id));
            }
        }
        page.next = (at + 1 < self.0.len()).then(|| Cursor::encode(FAKE, 1, query, &(at + 1)));
        Ok(page)
    }
}

/// A wrapper: one struct and one implementation of three methods.
#[derive(Debug)]
struct Counted<S>(S, AtomicUsize);

#[async_trait]
impl<S: ChargingSessionSource> ChargingSessionSource for Counted<S> {
    fn provider(&self) -> ProviderId {
        self.0.provider()
    }
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }
    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        let page = self.0.fetch_page(query, cursor).await?;
        self.1.fetch_add(page.sessions.len(), Ordering::Relaxed);
        Ok(page)
    }
}

fn ids(pages: &[SessionPage]) -> Vec<&str> {
    pages.iter().flat_map(|page| &page.sessions).map(|s| s.key().source_id.as_str()).collect()
}

#[tokio::test]
async fn an_empty_page_is_not_the_end() {
    let pages: Vec<_> =
        Fake(vec![vec!["a"], vec![], vec!["b", "c"]]).pages(SessionQuery::all()).try_collect().await.unwrap();
    assert_eq!(ids(&pages), ["a", "b", "c"]);
}

#[tokio::test]
async fn a_listing_goes_on_from_a_stored_cursor() {
    let source = Fake(vec![vec!["a"], vec!["b"], vec!["c"]]);
    let pages: Vec<_> = source.pages(SessionQuery::all()).try_collect().await.unwrap();
    let stored = serde_json::to_string(pages[0].next.as_ref().unwrap()).unwrap();
    let cursor: Cursor = serde_json::from_str(&stored).unwrap();
    let rest: Vec<_> = source.pages_from(SessionQuery::all(), cursor).try_collect().await.unwrap();
    assert_eq!(ids(&rest), ["b", "c"]);
}

#[tokio::test]
async fn a_wrapped_dynamic_source_can_be_spawned() {
    let counted = Arc::new(Counted(Fake(vec![vec!["a"], vec!["b", "c"]]), AtomicUsize::new(0)));
    let source: Arc<dyn ChargingSessionSource> = Arc::clone(&counted) as _;
    let stream = pages(source, SessionQuery::all(), None);
    let seen: Vec<SessionPage> = tokio::spawn(stream.try_collect()).await.unwrap().unwrap();
    assert_eq!(ids(&seen), ["a", "b", "c"]);
    assert_eq!(counted.1.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_rejected_record_does_not_end_the_stream_of_sessions() {
    let source = Fake(vec![vec!["a", "!", "b"], vec!["c"]]);
    let items: Vec<_> = source.sessions(SessionQuery::all()).collect().await;
    let read: Vec<_> =
        items.iter().filter_map(|item| item.as_ref().ok()).map(|s| &s.key().source_id).collect();
    assert_eq!(read, ["a", "b", "c"]);
    let errors: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].kind(), ErrorKind::InvalidRecord);
    assert_eq!(
        errors[0].to_string(),
        "fake: record without an identifier at /0/id: no identifier (id.missing)"
    );
}

#[tokio::test]
async fn the_first_error_ends_the_stream() {
    let source = Fake(vec![]);
    let items: Vec<_> = source.sessions(SessionQuery::all()).collect().await;
    assert_eq!(items.len(), 1);
    assert_eq!(items[0].as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_cursor_that_stands_still_ends_with_an_error() {
    #[derive(Debug)]
    struct Still;
    #[async_trait]
    impl ChargingSessionSource for Still {
        fn provider(&self) -> ProviderId {
            FAKE
        }
        fn capabilities(&self) -> Capabilities {
            Capabilities::none()
        }
        async fn fetch_page(&self, query: &SessionQuery, _: Option<&Cursor>) -> Result<SessionPage> {
            Ok(SessionPage::new(vec![session("a")], Some(Cursor::encode(FAKE, 1, query, &0))))
        }
    }
    let items: Vec<_> = Still.pages(SessionQuery::all()).collect().await;
    assert_eq!(items.len(), 2);
    assert_eq!(items[1].as_ref().unwrap_err().kind(), ErrorKind::Protocol);
}

/// As many pages of one asset as it says; with `usize::MAX`, a page that names itself as its next.
#[derive(Debug)]
struct Garage(usize);

#[async_trait]
impl AssetSource for Garage {
    async fn fetch_assets(&self, cursor: Option<&Cursor>) -> Result<AssetPage> {
        let all = SessionQuery::all();
        let at: usize = cursor.map(|c| c.decode(FAKE, 1, &all)).transpose()?.unwrap_or(0);
        let next = match self.0 {
            usize::MAX => Some(0),
            pages => Some(at + 1).filter(|next| *next < pages),
        };
        let asset = Asset::new(AssetRef::vehicle(at.to_string()));
        Ok(AssetPage::new(vec![asset], next.map(|next| Cursor::encode(FAKE, 1, &all, &next))))
    }
}

#[tokio::test]
async fn assets_are_read_page_by_page_through_dyn() {
    let garage: Box<dyn AssetSource> = Box::new(Garage(3));
    let assets: Vec<_> = garage.assets().map_ok(|asset| asset.reference.id).try_collect().await.unwrap();
    assert_eq!(assets, ["0", "1", "2"]);
}

#[tokio::test]
async fn a_listing_of_assets_that_does_not_move_ends_with_an_error() {
    let read: Vec<_> = Garage(usize::MAX).assets().take(9).map_err(|error| error.kind()).collect().await;
    assert_eq!(read.len(), 2, "{read:?}");
    assert_eq!(read[1], Err(ErrorKind::Protocol));
}
