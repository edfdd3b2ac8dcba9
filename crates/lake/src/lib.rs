//! Sessions as partitioned Parquet files, in a folder or an object store, for programs that read millions at once.
//!
//! ```no_run
//! # async fn example(store: &dyn charging_sessions_store::SessionStore) -> charging_sessions_core::Result<()> {
//! use charging_sessions_lake::Lake;
//! use jiff::tz::TimeZone;
//!
//! let written = Lake::open("s3://bucket/sessions")?.write(store, &TimeZone::UTC).await?;
//! println!("{} files are new, {} as they were", written.new_files, written.kept_files);
//! # Ok(())
//! # }
//! ```
//!
//! # What is there
//!
//! ```text
//! manifest.json                                             what is true now
//! manifests/00000007.json                                   the same, by its number
//! provider=podero/month=2026-10/00000-1f0c63a9b8d2e745.parquet
//! ```
//!
//! Each file holds rows of one provider and one month, with the columns of an
//! [export](charging_sessions_report::export::COLUMNS). The month is that of the start, in the zone that is given to
//! [`write`](Lake::write); what has no start is in the month `none`. Sessions that have vanished are left out.
//!
//! A file is written once and never changed: its name ends in the beginning of its SHA-256. What has changed is another
//! file, and the manifest then names that one. [`Manifest::files`] is the truth; whoever takes all files of the folder
//! instead reads the same, but for moments in which files of two manifests are there.
//!
//! The whole store is read each time, because whether a record counts depends on records of other months and accounts.
//! Only what is new is written.

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Write},
    path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, ProviderId, Result, TimeWindow};
use charging_sessions_report::{
    Choice, Choosing, Period, Record, Width,
    export::{self, ParquetTable, TableWriter},
};
use charging_sessions_store::{Filter, Hash, Rows, SessionStore, StoredSession};
use futures_util::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, local::LocalFileSystem, parse_url_opts, path::Path,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// How many rows a file has at most. It is put together in memory, and 250,000 rows are some 40 MB there.
const ROWS: u64 = 250_000;
/// How long a file stays that no manifest names: another program may be about to name it.
const ORPHAN: SignedDuration = SignedDuration::from_hours(24);
/// How many manifests stay besides the latest.
const OLDER: u64 = 9;
/// The variables of the environment that say how to reach an object store.
const SETTINGS: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

/// A place for files of sessions.
#[derive(Clone)]
pub struct Lake {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    /// How messages name it.
    name: String,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which files hold the sessions, as `manifest.json` says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Manifest {
    /// The layout of this document: 1.
    pub layout: u32,
    /// Which manifest it is, from 1.
    pub number: u64,
    /// When the reading of the store began.
    pub at: Timestamp,
    /// The IANA zone whose months the files are of, and whose clock local times are on.
    pub time_zone: String,
    /// How many sessions there are in all files.
    pub rows: u64,
    /// The files, in the order of their paths.
    pub files: Vec<File>,
}

/// A file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// Where it is, from where the manifest is.
    pub path: String,
    /// Whose sessions are in it.
    pub provider: String,
    /// In which month they start, such as `2026-10`, or `none`.
    pub month: String,
    /// How many there are.
    pub rows: u64,
    /// How long the file is.
    pub bytes: u64,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

/// What a write has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Written {
    /// How many sessions there are now.
    pub rows: u64,
    /// How many files are new.
    pub new_files: u64,
    /// How many are as they were.
    pub kept_files: u64,
    /// How many were taken away, because others hold what they held.
    pub removed_files: u64,
    /// The number of the manifest that is true now; none if there is nothing yet.
    pub manifest: u64,
}

/// Sessions of one provider that start in one month; `None` if they have no start.
type Part = (ProviderId, Option<String>);

impl Lake {
    /// A folder, which is made if it is not there, or the URL of an object store: `s3://`, `gs://` or `az://`, with
    /// what comes before all paths. Keys and addresses are taken from the environment, by the names that each of them
    /// documents: those that begin with `AWS_`, `GOOGLE_` or `AZURE_`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is neither; [`ErrorKind::Storage`] if the folder cannot be made.
    pub fn open(place: &str) -> Result<Self> {
        // A drive of Windows is no scheme.
        match Url::parse(place) {
            Ok(url) if url.scheme().len() > 1 => Self::remote(place, &url),
            _ => Self::folder(path::Path::new(place)),
        }
    }

