//! Accounts of the sandboxes, and what a store has to hold of them.

// Not every test program needs all of this.
#![allow(dead_code)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use charging_sessions_core::{
    AssetSource, Capabilities, ChargingSessionSource, Cursor, ProviderId, RecordKind, Result, SessionPage,
    SessionQuery,
};
use charging_sessions_der_connect::DerConnect;
use charging_sessions_ev_energy::EvEnergy;
use charging_sessions_evcc::Evcc;
use charging_sessions_http::Policy;
use charging_sessions_podero::Podero;
use charging_sessions_store::{Account, Filter, SessionStore, SqliteStore};
use charging_sessions_sync::AccountSync;
use charging_sessions_testkit::sandbox::{
    RecordedRequest, Running,
    der_connect::{DerConnectSandbox, DerConnectSandboxBuilder},
    ev_energy::{EvEnergySandbox, EvEnergySandboxBuilder},
    evcc::{EvccSandbox, EvccSandboxBuilder},
    podero::{PoderoSandbox, PoderoSandboxBuilder},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub(crate) const NOW: &str = "2026-11-20T12:00:00Z";
pub(crate) const DAYS: u32 = 60;
/// Before the first session of a sandbox.
pub(crate) const SINCE: &str = "2026-09-19T00:00:00Z";

/// A provider account, the store of it, and the time.
pub(crate) struct Subject<S> {
    pub(crate) sandbox: Running<S>,
    pub(crate) source: Arc<dyn ChargingSessionSource>,
    pub(crate) assets: Option<Arc<dyn AssetSource>>,
    pub(crate) kind: RecordKind,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) account: Account,
    pub(crate) clock: Arc<AtomicI64>,
    /// Where records are in the truth of the sandbox.
    record: &'static str,
}

/// Gives so many pages, and lets whoever asks for more wait, so that a test decides what has come when a run is stopped.
#[derive(Debug)]
pub(crate) struct Paced {
    source: Arc<dyn ChargingSessionSource>,
    pages: AtomicUsize,
}

impl Paced {
    pub(crate) fn new(source: Arc<dyn ChargingSessionSource>) -> Arc<Self> {
        Arc::new(Self { source, pages: AtomicUsize::new(usize::MAX) })
    }

    /// So many from now on.
    pub(crate) fn give(&self, pages: usize) {
        self.pages.store(pages, Ordering::SeqCst);
    }
}

#[async_trait]
impl ChargingSessionSource for Paced {
    fn provider(&self) -> ProviderId {
        self.source.provider()
    }

    fn capabilities(&self) -> Capabilities {
        self.source.capabilities()
    }

    async fn fetch_page(&self, query: &SessionQuery, cursor: Option<&Cursor>) -> Result<SessionPage> {
        let less = |pages: usize| pages.checked_sub(1);
        if self.pages.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
            std::future::pending::<()>().await;
        }
        self.source.fetch_page(query, cursor).await
    }
}

/// One attempt, and nothing that slows it down.
pub(crate) fn policy() -> Policy {
    Policy::default().with_max_attempts(1)
}

impl<S> Subject<S> {
    pub(crate) fn new(
        sandbox: Running<S>,
        source: Arc<dyn ChargingSessionSource>,
        assets: Option<Arc<dyn AssetSource>>,
        kind: RecordKind,
        record: &'static str,
    ) -> Self {
        let store: Arc<dyn SessionStore> = Arc::new(SqliteStore::open_in_memory().unwrap());
        let account = Account { provider: source.provider(), account: "default".parse().unwrap() };
        let clock = Arc::new(AtomicI64::new(NOW.parse::<Timestamp>().unwrap().as_millisecond()));
        Self { sandbox, source, assets, kind, store, account, clock, record }
    }

    /// A sync whose clock goes on by a millisecond whenever it is looked at.
    pub(crate) fn sync(&self) -> AccountSync {
        let clock = self.clock.clone();
        AccountSync::new(self.source.clone(), self.store.clone(), self.account.clone(), &[self.kind])
            .clock(move || Timestamp::from_millisecond(clock.fetch_add(1, Ordering::Relaxed)).unwrap())
    }

    pub(crate) fn by_asset(&self) -> AccountSync {
        self.sync().assets(self.assets.clone().unwrap())
    }

    pub(crate) fn later(&self, by: SignedDuration) {
        self.clock.fetch_add(i64::try_from(by.as_millis()).unwrap(), Ordering::Relaxed);
    }

    /// Every record that is not vanished or is in quarantine, by its identifier.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Value> {
        rows(&*self.store, &self.account).await
    }

    pub(crate) async fn revisions(&self) -> usize {
        let mut count = 0;
        for row in self.store.sessions(&Filter::default(), None, 100_000).await.unwrap() {
            count += self.store.revisions(row.session.key()).await.unwrap().len();
        }
        count
    }

    /// The truth of a sandbox, by identifier.
    pub(crate) fn by_id(&self, truth: &Value) -> BTreeMap<String, Value> {
        by_id(truth, self.record)
    }
}

pub(crate) fn by_id(truth: &Value, record: &str) -> BTreeMap<String, Value> {
    // As the records of the store are read: some numbers have a digit too many for the parser.
    let truth: Value = serde_json::from_str(&truth.to_string()).unwrap();
    let records = truth.as_array().unwrap().iter().map(|entry| entry.pointer(record).unwrap().clone());
    records.map(|record| (id(&record), record)).collect()
}

