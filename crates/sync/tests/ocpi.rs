//! A source that can be asked for changes: all of it once, and from then on only what has changed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use charging_sessions_core::{AccountId, ChargingSessionSource, RecordKind, RelationKind};
use charging_sessions_ocpi::{Config, Module, Ocpi, PROVIDER};
use charging_sessions_store::{Account, Filter, SessionStore, SqliteStore};
use charging_sessions_sync::{AccountSync, Report, relations::relations};
use charging_sessions_testkit::sandbox::{
    Running,
    ocpi::{self as sandbox, Mutation, OcpiSandbox},
};
use jiff::Timestamp;
use serde_json::json;

/// The time that the source and the runs take for now.
static NOW: AtomicI64 = AtomicI64::new(1_795_176_000);

fn now() -> Timestamp {
    Timestamp::from_second(NOW.load(Ordering::Relaxed)).unwrap()
}

struct Subject {
    sandbox: Running<OcpiSandbox>,
    party: Ocpi,
    store: Arc<dyn SessionStore>,
}

impl Subject {
    async fn new() -> Self {
        let sandbox = OcpiSandbox::builder().seed(7).now(now()).days(40).dirt(false).page_cap(25);
        let sandbox = sandbox.build().start().await.unwrap();
        let mut config = Config::new(sandbox.versions_url().parse().unwrap(), sandbox.token().into());
        config.now = now;
        let store = Arc::new(SqliteStore::open_in_memory().unwrap());
        Self { sandbox, party: Ocpi::new(config).unwrap(), store }
    }

    fn sync(&self, module: Module) -> AccountSync {
        let source: Arc<dyn ChargingSessionSource> = match module {
            Module::Sessions => Arc::new(self.party.clone()),
            Module::Cdrs => Arc::new(self.party.cdrs()),
        };
        let account = Account { provider: PROVIDER, account: AccountId::default() };
        AccountSync::new(source, self.store.clone(), account, &[module.kind()]).clock(now)
    }

    /// Runs, and says how many requests it took.
    async fn run(&self, sync: AccountSync) -> (Report, usize) {
        let before = self.sandbox.requests().len();
        let report = sync.run().await.unwrap();
        assert!(report.complete, "{report}");
        (report, self.sandbox.requests().len() - before)
    }

    async fn stored(&self, kind: RecordKind) -> BTreeSet<String> {
        let mut filter = Filter::default();
        (filter.kind, filter.vanished) = (Some(kind), Some(false));
        let rows = self.store.sessions(&filter, None, 10_000).await.unwrap();
        rows.iter().map(|row| row.session.key().source_id.clone()).collect()
    }

    fn truth(&self, module: sandbox::Module) -> BTreeSet<String> {
        let truth = self.sandbox.truth(module);
        let id =
            |record: &serde_json::Value| format!("be*bec*{}", record["id"].as_str().unwrap().to_lowercase());
        truth.as_array().unwrap().iter().map(id).collect()
    }
}

#[tokio::test]
async fn an_account_is_read_whole_once_and_then_by_its_changes() {
    let subject = Subject::new().await;
    for module in Module::ALL {
        let (report, _) = subject.run(subject.sync(module)).await;
        assert_eq!(report.counts.changed + report.counts.vanished, 0, "{report}");
    }
    let count = subject.truth(sandbox::Module::Sessions).len();
    assert!(count > 50);
    for (kind, module) in
        [(RecordKind::PlugIn, sandbox::Module::Sessions), (RecordKind::BillingRecord, sandbox::Module::Cdrs)]
    {
        assert_eq!(subject.stored(kind).await, subject.truth(module));
    }
    // Two days later: one session was corrected, however old it is, one is new, and one is gone.
    NOW.fetch_add(2 * 86_400, Ordering::Relaxed);
    let updated = (now() - jiff::SignedDuration::from_hours(3)).to_string();
    let sessions = subject.sandbox.truth(sandbox::Module::Sessions);
    let id = |place: usize| sessions[place]["id"].as_str().unwrap().to_owned();
    let mut late = sessions[3].clone();
    (late["id"], late["last_updated"]) = ("S-late".into(), updated.clone().into());
    let fields = json!({"kwh": 1.5, "last_updated": updated});
    assert!(subject.sandbox.mutate(Mutation::Correct(sandbox::Module::Sessions, id(5), fields)));
    assert!(subject.sandbox.mutate(Mutation::Insert(sandbox::Module::Sessions, late)));
    assert!(subject.sandbox.mutate(Mutation::Remove(sandbox::Module::Sessions, id(9))));
    let (report, requests) = subject.run(subject.sync(Module::Sessions)).await;
    assert_eq!((report.counts.new, report.counts.changed, report.counts.vanished), (1, 1, 0), "{report}");
    assert_eq!(requests, 2, "what is settled, and what was changed in the last minutes");
    // Only who reads everything sees that something is not there any more.
    let (report, _) = subject.run(subject.sync(Module::Sessions).full(true)).await;
    assert_eq!((report.counts.new, report.counts.changed, report.counts.vanished), (0, 0, 1), "{report}");
    assert_eq!(subject.stored(RecordKind::PlugIn).await, subject.truth(sandbox::Module::Sessions));
}

#[tokio::test]
async fn a_record_that_takes_another_back_is_no_duplicate_of_it() {
    let subject = Subject::new().await;
    subject.run(subject.sync(Module::Cdrs)).await;
    let rows = subject.store.sessions(&Filter::default(), None, 10_000).await.unwrap();
    let records: Vec<_> = rows.into_iter().map(|row| row.session).collect();
    let is_credit = |kind: RelationKind| kind == RelationKind::Credits;
    let credit =
        records.iter().find(|it| it.identity.related.iter().any(|relation| is_credit(relation.kind)));
    let credit = credit.expect("one record takes another back");
    let original = &credit.identity.related[0].key;
    let between = |finding: &charging_sessions_sync::relations::Finding| {
        let both = [&finding.key, &finding.issue.related[0]];
        both.contains(&credit.key()) && both.contains(&original)
    };
    assert!(!relations(&records).iter().any(between));
}
