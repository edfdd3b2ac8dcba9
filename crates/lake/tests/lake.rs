//! Files in a folder, written again and again while the store changes.

use std::{collections::BTreeSet, fs, path::Path};

use charging_sessions_core::{
    AccountId, ChargingSession, Endpoint, ErrorKind, Provenance, ProviderId, RecordKind, SessionKey,
    SessionStatus,
};
use charging_sessions_lake::{Lake, Manifest, Written};
use charging_sessions_store::{Account, Batch, Hash, SessionStore, Slice, SqliteStore};
use jiff::{Timestamp, tz::TimeZone};
use tempfile::TempDir;

const NOW: &str = "2026-11-20T12:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn session(provider: &'static str, id: &str, start: Option<&str>) -> ChargingSession {
    let provider = ProviderId::new(provider);
    let key = SessionKey::new(provider, AccountId::default(), RecordKind::Segment, id);
    let provenance = Provenance::new(Endpoint::new("GET /test", None), at(NOW), 1);
    let mut session = ChargingSession::new(key, SessionStatus::Completed, provenance);
    session.timing.period.start = start.map(at);
    session
}

struct Place {
    folder: TempDir,
    store: SqliteStore,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), store: SqliteStore::open_in_memory().unwrap() }
    }

    /// Everything that a provider lists now.
    async fn holds(&self, provider: &'static str, sessions: Vec<ChargingSession>) {
        let account = Account { provider: ProviderId::new(provider), account: AccountId::default() };
        let lease = self.store.begin(&account, at(NOW)).await.unwrap();
        let slice = Slice { window: None, asset: None, kinds: vec![RecordKind::Segment] };
        let mut batch = Batch::new(slice, None, at(NOW));
        batch.sessions = sessions;
        self.store.commit(&*lease, batch).await.unwrap();
    }

    fn lake(&self) -> Lake {
        Lake::open(self.folder.path().join("lake").to_str().unwrap()).unwrap()
    }

    async fn written(&self) -> Written {
        self.lake().write(&self.store, &zone()).await.unwrap()
    }

    async fn manifest(&self) -> Manifest {
        self.lake().manifest().await.unwrap().unwrap()
    }

    /// The paths of all Parquet files that are there.
    fn files(&self) -> BTreeSet<String> {
        fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, found);
                } else if path.extension().is_some_and(|suffix| suffix == "parquet") {
                    found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        let root = self.folder.path().join("lake");
        let mut found = BTreeSet::new();
        walk(&root, &root, &mut found);
        found
    }

    /// The manifest is true: its files are there, no others, and each is what it says.
    async fn assert_true(&self) {
        let manifest = self.manifest().await;
        let named: BTreeSet<_> = manifest.files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(named, self.files());
        for file in &manifest.files {
            let bytes = fs::read(self.folder.path().join("lake").join(&file.path)).unwrap();
            assert_eq!(Hash::of(&bytes).to_string(), file.sha256);
            assert_eq!(bytes.len() as u64, file.bytes);
        }
        assert_eq!(manifest.files.iter().map(|file| file.rows).sum::<u64>(), manifest.rows);
        let copy = fs::read(self.folder.path().join("lake/manifest.json")).unwrap();
        assert_eq!(serde_json::from_slice::<Manifest>(&copy).unwrap(), manifest);
    }
}

fn months(manifest: &Manifest) -> Vec<(&str, &str, u64)> {
    manifest.files.iter().map(|file| (&*file.provider, &*file.month, file.rows)).collect()
}

#[tokio::test]
async fn each_file_is_of_a_provider_and_of_a_month_on_the_clock_of_the_zone() {
    let place = Place::new();
    place
        .holds(
            "one",
            vec![
                session("one", "a", Some("2026-09-30T21:59:59Z")),
                session("one", "b", Some("2026-09-30T22:00:00Z")),
                session("one", "c", Some("2026-10-31T22:59:59.999Z")),
                session("one", "d", None),
            ],
        )
        .await;
    place.holds("two", vec![session("two", "a", Some("2026-10-01T00:00:00Z"))]).await;
    let written = place.written().await;
    assert_eq!((written.rows, written.new_files, written.kept_files, written.manifest), (5, 4, 0, 1));
    let manifest = place.manifest().await;
    assert_eq!(
        months(&manifest),
        [("one", "2026-09", 1), ("one", "2026-10", 2), ("one", "none", 1), ("two", "2026-10", 1)]
    );
    assert_eq!(manifest.time_zone, "Europe/Berlin");
    place.assert_true().await;
}

