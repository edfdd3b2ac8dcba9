//! A provider behind a gateway that misbehaves, and one sync after the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use charging_sessions_core::{ChargingSessionSource, Error, ProviderId, RecordKind};
use charging_sessions_der_connect::DerConnect;
use charging_sessions_ev_energy::EvEnergy;
use charging_sessions_evcc::Evcc;
use charging_sessions_http::{Limits, Policy};
use charging_sessions_ocpi::Ocpi;
use charging_sessions_podero::Podero;
use charging_sessions_store::{Account, SessionStore, Slice, SqliteStore};
use charging_sessions_sync::{AccountSync, Event, Report};
use charging_sessions_testkit::{
    hostile::{Gateway, Trick},
    sandbox::{
        Fault,
        der_connect::DerConnectSandbox,
        ev_energy::EvEnergySandbox,
        evcc::EvccSandbox,
        ocpi::{Module, OcpiSandbox},
        podero::PoderoSandbox,
    },
};
use jiff::SignedDuration;
use serde_json::Value;

use super::{
    cases::{Act, Case, Lasts},
    common::{DAYS, NOW, SINCE, by_id, rows},
};

pub(crate) const PROVIDERS: [&str; 5] = ["der-connect", "ev-energy", "evcc", "ocpi", "podero"];
const ATTEMPTS: u32 = 3;
/// Long enough after `IDLE` that a busy machine has sent what comes before a silence.
const ATTEMPT: Duration = Duration::from_secs(3);
const IDLE: Duration = Duration::from_millis(700);
/// The longest wait that a provider may ask for.
pub(crate) const WAIT: Duration = Duration::from_secs(3);
/// What the rest of a sync may take on a busy machine.
const SLACK: Duration = Duration::from_secs(20);

/// A source that reads from this origin.
type Builds = dyn Fn(&str, Policy) -> Arc<dyn ChargingSessionSource> + Send + Sync;

/// Where each provider has what a case needs.
pub(crate) struct Subject {
    pub(crate) provider: &'static str,
    /// The path of a page of sessions has this in it.
    pub(crate) listing: &'static str,
    /// The path of the token endpoint, where there is one.
    pub(crate) token: Option<&'static str>,
    /// The paths of what is asked before the listing can be found.
    pub(crate) lookups: &'static [&'static str],
    /// Where a page says how many records there are, if it does.
    pub(crate) total: Option<Total>,
    /// Whether a page is asked for by how many records come before it.
    pub(crate) by_offset: bool,
    /// A field of a record that is a number.
    pub(crate) number: &'static str,
    /// How many pages come before the one that goes wrong.
    pub(crate) before: usize,
    address: SocketAddr,
    kind: RecordKind,
    build: Box<Builds>,
    inject: Box<dyn Fn(Option<Fault>) + Send + Sync>,
    truth: BTreeMap<String, Value>,
    /// How many records have an issue when nothing goes wrong.
    issues: usize,
}