    fn folder(folder: &path::Path) -> Result<Self> {
        let name = folder.display().to_string();
        let made = fs::create_dir_all(folder).map_err(|error| {
            let text = format!("the folder {name} cannot be made; name another, or correct its permissions");
            Error::new(ErrorKind::Storage, text).with_source(error)
        });
        made?;
        let objects = LocalFileSystem::new_with_prefix(folder).map_err(|error| failed(&name, &error))?;
        Ok(Self { objects: Arc::new(objects), root: Path::default(), name })
    }

    fn remote(place: &str, url: &Url) -> Result<Self> {
        if url.scheme() == "file" {
            let folder = url.to_file_path();
            return folder
                .map_or_else(|()| Err(unusable("it is no path of this machine")), |f| Self::folder(&f));
        }
        if url.password().is_some() || url.query().is_some() {
            return Err(unusable("it has a password or a query; keys come from the environment"));
        }
        // Where nobody has chosen, the one that everything else here uses.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let settings =
            std::env::vars().filter(|(name, _)| SETTINGS.iter().any(|word| name.starts_with(word)));
        // What it says of a bad setting may quote it.
        let (objects, root) = parse_url_opts(url, settings).map_err(|_| {
            unusable("it is none of `s3://`, `gs://` and `az://`, or a setting in the environment is wrong")
        })?;
        Ok(Self { objects: objects.into(), root, name: place.to_owned() })
    }