#[tokio::test]
async fn only_what_has_changed_is_written_and_what_it_replaces_goes() {
    let place = Place::new();
    let (old, new) = (Some("2026-09-10T10:00:00Z"), Some("2026-10-10T10:00:00Z"));
    place.holds("one", vec![session("one", "a", old), session("one", "b", new)]).await;
    place.written().await;
    let before = place.files();

    let again = place.written().await;
    assert_eq!((again.new_files, again.kept_files, again.removed_files, again.manifest), (0, 2, 0, 1));
    assert_eq!(place.files(), before);

    // One is corrected, one vanishes, one is new.
    let mut corrected = session("one", "b", new);
    corrected.parties.user_id = Some("someone".into());
    place.holds("one", vec![corrected, session("one", "c", new)]).await;
    let changed = place.written().await;
    assert_eq!((changed.rows, changed.new_files, changed.removed_files, changed.manifest), (2, 1, 2, 2));
    assert_eq!(months(&place.manifest().await), [("one", "2026-10", 2)]);
    assert!(place.files().is_disjoint(&before));
    place.assert_true().await;
}

#[tokio::test]
async fn a_writer_that_was_stopped_leaves_the_truth_as_it_was() {
    let place = Place::new();
    place.holds("one", vec![session("one", "a", Some("2026-09-10T10:00:00Z"))]).await;
    place.written().await;
    let root = place.folder.path().join("lake");
    let orphan = "provider=one/month=2026-10/00000-0123456789abcdef.parquet";
    fs::create_dir_all(root.join(orphan).parent().unwrap()).unwrap();
    fs::write(root.join(orphan), "half").unwrap();
    // After the numbered manifest, before its copy.
    fs::remove_file(root.join("manifest.json")).unwrap();
    assert_eq!(place.manifest().await.number, 1);
    place
        .holds(
            "one",
            vec![
                session("one", "a", Some("2026-09-10T10:00:00Z")),
                session("one", "b", Some("2026-11-10T10:00:00Z")),
            ],
        )
        .await;
    place.written().await;
    assert!(place.files().contains(orphan), "another writer may be about to name it");
    let day_before = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
    fs::File::options().write(true).open(root.join(orphan)).unwrap().set_modified(day_before).unwrap();
    place.holds("one", vec![session("one", "a", Some("2026-09-10T10:00:00Z"))]).await;
    assert_eq!(place.written().await.removed_files, 2);
    place.assert_true().await;
}

#[tokio::test]
async fn manifests_are_kept_for_a_while() {
    let place = Place::new();
    for turn in 0..12 {
        place.holds("one", vec![session("one", &format!("a{turn}"), Some("2026-09-10T10:00:00Z"))]).await;
        assert_eq!(place.written().await.manifest, turn + 1);
    }
    let mut names: Vec<_> = fs::read_dir(place.folder.path().join("lake/manifests"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!((names.len(), &*names[0]), (10, "00000003.json"));
    place.assert_true().await;
}

#[tokio::test]
async fn of_two_writers_at_once_one_is_told_to_come_again() {
    let place = Place::new();
    place.holds("one", vec![session("one", "a", Some("2026-09-10T10:00:00Z"))]).await;
    // A folder is in no listing, and in the way: as a manifest that came after the listing.
    let taken = place.folder.path().join("lake/manifests/00000001.json");
    fs::create_dir_all(&taken).unwrap();
    let refused = place.lake().write(&place.store, &zone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().ends_with("meanwhile; run it again"), "{refused}");
    assert!(!place.folder.path().join("lake/manifest.json").exists());
    fs::remove_dir(&taken).unwrap();
    place.written().await;
    place.assert_true().await;
}

#[tokio::test]
async fn what_cannot_be_is_said_in_a_sentence() {
    let place = Place::new();
    place.holds("one", vec![session("one", "a", Some("2026-09-10T10:00:00Z"))]).await;
    place.written().await;
    let other = place.lake().write(&place.store, &TimeZone::UTC).await.unwrap_err();
    assert!(other.to_string().contains("has months of Europe/Berlin, and UTC was asked for"), "{other}");
    let fixed = TimeZone::fixed(jiff::tz::offset(3));
    assert_eq!(place.lake().write(&place.store, &fixed).await.unwrap_err().kind(), ErrorKind::Config);

    fs::write(place.folder.path().join("lake/manifests/00000002.json"), r#"{"layout": 2}"#).unwrap();
    let later = place.written_error().await;
    assert!(later.contains("later release"), "{later}");
    fs::write(place.folder.path().join("file"), "").unwrap();
    let file = Lake::open(place.folder.path().join("file").to_str().unwrap()).unwrap_err();
    assert!(file.to_string().contains("cannot be made"), "{file}");
    for url in ["ftp://a/b", "s3://user:key@bucket/x", "s3://bucket/x?key=s3cret"] {
        let error = Lake::open(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{url}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

impl Place {
    async fn written_error(&self) -> String {
        self.lake().write(&self.store, &zone()).await.unwrap_err().to_string()
    }
}