/// Where a page says how many records there are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Total {
    Field(&'static str),
    Header(&'static str),
}

/// What became of a sync.
pub(crate) struct Outcome {
    pub(crate) provider: &'static str,
    pub(crate) text: String,
}

/// A run, and whether it went on from where another one had stopped.
struct Ran {
    result: Result<Report, Error>,
    resumed: bool,
    took: Duration,
}

fn policy() -> Policy {
    Policy::default()
        .with_max_attempts(ATTEMPTS)
        .with_backoff(Duration::from_millis(2))
        .with_max_backoff(Duration::from_millis(4))
        .with_attempt_timeout(ATTEMPT)
        .with_max_retry_after(WAIT)
        .with_limits(Limits::default().with_idle(IDLE).with_max_body(1 << 20))
}

macro_rules! inject {
    ($sandbox:ident) => {{
        Box::new(move |fault| match fault {
            Some(fault) => $sandbox.inject(fault),
            None => $sandbox.clear_faults(),
        })
    }};
}

impl Subject {
    pub(crate) async fn start(provider: &'static str) -> Self {
        let mut subject = Self::before_any_sync(provider).await;
        let gateway = Gateway::before(subject.address).await.unwrap();
        let (store, account) = subject.empty_store();
        let report = subject.run(&gateway, &store, &account, false).await.result.unwrap();
        assert!(report.complete && rows(&*store, &account).await == subject.truth, "{report}");
        assert!(subject.before == 0 || report.pages > subject.before as u64 + 1, "{report}");
        subject.issues = with_issues(&*store).await;
        subject
    }

    async fn before_any_sync(provider: &'static str) -> Self {
        let now = NOW.parse().unwrap();
        match provider {
            "ev-energy" => {
                let sandbox =
                    EvEnergySandbox::builder().seed(7).now(now).days(DAYS).sessions(350).dirt(false);
                let sandbox = sandbox.rate_limit(1_000_000, Duration::from_secs(3600));
                let sandbox = sandbox.build().start().await.unwrap();
                let (base, origin) = (sandbox.base_url(), sandbox.origin());
                let (id, secret) = (sandbox.client_id().to_owned(), sandbox.client_secret().to_owned());
                let build = move |gateway: &str, policy: Policy| -> Arc<dyn ChargingSessionSource> {
                    let secret = secret.as_str().into();
                    let mut config = charging_sessions_ev_energy::Config::new(id.clone(), secret);
                    config.base_url = base.replace(&origin, gateway).parse().unwrap();
                    config.policy = policy;
                    Arc::new(EvEnergy::new(config).unwrap())
                };
                Self {
                    provider,
                    listing: "/charging_sub_sessions",
                    token: Some("/o/token"),
                    lookups: &[],
                    total: None,
                    by_offset: false,
                    number: "energy_delivered_watt_hours",
                    before: 2,
                    address: sandbox.address(),
                    kind: RecordKind::Segment,
                    build: Box::new(build),
                    truth: by_id(&sandbox.truth(), ""),
                    inject: inject!(sandbox),
                    issues: 0,
                }
            }
            "podero" => {
                let sandbox = PoderoSandbox::builder().seed(7).now(now).days(DAYS).dirt(false);
                let sandbox = sandbox.page_cap(Some(10)).build().start().await.unwrap();
                let (base, origin) = (sandbox.base_url(), sandbox.origin());
                let (id, secret) = (sandbox.client_id().to_owned(), sandbox.client_secret().to_owned());
                let organisation = sandbox.org_id().to_owned();
                let build = move |gateway: &str, policy: Policy| -> Arc<dyn ChargingSessionSource> {
                    let secret = secret.as_str().into();
                    let organisation = organisation.as_str();
                    let mut config = charging_sessions_podero::Config::new(id.as_str(), secret, organisation);
                    config.base_url = base.replace(&origin, gateway).parse().unwrap();
                    config.policy = policy;
                    Arc::new(Podero::new(config).unwrap())
                };
                Self {
                    provider,
                    listing: "/sessions",
                    token: Some("/oauth2/token"),
                    lookups: &[],
                    total: Some(Total::Field("total")),
                    by_offset: true,
                    number: "energy_charged_kwh",
                    before: 2,
                    address: sandbox.address(),
                    kind: RecordKind::PlugIn,
                    build: Box::new(build),
                    truth: by_id(&sandbox.truth(), "/session"),
                    inject: inject!(sandbox),
                    issues: 0,
                }
            }
            "der-connect" => {
                let sandbox = DerConnectSandbox::builder().seed(7).now(now).days(DAYS).dirt(false);
                let sandbox = sandbox.page_cap(Some(10)).build().start().await.unwrap();
                let (base, origin) = (sandbox.base_url(), sandbox.origin());
                let token_url = sandbox.token_url();
                let (id, secret) = (sandbox.client_id().to_owned(), sandbox.client_secret().to_owned());
                let build = move |gateway: &str, policy: Policy| -> Arc<dyn ChargingSessionSource> {
                    let secret = secret.as_str().into();
                    let mut config = charging_sessions_der_connect::Config::new(id.as_str(), secret);
                    config.base_url = base.replace(&origin, gateway).parse().unwrap();
                    config.token_url = token_url.replace(&origin, gateway).parse().unwrap();
                    config.policy = policy;
                    Arc::new(DerConnect::new(config).unwrap())
                };
                Self {
                    provider,
                    listing: "/charge-sessions",
                    token: Some("/access_token"),
                    lookups: &[],
                    total: None,
                    by_offset: false,
                    number: "total",
                    before: 2,
                    address: sandbox.address(),
                    kind: RecordKind::Charge,
                    build: Box::new(build),
                    truth: by_id(&sandbox.truth(), "/session"),
                    inject: inject!(sandbox),
                    issues: 0,
                }
            }
            "ocpi" => {
                let sandbox = OcpiSandbox::builder().seed(7).now(now).days(DAYS).dirt(false).page_cap(10);
                let sandbox = sandbox.versions(&["2.2.1"]).build().start().await.unwrap();
                let (versions, origin) = (sandbox.versions_url(), sandbox.origin());
                let token = sandbox.token().to_owned();
                let build = move |gateway: &str, policy: Policy| -> Arc<dyn ChargingSessionSource> {
                    let versions = versions.replace(&origin, gateway).parse().unwrap();
                    let mut config = charging_sessions_ocpi::Config::new(versions, token.as_str().into());
                    config.policy = policy;
                    config.now = || NOW.parse().unwrap();
                    Arc::new(Ocpi::new(config).unwrap())
                };
                // Its identifiers are those of a party.
                let truth = by_id(&sandbox.truth(Module::Sessions), "");
                let key = |id: &str| format!("be*bec*{}", id.to_lowercase());
                Self {
                    provider,
                    listing: "/2.2.1/sessions",
                    token: None,
                    lookups: &["/ocpi/versions", "/ocpi/2.2.1"],
                    total: Some(Total::Header("x-total-count")),
                    by_offset: true,
                    number: "kwh",
                    before: 2,
                    address: sandbox.address(),
                    kind: RecordKind::PlugIn,
                    build: Box::new(build),
                    truth: truth.into_iter().map(|(id, record)| (key(&id), record)).collect(),
                    inject: inject!(sandbox),
                    issues: 0,
                }
            }
            _ => {
                let sandbox = EvccSandbox::builder().seed(7).now(now).days(DAYS).dirt(false);
                let sandbox = sandbox.build().start().await.unwrap();
                let (base, origin) = (sandbox.base_url(), sandbox.origin());
                let build = move |gateway: &str, policy: Policy| -> Arc<dyn ChargingSessionSource> {
                    let base = base.replace(&origin, gateway).parse().unwrap();
                    let mut config = charging_sessions_evcc::Config::new(base);
                    config.policy = policy;
                    Arc::new(Evcc::new(config).unwrap())
                };
                Self {
                    provider,
                    listing: "/api/sessions",
                    token: None,
                    lookups: &[],
                    total: None,
                    by_offset: false,
                    number: "chargedEnergy",
                    // Everything is one answer there.
                    before: 0,
                    address: sandbox.address(),
                    kind: RecordKind::PlugIn,
                    build: Box::new(build),
                    truth: by_id(&sandbox.truth(), ""),
                    inject: inject!(sandbox),
                    issues: 0,
                }
            }
        }
    }

    pub(crate) async fn gateway(&self) -> Gateway {
        Gateway::before(self.address).await.unwrap()
    }

    /// A trick on the answers of the listing, after a few that are right.
    pub(crate) fn on_listing(&self, trick: Trick) -> Trick {
        trick.on_path(self.listing).after(self.before)
    }

    /// One sync while this happens, and one after it. `None` if it cannot happen to this provider.
    pub(crate) async fn suffers(&self, case: &Case, lasts: Lasts) -> Option<Outcome> {
        let name = format!("{}: {}, {lasts:?}", self.provider, case.name);
        let times = if lasts == Lasts::Once { case.once } else { usize::MAX };
        let gateway = self.gateway().await;
        match (case.act)(self)? {
            Act::Gateway(tricks) => {
                tricks.into_iter().for_each(|trick| gateway.play(trick.times(times)));
            }
            Act::Sandbox(fault) => {
                (self.inject)(Some(fault.on_path(self.listing).after(self.before).times(times)));
            }
        }
        let (store, account) = self.empty_store();
        let ran = self.run(&gateway, &store, &account, false).await;
        assert!(
            gateway.played() > 0 || matches!((case.act)(self), Some(Act::Sandbox(_))),
            "{name}: no trick"
        );
        let most = case.most(ATTEMPT * ATTEMPTS, WAIT * (ATTEMPTS - 1)) + SLACK;
        assert!(ran.took < most, "{name}: took {:?} of at most {most:?}", ran.took);
        let (text, first_new, failed_after) = self.judge(&name, case, &ran, &*store, &account).await;

        // The server behaves again, and the program is started anew.
        gateway.calm();
        (self.inject)(None);
        let again = self.run(&gateway, &store, &account, case.alters).await;
        let report = again.result.unwrap_or_else(|error| panic!("{name}: then {error}"));
        assert!(report.complete, "{name}: then {report}");
        if failed_after > 0 {
            assert!(again.resumed, "{name}: it began anew");
        }
        if case.deep {
            // The record is the same without the field, and so are the bytes that are kept of it.
            let kept = store.sessions(&Default::default(), None, 100_000).await.unwrap();
            let ids = kept.iter().map(|row| &row.session.key().source_id);
            assert_eq!(ids.collect::<BTreeSet<_>>(), self.truth.keys().collect(), "{name}");
        } else {
            let kept = rows(&*store, &account).await;
            assert!(kept == self.truth, "{name}: {} rows, {} in truth", kept.len(), self.truth.len());
        }
        assert_eq!(report.counts.vanished, 0, "{name}: {report}");
        if !case.alters {
            let new = first_new + report.counts.new;
            assert_eq!(new, self.truth.len() as u64, "{name}: a record was written twice as new");
            assert_eq!(report.counts.changed, 0, "{name}: {report}");
        }
        Some(Outcome { provider: self.provider, text })
    }

    fn empty_store(&self) -> (Arc<dyn SessionStore>, Account) {
        let provider = (self.build)("http://127.0.0.1:1", policy()).provider();
        let account = Account { provider, account: "default".parse().unwrap() };
        (Arc::new(SqliteStore::open_in_memory().unwrap()), account)
    }

    async fn run(
        &self,
        gateway: &Gateway,
        store: &Arc<dyn SessionStore>,
        account: &Account,
        full: bool,
    ) -> Ran {
        let source = (self.build)(&gateway.origin(), policy());
        let resumed = Arc::new(AtomicBool::new(false));
        let saw = resumed.clone();
        let sync = AccountSync::new(source, store.clone(), account.clone(), &[self.kind])
            .clock(|| NOW.parse().unwrap())
            .full(full)
            .observer(move |event| {
                if let Event::SliceBegun { resumed: true, .. } = event {
                    saw.store(true, Ordering::Relaxed);
                }
            });
        let began = Instant::now();
        let result = sync.run().await;
        Ran { result, resumed: resumed.load(Ordering::Relaxed), took: began.elapsed() }
    }

    /// Holds a run against the promise. Its outcome in words, how many records were new, and how many pages were written
    /// by a run that failed.
    async fn judge(
        &self,
        name: &str,
        case: &Case,
        ran: &Ran,
        store: &dyn SessionStore,
        account: &Account,
    ) -> (String, u64, u64) {
        let stored: Vec<_> = store.sessions(&Default::default(), None, 100_000).await.unwrap();
        let quarantined = store.quarantine(Some(account)).await.unwrap().len();
        for row in &stored {
            assert!(
                self.truth.contains_key(&row.session.key().source_id),
                "{name}: {} is invented",
                row.session.key()
            );
        }
        let error = match &ran.result {
            Ok(report) if report.complete => {
                assert_eq!(
                    stored.len() + quarantined,
                    self.truth.len(),
                    "{name}: a silent shortage, {report}"
                );
                let changed = with_issues(store).await;
                let text = match (case.alters, quarantined) {
                    (_, 1..) => format!("complete, {quarantined} in quarantine"),
                    (true, _) if changed > self.issues => "complete, with an issue".to_owned(),
                    (true, _) => "complete".to_owned(),
                    (false, _) => {
                        assert!(rows(store, account).await == self.truth, "{name}: a row differs");
                        "complete".to_owned()
                    }
                };
                return (text, report.counts.new, 0);
            }
            Ok(report) => {
                let [failure] = report.failures.as_slice() else { panic!("{name}: {:?}", report.failures) };
                let slice = failure.slice.as_ref().expect("a listing, not the list of assets");
                assert_eq!(report.counts.new, stored.len() as u64, "{name}: what was read is there");
                self.can_go_on(name, report.pages, slice, store, account).await;
                &failure.error
            }
            // The store is still as it was before, or holds what was read before.
            Err(error) => error,
        };
        let said = error.to_string();
        assert!(!said.contains('\n') && said.len() < 400, "{name}: {said}");
        assert!(!said.contains("127.0.0.1") || said.contains("redirect"), "{name}: {said}");
        let pages = ran.result.as_ref().map_or(0, |report| report.pages);
        (told(error, account.provider), stored.len() as u64, pages)
    }

    async fn can_go_on(
        &self,
        name: &str,
        pages: u64,
        slice: &Slice,
        store: &dyn SessionStore,
        account: &Account,
    ) {
        let place = store.place(account, slice).await.unwrap();
        assert_eq!(place.is_some(), pages > 0, "{name}: {pages} pages, and the place to go on is {place:?}");
    }
}

async fn with_issues(store: &dyn SessionStore) -> usize {
    let stored = store.sessions(&Default::default(), None, 100_000).await.unwrap();
    stored.iter().filter(|row| !row.session.issues.is_empty()).count()
}

/// The error as it stands in the documentation: without what is of this run only.
fn told(error: &Error, provider: ProviderId) -> String {
    let said = error.to_string();
    let said = said.strip_prefix(&format!("{provider}: ")).unwrap_or(&said);
    // What follows are words of libraries and of the system.
    let said = said.split(": error sending request").next().unwrap_or(said);
    let mut words: Vec<String> = Vec::new();
    for word in said.split(' ') {
        let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        let follows = words.last().is_some_and(|last| ["line", "column", "byte"].contains(&last.as_str()));
        let bare = word.trim_end_matches([',', ')']);
        words.push(match (follows && number(bare), word.contains("127.0.0.1")) {
            (true, _) => word.replace(bare, "…"),
            (_, true) => "the configured origin".to_owned(),
            _ => word.to_owned(),
        });
    }
    format!("`{}`: {}", error.kind(), words.join(" ").replace('|', "\\|").replace('<', "&lt;"))
}

/// Reads a provider with its own limits, several windows at a time, into a store in a file. What went wrong.
pub(crate) async fn reads_by_default(provider: &str, origin: &str) -> String {
    let subject =
        Subject::before_any_sync(PROVIDERS.into_iter().find(|known| *known == provider).unwrap()).await;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(folder.path().join("sessions.sqlite")).unwrap());
    let source = (subject.build)(origin, Policy::default().with_max_attempts(1));
    let account = Account { provider: source.provider(), account: "default".parse().unwrap() };
    let sync = AccountSync::new(source, store, account, &[subject.kind])
        .clock(|| NOW.parse().unwrap())
        .since(SINCE.parse().unwrap())
        .window(SignedDuration::from_hours(7 * 24));
    match sync.run().await {
        Ok(report) => {
            report.failures.first().map_or_else(|| report.to_string(), |failure| failure.error.to_string())
        }
        Err(error) => error.to_string(),
    }
}