    /// What is true now; `None` if nothing was written yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Storage`] if it cannot be read, or was made by a later release.
    pub async fn manifest(&self) -> Result<Option<Manifest>> {
        // The copy without a number may be older, if a writer was stopped between both.
        let mut latest = None;
        let mut numbers = self.objects.list(Some(&self.at("manifests")));
        while let Some(object) = numbers.try_next().await.map_err(|error| self.failed(&error))? {
            let number =
                object.location.filename().and_then(|name| name.strip_suffix(".json")?.parse::<u64>().ok());
            latest = latest.max(number);
        }
        let Some(number) = latest else { return Ok(None) };
        let bytes = self.read(&self.numbered(number)).await?;
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
            self.wrong("has a manifest that cannot be read: it is of a later release, or damaged")
                .with_source(error)
        })?;
        if manifest.layout != 1 {
            return Err(self.wrong("was written by a later release; use that one"));
        }
        Ok(Some(manifest))
    }

    /// Brings the files up to date with a store. `zone` decides what a month is, and which clock local times are on.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Conflict`] if another program has written meanwhile; what it wrote is whole, and so is what was
    ///   there before.
    /// - [`ErrorKind::Config`] if the zone has no IANA name, or what is there is of another zone.
    /// - [`ErrorKind::Storage`] if something cannot be read or written. Then what was there before is still true.
    pub async fn write(&self, store: &dyn SessionStore, zone: &TimeZone) -> Result<Written> {
        let at = Timestamp::now();
        let Some(time_zone) = zone.iana_name() else {
            return Err(Error::new(
                ErrorKind::Config,
                "the time zone of a lake needs an IANA name, such as UTC",
            ));
        };
        let before = self.manifest().await?;
        if let Some(other) = before.as_ref().filter(|before| before.time_zone != time_zone) {
            let text = format!(
                "{} has months of {}, and {time_zone} was asked for: give the same zone, or another place",
                self.name, other.time_zone
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        let known: BTreeSet<&str> =
            before.iter().flat_map(|before| &before.files).map(|file| &*file.path).collect();
        let (choice, parts) = survey(store, zone).await?;
        let mut draft = Draft { lake: self, known: &known, files: Vec::new(), written: Written::default() };
        for part in &parts {
            draft.part(store, part, &choice, zone).await?;
        }
        let Draft { mut files, mut written, .. } = draft;
        files.sort_by(|one, other| one.path.cmp(&other.path));
        written.rows = files.iter().map(|file| file.rows).sum();
        written.manifest = before.as_ref().map_or(0, |before| before.number);
        if before.as_ref().is_some_and(|before| before.files == files) {
            return Ok(written);
        }
        written.manifest += 1;
        let (number, rows) = (written.manifest, written.rows);
        let manifest = Manifest { layout: 1, number, at, time_zone: time_zone.to_owned(), rows, files };
        self.publish(&manifest).await?;
        written.removed_files = self.sweep(&manifest, &known).await?;
        Ok(written)
    }

    /// Makes a manifest the true one.
    async fn publish(&self, manifest: &Manifest) -> Result<()> {
        let text = serde_json::to_vec_pretty(manifest)
            .map_err(|error| self.wrong("cannot be described").with_source(error))?;
        let text = Bytes::from(text);
        if !self.create(&self.numbered(manifest.number), text.clone()).await? {
            let text = format!("another program has written to {} meanwhile; run it again", self.name);
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let copy = self.objects.put(&self.at("manifest.json"), text.into()).await;
        copy.map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Takes away what the manifest does not name: at once if the one before did, and in a day if none did.
    async fn sweep(&self, manifest: &Manifest, before: &BTreeSet<&str>) -> Result<u64> {
        let named: BTreeSet<Path> = manifest.files.iter().map(|file| self.at(&file.path)).collect();
        let before: BTreeSet<Path> = before.iter().map(|path| self.at(path)).collect();
        let oldest = self.numbered(manifest.number.saturating_sub(OLDER));
        let mut removed = 0;
        let mut objects = self.objects.list((!self.root.as_ref().is_empty()).then_some(&self.root));
        while let Some(object) = objects.try_next().await.map_err(|error| self.failed(&error))? {
            let place = &object.location;
            let below =
                place.prefix_match(&self.root).map(|parts| parts.map(|part| part.as_ref().to_owned()));
            let below: Vec<String> = below.into_iter().flatten().collect();
            let age = manifest.at.as_second() - object.last_modified.timestamp();
            let is_past = match below.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [provider, month, file] => {
                    let ours = provider.starts_with("provider=")
                        && month.starts_with("month=")
                        && file.ends_with(".parquet");
                    ours && !named.contains(place) && (before.contains(place) || age > ORPHAN.as_secs())
                }
                ["manifests", _] => *place < oldest,
                _ => false,
            };
            if is_past {
                self.objects.delete(place).await.map_err(|error| self.failed(&error))?;
                removed += u64::from(below.len() == 3);
            }
        }
        Ok(removed)
    }

    /// Writes an object unless it is there. Whether it was not.
    async fn create(&self, place: &Path, bytes: Bytes) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.objects.put_opts(place, bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    async fn read(&self, place: &Path) -> Result<Bytes> {
        let object = self.objects.get(place).await.map_err(|error| self.failed(&error))?;
        object.bytes().await.map_err(|error| self.failed(&error))
    }

    fn at(&self, path: &str) -> Path {
        self.root.parts().chain(Path::from(path).parts()).collect()
    }

    fn numbered(&self, number: u64) -> Path {
        self.at(&format!("manifests/{number:08}.json"))
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(ErrorKind::Storage, format!("{} {what}", self.name))
    }

    fn unmade(&self, error: io::Error) -> Error {
        self.wrong("cannot be written: a table could not be made").with_source(error)
    }

    fn failed(&self, error: &object_store::Error) -> Error {
        failed(&self.name, error)
    }
}

/// The files of a manifest to be.
struct Draft<'a> {
    lake: &'a Lake,
    /// The paths of files that are there.
    known: &'a BTreeSet<&'a str>,
    files: Vec<File>,
    written: Written,
}

impl Draft<'_> {
    /// Writes the files of a part that are not there yet. One at a time is in memory.
    async fn part(
        &mut self,
        store: &dyn SessionStore,
        part: &Part,
        choice: &Choice,
        zone: &TimeZone,
    ) -> Result<()> {
        let (provider, month) = part;
        let mut filter = present();
        filter.provider = Some(*provider);
        filter.window = month.as_deref().map(|month| window(month, zone)).transpose()?;
        let mut rows = Rows::new(store, filter);
        let mut sheet = Sheet::new().map_err(|error| self.lake.unmade(error))?;
        let mut number = 0;
        while let Some(several) = rows.next().await? {
            // The store cannot be asked for what has no start.
            let wanted = |row: &StoredSession| month.is_some() || row.session.timing.period.start.is_none();
            for row in several.into_iter().filter(wanted) {
                let record = record(row);
                let cells = export::cells(&record, choice.standing(record.session.key()), zone);
                sheet.row(&cells).map_err(|error| self.lake.unmade(error))?;
                if sheet.rows == ROWS {
                    let next = Sheet::new().map_err(|error| self.lake.unmade(error))?;
                    self.keep(std::mem::replace(&mut sheet, next), part, number).await?;
                    number += 1;
                }
            }
        }
        if sheet.rows > 0 {
            self.keep(sheet, part, number).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, sheet: Sheet, (provider, month): &Part, number: u32) -> Result<()> {
        let (bytes, rows) = sheet.finish().map_err(|error| self.lake.unmade(error))?;
        let (length, sha256) = (bytes.len() as u64, Hash::of(&bytes).to_string());
        let month = month.as_deref().unwrap_or("none");
        let digits: String = sha256.chars().take(16).collect();
        let path = format!("provider={provider}/month={month}/{number:05}-{digits}.parquet");
        if self.known.contains(&*path) {
            self.written.kept_files += 1;
        } else {
            self.written.new_files += 1;
            // One of this name that is there already has these bytes.
            self.lake.create(&self.lake.at(&path), bytes).await?;
        }
        let (provider, month) = (provider.to_string(), month.to_owned());
        self.files.push(File { path, provider, month, rows, bytes: length, sha256 });
        Ok(())
    }
}

fn unusable(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("the place for the files cannot be used: {why}"))
}

/// How much of what an object store says is repeated.
const MOST_SAID: usize = 120;

/// Of what object stores and their client say only the innermost is repeated: all around it are addresses, and those
/// may be signed.
fn failed(name: &str, error: &object_store::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let said = cause.to_string();
    let said = said.split('<').next().unwrap_or_default().trim().trim_end_matches(':');
    let said: String = said.chars().filter(|letter| !letter.is_control()).take(MOST_SAID).collect();
    let what = match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            "refuses access: check the permissions, or the keys in the environment".to_owned()
        }
        object_store::Error::NotFound { .. } => {
            "has lost what was there a moment ago; run it again".to_owned()
        }
        _ => format!("cannot be read or written ({said}); what was there before is still true"),
    };
    Error::new(ErrorKind::Storage, format!("{name} {what}"))
}