/// The identifier of a record, whether the provider writes a text or a number.
pub(crate) fn id(record: &Value) -> String {
    record["id"].as_str().map_or_else(|| record["id"].to_string(), str::to_owned)
}

pub(crate) async fn rows(store: &dyn SessionStore, account: &Account) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    let mut filter = Filter::default();
    filter.vanished = Some(false);
    for row in store.sessions(&filter, None, 100_000).await.unwrap() {
        let payload = store.payload(&row.payload.unwrap()).await.unwrap().unwrap();
        let record = serde_json::from_slice(payload.as_bytes()).unwrap();
        assert!(rows.insert(row.session.key().source_id.clone(), record).is_none());
    }
    for kept in store.quarantine(Some(account)).await.unwrap() {
        let record = serde_json::from_slice(kept.record.payload.as_bytes()).unwrap();
        assert!(rows.insert(kept.record.id.unwrap(), record).is_none());
    }
    rows
}

/// Where a sandbox counts its requests.
pub(crate) trait Counted {
    fn truth(&self) -> Value;
    fn asked(&self) -> Vec<RecordedRequest>;
}

macro_rules! counted {
    ($($sandbox:ty),*) => {$(
        impl Counted for $sandbox {
            fn truth(&self) -> Value {
                self.truth()
            }
            fn asked(&self) -> Vec<RecordedRequest> {
                self.requests()
            }
        }
    )*};
}
counted!(EvEnergySandbox, PoderoSandbox, DerConnectSandbox, EvccSandbox);

impl<S: Counted> Subject<S> {
    pub(crate) fn truth(&self) -> BTreeMap<String, Value> {
        self.by_id(&Counted::truth(&*self.sandbox))
    }

    /// How many requests for data there have been.
    pub(crate) fn requests(&self) -> usize {
        self.sandbox.asked().iter().filter(|request| request.method == "GET").count()
    }

    pub(crate) async fn assert_whole(&self) {
        let (rows, truth) = (self.rows().await, self.truth());
        assert!(truth.len() > 20, "{}", truth.len());
        let ids = |rows: &BTreeMap<String, Value>| rows.keys().cloned().collect::<Vec<_>>();
        assert_eq!(ids(&rows), ids(&truth));
        assert!(rows == truth, "a row differs");
    }
}

pub(crate) async fn ev_energy(
    change: impl FnOnce(EvEnergySandboxBuilder) -> EvEnergySandboxBuilder,
) -> Subject<EvEnergySandbox> {
    let builder = EvEnergySandbox::builder().seed(7).now(NOW.parse().unwrap()).days(DAYS);
    let builder = change(builder.rate_limit(1_000_000, Duration::from_secs(3600)));
    let sandbox = builder.build().start().await.unwrap();
    let mut config =
        charging_sessions_ev_energy::Config::new(sandbox.client_id(), sandbox.client_secret().into());
    config.base_url = sandbox.base_url().parse().unwrap();
    config.policy = policy();
    let source = Arc::new(EvEnergy::new(config).unwrap());
    Subject::new(sandbox, source, None, RecordKind::Segment, "")
}

pub(crate) async fn podero(
    change: impl FnOnce(PoderoSandboxBuilder) -> PoderoSandboxBuilder,
) -> Subject<PoderoSandbox> {
    let builder = PoderoSandbox::builder().seed(7).now(NOW.parse().unwrap()).days(DAYS);
    let sandbox = change(builder).build().start().await.unwrap();
    let (id, secret) = (sandbox.client_id(), sandbox.client_secret().into());
    let mut config = charging_sessions_podero::Config::new(id, secret, sandbox.org_id());
    config.base_url = sandbox.base_url().parse().unwrap();
    config.policy = policy();
    let source = Arc::new(Podero::new(config).unwrap());
    Subject::new(sandbox, source.clone(), Some(source), RecordKind::PlugIn, "/session")
}

pub(crate) async fn der_connect(
    change: impl FnOnce(DerConnectSandboxBuilder) -> DerConnectSandboxBuilder,
) -> Subject<DerConnectSandbox> {
    let builder = DerConnectSandbox::builder().seed(7).now(NOW.parse().unwrap()).days(DAYS);
    let sandbox = change(builder).build().start().await.unwrap();
    let (id, secret) = (sandbox.client_id(), sandbox.client_secret().into());
    let mut config = charging_sessions_der_connect::Config::new(id, secret);
    config.base_url = sandbox.base_url().parse().unwrap();
    config.token_url = sandbox.token_url().parse().unwrap();
    config.policy = policy();
    let source = Arc::new(DerConnect::new(config).unwrap());
    Subject::new(sandbox, source.clone(), Some(source), RecordKind::Charge, "/session")
}

pub(crate) async fn evcc(
    change: impl FnOnce(EvccSandboxBuilder) -> EvccSandboxBuilder,
) -> Subject<EvccSandbox> {
    let builder = EvccSandbox::builder().seed(7).now(NOW.parse().unwrap()).days(DAYS);
    let sandbox = change(builder).build().start().await.unwrap();
    let mut config = charging_sessions_evcc::Config::new(sandbox.base_url().parse().unwrap());
    config.policy = policy();
    let source = Arc::new(Evcc::new(config).unwrap());
    Subject::new(sandbox, source, None, RecordKind::PlugIn, "")
}