/// Sessions that are there.
fn present() -> Filter {
    let mut filter = Filter::default();
    filter.vanished = Some(false);
    filter
}

fn record(row: StoredSession) -> Record {
    Record::stored(row.session, row.revision, row.missing_since, row.payload.map(|hash| *hash.as_bytes()))
}

/// Which records count, and which parts there are.
async fn survey(store: &dyn SessionStore, zone: &TimeZone) -> Result<(Choice, BTreeSet<Part>)> {
    let (mut choosing, mut parts) = (Choosing::default(), BTreeSet::new());
    let mut rows = Rows::new(store, present());
    while let Some(several) = rows.next().await? {
        for row in several {
            let start = row.session.timing.period.start;
            parts.insert((row.session.key().provider, start.map(|start| Width::Month.label(start, zone))));
            choosing.add(&record(row));
        }
    }
    Ok((choosing.finish(), parts))
}

fn window(month: &str, zone: &TimeZone) -> Result<TimeWindow> {
    let period = Period::parse(month, zone.clone());
    period.map(|period| period.window()).map_err(|error| Error::new(ErrorKind::Storage, error.to_string()))
}

/// A file on its way.
struct Sheet {
    table: Box<ParquetTable<Shared>>,
    bytes: Shared,
    rows: u64,
}

impl Sheet {
    fn new() -> io::Result<Self> {
        let bytes = Shared::default();
        Ok(Self { table: Box::new(ParquetTable::new(bytes.clone(), export::COLUMNS)?), bytes, rows: 0 })
    }

    fn row(&mut self, cells: &[export::Cell]) -> io::Result<()> {
        self.rows += 1;
        self.table.row(cells)
    }

    fn finish(self) -> io::Result<(Bytes, u64)> {
        self.table.finish()?;
        let bytes = std::mem::take(&mut *self.bytes.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((bytes.into(), self.rows))
    }
}

/// Bytes that are looked at once the writer is done with them.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
