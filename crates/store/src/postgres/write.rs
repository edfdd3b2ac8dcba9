//! Writing, inside one transaction, and with few round trips: what there is to know is asked at once, and all that
//! follows from it is sent at once.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use charging_sessions_core::{
    ChargingSession, Cursor, Detail, Energy, Error, ErrorKind, Payload, Power, RecordKind, RejectedRecord,
    SessionKey,
};
use deadpool_postgres::Transaction;
use futures_util::future::{try_join, try_join_all, try_join4};
use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::{Client, Row, error::SqlState, types::ToSql};

use super::{
    error::Failure,
    key,
    pack::Packer,
    read::{cursor, is_of},
    text::{self, written},
};
use crate::{
    Account, Batch, Changes, Hash, Lease, Reason, RunReport, Slice,
    columns::{asset_ids, distinct, json, local_day, slice_text, split, to_us},
    content_hash,
};

type Written<T> = Result<T, Failure>;
type Value<'a> = Box<dyn ToSql + Sync + Send + 'a>;

fn conflict(message: String) -> Failure {
    Failure::Refused(Error::new(ErrorKind::Conflict, message))
}

fn misuse(message: &str) -> Failure {
    Failure::Refused(Error::new(ErrorKind::Storage, message))
}

/// Takes the right to write to an account, on the connection that will hold it. The epoch.
pub(super) async fn begin(hold: &Client, schema: &str, account: &Account, now: Timestamp) -> Written<u64> {
    let (provider, name) = (account.provider.as_str(), account.account.as_str());
    // Waits for as long as the connection waits for locks, because who has just ended may still be on the way out.
    let lock = key(&[schema, "lease", provider, name]);
    match hold.execute("SELECT pg_advisory_lock($1)", &[&lock]).await {
        Ok(_) => {}
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            return Err(taken(hold, account).await?);
        }
        Err(error) => return Err(error.into()),
    }
    let writer = format!("process {}", std::process::id());
    let epoch = hold
        .query_one(
            "INSERT INTO accounts AS a (provider, account, epoch, writer, began_us) \
             VALUES ($1, $2, 1, $3::text || coalesce(' at ' || host(inet_client_addr()), ''), $4) \
             ON CONFLICT (provider, account) DO UPDATE \
             SET epoch = a.epoch + 1, writer = excluded.writer, began_us = excluded.began_us RETURNING epoch",
            &[&provider, &name, &writer, &to_us(now)],
        )
        .await?;
    Ok(epoch.try_get::<_, i64>(0)?.cast_unsigned())
}

/// Says who is writing already.
async fn taken(hold: &Client, account: &Account) -> Written<Failure> {
    let sql = "SELECT writer, began_us FROM accounts WHERE provider = $1 AND account = $2";
    let found = hold.query_opt(sql, &[&account.provider.as_str(), &account.account.as_str()]).await?;
    let mut writer = "another process".to_owned();
    let mut since = String::new();
    if let Some(row) = found {
        writer = row.try_get(0)?;
        let began = Timestamp::from_microsecond(row.try_get(1)?).ok();
        since = began.map(|at| format!(" since {at}")).unwrap_or_default();
    }
    Ok(conflict(format!("{account} is being written to by {writer}{since}; wait until it ends")))
}

/// Locks the account until the transaction ends, and so keeps away whoever would begin another run.
const FENCE: &str = "SELECT id, writes, epoch FROM accounts WHERE provider = $1 AND account = $2 FOR UPDATE";

/// The number of the account and its clock, if the lease is its latest.
fn fenced(found: Option<&Row>, lease: &dyn Lease) -> Written<(i64, i64)> {
    let latest = found.map(|row| row.try_get::<_, i64>(2)).transpose()?;
    match found {
        Some(row) if latest.map(i64::cast_unsigned) == Some(lease.epoch()) => {
            Ok((row.try_get(0)?, row.try_get(1)?))
        }
        _ => Err(conflict(format!(
            "another run has begun to write to {}; this one must stop",
            lease.account()
        ))),
    }
}

async fn fence(t: &Transaction<'_>, lease: &dyn Lease) -> Written<i64> {
    let Account { provider, account } = lease.account();
    let found =
        t.query_opt(&t.prepare_cached(FENCE).await?, &[&provider.as_str(), &account.as_str()]).await?;
    Ok(fenced(found.as_ref(), lease)?.0)
}

/// Statements that are sent one behind the other, without waiting for their answers in between.
#[derive(Default)]
struct Script<'a>(Vec<(&'static str, Vec<Value<'a>>)>);

/// The values of a statement. Each list is one array.
macro_rules! values {
    ($($value:expr),* $(,)?) => { vec![$(Box::new($value) as Value<'_>),*] };
}

impl<'a> Script<'a> {
    fn step(&mut self, sql: &'static str, values: Vec<Value<'a>>) {
        self.0.push((sql, values));
    }

    /// The rows that each step has.
    async fn run(self, t: &Transaction<'_>) -> Written<Vec<Vec<Row>>> {
        // All are prepared before the first is sent, or one that is known already would overtake one that is not.
        let statements = try_join_all(self.0.iter().map(|(sql, _)| t.prepare_cached(sql))).await?;
        let mut sent: Vec<std::pin::Pin<Box<dyn Future<Output = _> + Send + '_>>> = Vec::new();
        for (statement, (_, values)) in statements.iter().zip(&self.0) {
            sent.push(Box::pin(async move {
                let values: Vec<_> =
                    values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect();
                t.query(statement, &values).await
            }));
        }
        // Polled, and so sent, in this order.
        Ok(try_join_all(sent).await?)
    }
}

/// What is known of a record before it is written.
struct Known {
    id: i64,
    revision: i64,
    revision_id: i64,
    content: Hash,
    missing: bool,
    payload_id: Option<i64>,
}

/// Where a listing stands.
struct Place {
    cursor: Option<Cursor>,
    began_us: i64,
    began: i64,
    nameless: bool,
}

/// A record that is new or has another content than before.
struct Revised<'a> {
    /// Its place among the records that are written.
    record: usize,
    session: Cow<'a, ChargingSession>,
    content: Hash,
    reason: Reason,
    known: Option<Known>,
    /// Which of the new revisions it is.
    revision: i64,
    /// Which of the new sessions it is, if it is not known.
    new: i64,
}

/// A revision with the same record as before.
struct Repeated {
    id: i64,
    revision_id: i64,
    revision: i64,
}

/// Writes the records of one account, in one batch.
struct Pen<'a> {
    t: &'a Transaction<'a>,
    lease: &'a dyn Lease,
    zone: &'a TimeZone,
    at_us: i64,
    /// Whether what is written was listed, or mapped anew.
    listed: bool,
    sessions: Vec<&'a ChargingSession>,
    changes: Changes,
    /// The number of each of the sessions, as far as it is known.
    ids: Vec<i64>,
    revised: Vec<Revised<'a>>,
    returned: Vec<Repeated>,
    /// Records that are as they were: their numbers and the versions of their mapping.
    same: Vec<(i64, i64)>,
    revisions: i64,
}

/// The values of an array, one for each of some things.
fn each<T, V>(all: &[T], value: impl FnMut(&T) -> V) -> Vec<V> {
    all.iter().map(value).collect()
}

fn hash_of(id: &str) -> Hash {
    Hash::of(id.as_bytes())
}

pub(super) async fn commit(
    t: &Transaction<'_>,
    lease: &dyn Lease,
    batch: &Batch,
    zone: &TimeZone,
) -> Written<Changes> {
    let mut pen = Pen::new(t, lease, zone, &batch.sessions, batch.at, true)?;
    let slice = slice_text(&batch.slice);
    let slice_hash = Hash::of(slice.as_bytes());
    // The last of those with the same bytes.
    let mut places = HashMap::new();
    let mut rejected: Vec<(Hash, &RejectedRecord)> = Vec::new();
    for record in &batch.rejected {
        let hash = Hash::of(record.payload.as_bytes());
        match places.get(&hash) {
            Some(place) => rejected[*place] = (hash, record),
            None => {
                places.insert(hash, rejected.len());
                rejected.push((hash, record));
            }
        }
    }

    let statements = try_join4(
        t.prepare_cached(FENCE),
        t.prepare_cached(
            "SELECT p.cursor, p.began_us, p.began, p.nameless FROM places p JOIN accounts a ON a.id = p.account_id \
             WHERE a.provider = $1 AND a.account = $2 AND p.slice_hash = $3",
        ),
        t.prepare_cached(
            "SELECT y.hash, q.source_id FROM quarantine q JOIN payloads y ON y.id = q.payload_id \
             JOIN accounts a ON a.id = q.account_id \
             WHERE a.provider = $1 AND a.account = $2 AND y.hash = ANY($3)",
        ),
        t.prepare_cached(KNOWN),
    );
    let (fence, place, quarantined, known) = statements.await?;
    let (provider, name) = (lease.account().provider.as_str(), lease.account().account.as_str());
    let hashes = each(&rejected, |(hash, _)| *hash);
    let asked = pen.question();
    // Sent in this order, so that all but the first see the account as it is once it is locked.
    let (found, place, quarantined, known) = try_join4(
        t.query_opt(&fence, &[&provider, &name]),
        t.query_opt(&place, &[&provider, &name, &slice_hash]),
        t.query(&quarantined, &[&provider, &name, &hashes]),
        t.query(&known, &[&provider, &name, &asked.0, &asked.1, &asked.2, &asked.3]),
    )
    .await?;
    let (account_id, clock) = fenced(found.as_ref(), lease)?;
    let clock = clock + 1;
    let mut place = match place {
        Some(row) => Place {
            cursor: Some(cursor(&row, 0)?),
            began_us: row.try_get(1)?,
            began: row.try_get(2)?,
            nameless: row.try_get(3)?,
        },
        None => Place { cursor: None, began_us: pen.at_us, began: clock, nameless: false },
    };
    if place.cursor != batch.from {
        return Err(conflict(format!(
            "the listing of {} has gone on elsewhere since this page was read; go on from the stored place",
            lease.account()
        )));
    }
    pen.plan(&known, None)?;

    let (payloads, base) = pen.allocate(&rejected).await?;
    let mut script = Script::default();
    script.step("UPDATE accounts SET writes = $2 WHERE id = $1", values![account_id, clock]);
    pen.write(&mut script, account_id, clock, &payloads, base)?;

    // What came whole leaves the quarantine, unless it came again as what it was kept for.
    let ids: HashSet<&str> = pen.sessions.iter().map(|session| session.key().source_id.as_str()).collect();
    let mut already = HashSet::new();
    for row in &quarantined {
        let id: Option<&str> = row.try_get(1)?;
        let id = id.map(text::read).transpose()?;
        if id.is_none_or(|id| !ids.contains(&*id)) {
            already.insert(row.try_get::<_, Hash>(0)?);
        }
    }
    if !ids.is_empty() {
        let ids: Vec<_> = ids.into_iter().map(written).collect();
        script.step(
            "DELETE FROM quarantine WHERE account_id = $1 AND source_id = ANY($2)",
            values![account_id, ids],
        );
    }
    pen.changes.quarantined = rejected.iter().filter(|(hash, _)| !already.contains(hash)).count() as u64;
    reject(
        &mut script,
        lease.account(),
        &rejected,
        &payloads,
        &batch.slice.kinds,
        (account_id, pen.at_us, clock),
    )?;
    place.nameless |= batch.rejected.iter().any(|record| record.id.is_none());

    if let Some(next) = &batch.next {
        script.step(
            "INSERT INTO places (account_id, slice_hash, slice, cursor, began_us, began, nameless) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account_id, slice_hash) \
             DO UPDATE SET cursor = excluded.cursor, nameless = excluded.nameless",
            values![
                account_id,
                slice_hash,
                slice,
                written(next.as_str()),
                place.began_us,
                place.began,
                place.nameless
            ],
        );
        script.run(t).await?;
        return Ok(pen.changes);
    }
    script.step(
        "DELETE FROM places WHERE account_id = $1 AND slice_hash = $2",
        values![account_id, slice_hash],
    );
    let from_us = batch.slice.window.map(|window| to_us(window.from()));
    script.step(
        "INSERT INTO coverage (account_id, slice_hash, slice, from_us, began_us, completed_us) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account_id, slice_hash) \
         DO UPDATE SET began_us = excluded.began_us, completed_us = excluded.completed_us",
        values![account_id, slice_hash, slice, from_us, place.began_us, pen.at_us],
    );
    script.run(t).await?;
    // What came without an identifier may be any of those that are missed.
    if !place.nameless {
        pen.vanish(account_id, &batch.slice, place.began).await?;
    }
    Ok(pen.changes)
}

pub(super) async fn remap(
    t: &Transaction<'_>,
    lease: &dyn Lease,
    sessions: &[ChargingSession],
    now: Timestamp,
    zone: &TimeZone,
) -> Written<Changes> {
    let mut pen = Pen::new(t, lease, zone, sessions, now, false)?;
    let (fence, known) = (t.prepare_cached(FENCE).await?, t.prepare_cached(KNOWN).await?);
    let (provider, name) = (lease.account().provider.as_str(), lease.account().account.as_str());
    let asked = pen.question();
    let (found, known) = try_join(
        t.query_opt(&fence, &[&provider, &name]),
        t.query(&known, &[&provider, &name, &asked.0, &asked.1, &asked.2, &asked.3]),
    )
    .await?;
    let (account_id, clock) = fenced(found.as_ref(), lease)?;
    pen.plan(&known, Some(Reason::Remapped))?;
    let (payloads, base) = pen.allocate(&[]).await?;
    let mut script = Script::default();
    pen.write(&mut script, account_id, clock, &payloads, base)?;
    script.run(t).await?;
    Ok(pen.changes)
}

pub(super) async fn restart(t: &Transaction<'_>, lease: &dyn Lease, slice: &Slice) -> Written<()> {
    let id = fence(t, lease).await?;
    let hash = Hash::of(slice_text(slice).as_bytes());
    t.execute("DELETE FROM places WHERE account_id = $1 AND slice_hash = $2", &[&id, &hash]).await?;
    Ok(())
}

pub(super) async fn release(t: &Transaction<'_>, lease: &dyn Lease, payloads: &[Hash]) -> Written<()> {
    let id = fence(t, lease).await?;
    let sql = "DELETE FROM quarantine q USING payloads p \
               WHERE q.account_id = $1 AND q.payload_id = p.id AND p.hash = ANY($2)";
    t.execute(sql, &[&id, &payloads]).await?;
    Ok(())
}

pub(super) async fn log_run(t: &Transaction<'_>, lease: &dyn Lease, run: &RunReport) -> Written<()> {
    let id = fence(t, lease).await?;
    let [new, changed, unchanged, returned, vanished, quarantined] = run.counts.map(u64::cast_signed);
    t.execute(
        "INSERT INTO runs (account_id, epoch, began_us, ended_us, requests, new, changed, unchanged, returned, \
         vanished, quarantined, error) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        &[
            &id,
            &lease.epoch().cast_signed(),
            &to_us(run.began_at),
            &to_us(run.ended_at),
            &run.requests.cast_signed(),
            &new,
            &changed,
            &unchanged,
            &returned,
            &vanished,
            &quarantined,
            &run.error.as_deref().map(written),
        ],
    )
    .await?;
    Ok(())
}

/// What is known of records by their handles; the record itself of those that may lack their intervals.
///
/// The words leave the server one way only, a look into one index for each record. With account, kind and hash as the
/// conditions of a join there are several, and before the server has counted its rows, which is a minute or more after
/// a store was filled or restored, it read all of the account for each page, or even for each record. `OFFSET 0` keeps
/// the server from making that join of it again.
const KNOWN: &str = "SELECT k.place, s.id, s.revision, s.revision_id, s.content, s.missing_us IS NOT NULL, r.payload_id, \
     CASE WHEN k.bare AND EXISTS (SELECT FROM intervals i WHERE i.session_id = s.id) THEN r.record::text END \
     FROM unnest($3::text[], $4::bytea[], $5::text[], $6::boolean[]) WITH ORDINALITY \
     AS k (kind, hash, handle, bare, place) \
     JOIN accounts a ON a.provider = $1 AND a.account = $2 \
     JOIN LATERAL (SELECT * FROM sessions WHERE handle = k.handle::uuid OFFSET 0) s \
     ON (s.account_id, s.kind, s.source_hash) = (a.id, k.kind, k.hash) \
     LEFT JOIN revisions r ON r.id = s.revision_id";

/// Adds a revision with the same record as another one.
const REPEAT: &str = "INSERT INTO revisions \
     (id, session_id, number, at_us, reason, content, payload_id, mapping_version, record) \
     SELECT k.id, r.session_id, r.number + 1, $3, $4, r.content, r.payload_id, r.mapping_version, r.record \
     FROM unnest($1::bigint[], $2::bigint[]) AS k (id, before) JOIN revisions r ON r.id = k.before";

/// Makes such a revision the current one.
const REPEATED: &str = "UPDATE sessions s SET revision = s.revision + 1, revision_id = k.revision_id, missing_us = $3 \
     FROM unnest($1::bigint[], $2::bigint[]) AS k (id, revision_id) WHERE s.id = k.id";

impl<'a> Pen<'a> {
    fn new(
        t: &'a Transaction<'a>,
        lease: &'a dyn Lease,
        zone: &'a TimeZone,
        sessions: &'a [ChargingSession],
        at: Timestamp,
        listed: bool,
    ) -> Written<Self> {
        let account = lease.account();
        let mut last = HashMap::with_capacity(sessions.len());
        for (place, session) in sessions.iter().enumerate() {
            let key = session.key();
            if (key.provider, &key.account) != (account.provider, &account.account) {
                return Err(misuse("a record of another account than that of the lease was to be written"));
            }
            last.insert(key, place);
        }
        // The same record twice on a page is one record, as it came last.
        let sessions: Vec<_> = sessions
            .iter()
            .enumerate()
            .filter(|(place, session)| last.get(session.key()) == Some(place))
            .map(|(_, session)| session)
            .collect();
        Ok(Self {
            t,
            lease,
            zone,
            at_us: to_us(at),
            listed,
            ids: vec![0; sessions.len()],
            sessions,
            changes: Changes::default(),
            revised: Vec::new(),
            returned: Vec::new(),
            same: Vec::new(),
            revisions: 0,
        })
    }

    /// The values that [`KNOWN`] asks for.
    fn question(&self) -> (Vec<&'static str>, Vec<Hash>, Vec<String>, Vec<bool>) {
        (
            each(&self.sessions, |session| session.key().kind.as_str()),
            each(&self.sessions, |session| hash_of(&session.key().source_id)),
            each(&self.sessions, |session| session.key().id().to_string()),
            each(&self.sessions, |session| session.details.intervals == Detail::NotFetched),
        )
    }

    /// Compares what has come with what is known.
    fn plan(&mut self, rows: &[Row], remapped: Option<Reason>) -> Written<()> {
        let mut all: Vec<Option<(Known, Option<&str>)>> = Vec::new();
        all.resize_with(self.sessions.len(), || None);
        for row in rows {
            let place = usize::try_from(row.try_get::<_, i64>(0)? - 1).map_err(|_| Failure::Damaged)?;
            let known = Known {
                id: row.try_get(1)?,
                revision: row.try_get(2)?,
                revision_id: row.try_get(3)?,
                content: row.try_get(4)?,
                missing: row.try_get(5)?,
                payload_id: row.try_get(6)?,
            };
            *all.get_mut(place).ok_or(Failure::Damaged)? = Some((known, row.try_get(7)?));
        }
        let mut new = 0;
        for (record, known) in all.into_iter().enumerate() {
            let (known, before) = known.unzip();
            let session = with_intervals(self.sessions[record], before.flatten())?;
            let content = content_hash(&session);
            let key = session.key();
            let returned = self.listed && known.as_ref().is_some_and(|known| known.missing);
            if returned {
                self.changes.returned.push(key.clone());
            }
            match known {
                Some(known) if known.content == content => {
                    self.ids[record] = known.id;
                    self.same.push((known.id, i64::from(session.provenance.mapping_version)));
                    if returned {
                        self.revisions += 1;
                        let (id, revision_id, revision) = (known.id, known.revision_id, self.revisions);
                        self.returned.push(Repeated { id, revision_id, revision });
                    } else {
                        self.changes.unchanged += 1;
                    }
                }
                known => {
                    let reason = match (&known, returned) {
                        (None, _) => Reason::New,
                        (Some(_), true) => Reason::Returned,
                        (Some(_), false) => remapped.unwrap_or(Reason::Changed),
                    };
                    let changed =
                        if known.is_some() { &mut self.changes.changed } else { &mut self.changes.new };
                    changed.push(key.clone());
                    new += i64::from(known.is_none());
                    self.revisions += 1;
                    let revision = self.revisions;
                    self.revised.push(Revised { record, session, content, reason, known, revision, new });
                }
            }
        }
        Ok(())
    }

    /// Keeps the bytes that are not kept yet, and takes numbers for what is new. The numbers of the bytes, and the
    /// last revision that was written before.
    async fn allocate(&mut self, rejected: &[(Hash, &RejectedRecord)]) -> Written<(HashMap<Hash, i64>, i64)> {
        let revised = self.revised.iter().filter_map(|revised| revised.session.provenance.payload.as_ref());
        let mut payloads: Vec<(Hash, &Payload)> =
            revised.map(|payload| (Hash::of(payload.as_bytes()), payload)).collect();
        payloads.extend(rejected.iter().map(|(hash, record)| (*hash, &record.payload)));
        // In one order for all, so that two transactions never wait for each other.
        payloads.sort_unstable_by_key(|(hash, _)| *hash);
        payloads.dedup_by_key(|(hash, _)| *hash);
        let mut script = Script::default();
        if !payloads.is_empty() {
            let mut packer =
                Packer::new().ok_or_else(|| misuse("there is no memory left to compress with"))?;
            let hashes = each(&payloads, |(hash, _)| *hash);
            let sizes = each(&payloads, |(_, payload)| payload.as_bytes().len() as i64);
            let bytes = each(&payloads, |(_, payload)| {
                let plain = payload.as_bytes();
                packer.pack(plain).unwrap_or_else(|| plain.to_vec())
            });
            script.step(
                "INSERT INTO payloads (hash, size, bytes) \
                 SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[]) ON CONFLICT (hash) DO NOTHING",
                values![hashes.clone(), sizes, bytes],
            );
            script.step("SELECT hash, id FROM payloads WHERE hash = ANY($1)", values![hashes]);
        }
        let numbers = self.revisions > 0;
        if numbers {
            let new = self.revised.iter().filter(|revised| revised.known.is_none()).count() as i64;
            script.step(TAKE, values![new, self.revisions]);
        }
        let mut answers = script.run(self.t).await?;
        let mut base = 0;
        if numbers {
            let taken = answers.pop().unwrap_or_default();
            let row = taken.first().ok_or(Failure::Damaged)?;
            let last_session: i64 = row.try_get(0)?;
            base = row.try_get(1)?;
            for revised in &self.revised {
                let known = revised.known.as_ref().map(|known| known.id);
                self.ids[revised.record] = known.unwrap_or(last_session + revised.new);
            }
        }
        let mut ids = HashMap::new();
        for row in answers.pop().unwrap_or_default() {
            ids.insert(row.try_get(0)?, row.try_get(1)?);
        }
        Ok((ids, base))
    }

    /// Writes all that was planned.
    fn write(
        &self,
        script: &mut Script<'a>,
        account_id: i64,
        clock: i64,
        payloads: &HashMap<Hash, i64>,
        base: i64,
    ) -> Written<()> {
        if !self.revised.is_empty() {
            self.revise(script, account_id, clock, payloads, base)?;
        }
        if !self.returned.is_empty() {
            let new = each(&self.returned, |repeated| base + repeated.revision);
            let before = each(&self.returned, |repeated| repeated.revision_id);
            script.step(REPEAT, values![new.clone(), before, self.at_us, Reason::Returned.as_str()]);
            let ids = each(&self.returned, |repeated| repeated.id);
            script.step(REPEATED, values![ids, new, None::<i64>]);
        }
        if !self.same.is_empty() {
            let (ids, versions): (Vec<_>, Vec<_>) = self.same.iter().copied().unzip();
            if self.listed {
                script.step(
                    "UPDATE sessions s SET last_seen_us = $3, seen = $4, mapping_version = k.version \
                     FROM unnest($1::bigint[], $2::bigint[]) AS k (id, version) WHERE s.id = k.id",
                    values![ids, versions, self.at_us, clock],
                );
            } else {
                script.step(
                    "UPDATE sessions s SET mapping_version = k.version \
                     FROM unnest($1::bigint[], $2::bigint[]) AS k (id, version) WHERE s.id = k.id",
                    values![ids, versions],
                );
            }
        }
        self.link(script);
        Ok(())
    }

    fn revise(
        &self,
        script: &mut Script<'a>,
        account_id: i64,
        clock: i64,
        payloads: &HashMap<Hash, i64>,
        base: i64,
    ) -> Written<()> {
        let all = &self.revised;
        let ids = each(all, |revised| self.ids[revised.record]);
        let numbers = each(all, |revised| revised.known.as_ref().map_or(1, |known| known.revision + 1));
        let revisions = each(all, |revised| base + revised.revision);
        let contents = each(all, |revised| revised.content);
        let versions = each(all, |revised| i64::from(revised.session.provenance.mapping_version));
        let text = |text: Option<&str>| text.map(|text| written(text).into_owned());
        let zone = |session: &'_ ChargingSession| session.timing.zone.as_ref().map(|zone| zone.name.clone());
        let costs = each(all, |revised| split(revised.session.costs.cost.as_ref().map(|cost| cost.money)));
        let (costs, currencies): (Vec<_>, Vec<_>) = costs.into_iter().unzip();
        script.step(
            "INSERT INTO sessions AS s (id, account_id, kind, source_id, source_hash, handle, revision, revision_id, \
             content, mapping_version, first_seen_us, last_seen_us, seen, status, start_us, end_us, zone, local_day, \
             energy_mwh, cost, currency, vehicle_id, vehicle_name, charge_point_id, location, counts) \
             SELECT k.id, $1, k.kind, k.source_id, k.source_hash, k.handle::uuid, k.revision, k.revision_id, \
             k.content, k.mapping_version, $2, $2, $3, k.status, k.start_us, k.end_us, k.zone, k.local_day, \
             k.energy_mwh, k.cost::numeric, k.currency, k.vehicle_id, k.vehicle_name, k.charge_point_id, k.location, \
             k.counts \
             FROM unnest($5::bigint[], $6::text[], $7::text[], $8::bytea[], $9::text[], $10::bigint[], \
             $11::bigint[], $12::bytea[], $13::bigint[], $14::text[], $15::bigint[], $16::bigint[], $17::text[], \
             $18::text[], $19::bigint[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[], \
             $25::text[], $26::boolean[]) \
             AS k (id, kind, source_id, source_hash, handle, revision, revision_id, content, mapping_version, status, \
             start_us, end_us, zone, local_day, energy_mwh, cost, currency, vehicle_id, vehicle_name, \
             charge_point_id, location, counts) \
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, revision_id = excluded.revision_id, \
             content = excluded.content, mapping_version = excluded.mapping_version, \
             last_seen_us = CASE WHEN $4::boolean THEN excluded.last_seen_us ELSE s.last_seen_us END, \
             seen = CASE WHEN $4 THEN excluded.seen ELSE s.seen END, \
             missing_us = CASE WHEN $4 THEN NULL ELSE s.missing_us END, \
             status = excluded.status, start_us = excluded.start_us, end_us = excluded.end_us, zone = excluded.zone, \
             local_day = excluded.local_day, energy_mwh = excluded.energy_mwh, cost = excluded.cost, \
             currency = excluded.currency, vehicle_id = excluded.vehicle_id, vehicle_name = excluded.vehicle_name, \
             charge_point_id = excluded.charge_point_id, location = excluded.location, counts = excluded.counts",
            values![
                account_id,
                self.at_us,
                clock,
                self.listed,
                ids.clone(),
                each(all, |revised| revised.session.key().kind.as_str()),
                each(all, |revised| written(&revised.session.key().source_id).into_owned()),
                each(all, |revised| hash_of(&revised.session.key().source_id)),
                each(all, |revised| revised.session.key().id().to_string()),
                numbers.clone(),
                revisions.clone(),
                contents.clone(),
                versions.clone(),
                each(all, |revised| revised.session.state.status.as_str()),
                each(all, |revised| revised.session.timing.period.start.map(to_us)),
                each(all, |revised| revised.session.timing.period.end.map(to_us)),
                each(all, |revised| text(zone(&revised.session).as_deref())),
                each(all, |revised| {
                    let start = revised.session.timing.period.start;
                    start.map(|start| local_day(start, zone(&revised.session).as_deref(), self.zone))
                }),
                each(all, |revised| revised.session.energy.headline().map(Energy::as_mwh)),
                costs,
                currencies,
                each(all, |revised| text(asset_ids(&revised.session)[0])),
                each(all, |revised| {
                    let vehicle = revised.session.parties.vehicle.as_ref();
                    text(vehicle.and_then(|vehicle| vehicle.name.as_deref()))
                }),
                each(all, |revised| text(asset_ids(&revised.session)[1])),
                each(all, |revised| {
                    let location = revised.session.place.location.as_ref();
                    text(location.and_then(|location| location.label.as_deref()))
                }),
                each(all, |revised| revised.session.counts()),
            ],
        );
        let mut records = Vec::with_capacity(all.len());
        for revised in all {
            let record = serde_json::to_string(&*revised.session);
            records.push(record.map_err(|_| misuse("a record could not be written as JSON"))?);
        }
        let payload_ids = each(all, |revised| match &revised.session.provenance.payload {
            Some(payload) => payloads.get(&Hash::of(payload.as_bytes())).copied(),
            // What is mapped anew was read from where it was read from before.
            None if revised.reason == Reason::Remapped => {
                revised.known.as_ref().and_then(|known| known.payload_id)
            }
            None => None,
        });
        script.step(
            "INSERT INTO revisions (id, session_id, number, at_us, reason, content, payload_id, mapping_version, record) \
             SELECT k.id, k.session_id, k.number, $1, k.reason, k.content, k.payload_id, k.version, k.record::json \
             FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[], \
             $8::bigint[], $9::text[]) \
             AS k (id, session_id, number, reason, content, payload_id, version, record)",
            values![
                self.at_us,
                revisions,
                ids,
                numbers,
                each(all, |revised| revised.reason.as_str()),
                contents,
                payload_ids,
                versions,
                records,
            ],
        );
        self.divide(script);
        Ok(())
    }

    /// Writes the intervals of what has changed.
    fn divide(&self, script: &mut Script<'a>) {
        let known: Vec<i64> = self.revised.iter().filter_map(|it| Some(it.known.as_ref()?.id)).collect();
        if !known.is_empty() {
            script.step("DELETE FROM intervals WHERE session_id = ANY($1)", values![known]);
        }
        let mut all = Vec::new();
        for revised in &self.revised {
            if let Detail::Some(intervals) = &revised.session.details.intervals {
                all.extend(intervals.iter().zip(0_i64..).map(|it| (self.ids[revised.record], it)));
            }
        }
        if all.is_empty() {
            return;
        }
        let prices = each(&all, |(_, (interval, _))| split(interval.price_per_kwh));
        let (prices, currencies): (Vec<_>, Vec<_>) = prices.into_iter().unzip();
        script.step(
            "INSERT INTO intervals (session_id, number, start_us, end_us, energy_mwh, supply_energy_mwh, max_power_mw, \
             price_per_kwh, currency) \
             SELECT k.id, k.number, k.start_us, k.end_us, k.energy, k.supply, k.power, k.price::numeric, k.currency \
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
             $7::bigint[], $8::text[], $9::text[]) \
             AS k (id, number, start_us, end_us, energy, supply, power, price, currency)",
            values![
                each(&all, |(id, _)| *id),
                each(&all, |(_, (_, number))| *number),
                each(&all, |(_, (interval, _))| interval.start.map(to_us)),
                each(&all, |(_, (interval, _))| interval.end.map(to_us)),
                each(&all, |(_, (interval, _))| interval.energy.map(Energy::as_mwh)),
                each(&all, |(_, (interval, _))| interval.supply_energy.map(Energy::as_mwh)),
                each(&all, |(_, (interval, _))| interval.max_power.map(Power::as_mw)),
                prices,
                currencies,
            ],
        );
    }

    /// Adds what records say about others. What was known stays; of parents, the latest.
    fn link(&self, script: &mut Script<'a>) {
        let mut all = Vec::new();
        let mut places = HashMap::new();
        for (session, id) in self.sessions.iter().zip(&self.ids) {
            let identity = &session.identity;
            let parent = identity.parent.iter().map(|key| ("parent", key, None));
            let related =
                identity.related.iter().map(|other| (other.kind.as_str(), &other.key, other.confidence));
            for (relation, key, confidence) in parent.chain(related) {
                let confidence = confidence.map(|percent| percent.value().to_string());
                let link = (*id, relation, key, confidence);
                // Of the same said twice, the last.
                match places.get(&(*id, relation, key)) {
                    Some(place) => all[*place] = link,
                    None => {
                        places.insert((*id, relation, key), all.len());
                        all.push(link);
                    }
                }
            }
        }
        if all.is_empty() {
            return;
        }
        let parents: Vec<_> = all.iter().filter(|(_, relation, ..)| *relation == "parent").collect();
        if !parents.is_empty() {
            script.step(
                "DELETE FROM links l USING unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[]) \
                 AS k (id, provider, account, kind, hash) WHERE l.session_id = k.id AND l.relation = 'parent' \
                 AND (l.provider, l.account, l.kind, l.source_hash) <> (k.provider, k.account, k.kind, k.hash)",
                values![
                    each(&parents, |(id, ..)| *id),
                    each(&parents, |(_, _, key, _)| key.provider.as_str()),
                    each(&parents, |(_, _, key, _)| key.account.as_str().to_owned()),
                    each(&parents, |(_, _, key, _)| key.kind.as_str()),
                    each(&parents, |(_, _, key, _)| hash_of(&key.source_id)),
                ],
            );
        }
        script.step(
            "INSERT INTO links AS l (session_id, relation, provider, account, kind, source_id, source_hash, confidence) \
             SELECT k.id, k.relation, k.provider, k.account, k.kind, k.source_id, k.hash, k.confidence::numeric \
             FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], \
             $8::text[]) AS k (id, relation, provider, account, kind, source_id, hash, confidence) \
             ON CONFLICT (session_id, relation, provider, account, kind, source_hash) \
             DO UPDATE SET confidence = excluded.confidence WHERE l.confidence IS DISTINCT FROM excluded.confidence",
            values![
                each(&all, |(id, ..)| *id),
                each(&all, |(_, relation, ..)| *relation),
                each(&all, |(_, _, key, _)| key.provider.as_str()),
                each(&all, |(_, _, key, _)| key.account.as_str().to_owned()),
                each(&all, |(_, _, key, _)| key.kind.as_str()),
                each(&all, |(_, _, key, _)| written(&key.source_id).into_owned()),
                each(&all, |(_, _, key, _)| hash_of(&key.source_id)),
                each(&all, |(.., confidence)| confidence.clone()),
            ],
        );
    }

    /// Marks what did not come since the listing of a slice began.
    async fn vanish(&mut self, account_id: i64, slice: &Slice, began: i64) -> Written<()> {
        let mut sql = String::from(
            "SELECT s.id, s.revision_id, s.kind, s.source_id FROM sessions s \
             WHERE s.account_id = $1 AND s.kind = ANY($2) AND s.seen < $3 AND s.missing_us IS NULL",
        );
        let kinds = distinct(&slice.kinds);
        let mut values = values![account_id, each(&kinds, |kind| kind.as_str()), began];
        if let Some(window) = slice.window {
            sql.push_str(" AND s.start_us >= $4 AND s.start_us < $5");
            values.extend(values![to_us(window.from()), to_us(window.until())]);
        }
        if let Some(asset) = &slice.asset {
            values.extend(values![written(&asset.id)]);
            sql.push_str(&format!(" AND {}", is_of(asset.kind, &format!("${}", values.len()))));
        }
        let statement = self.t.prepare_cached(&sql).await?;
        let values: Vec<_> = values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect();
        let mut gone = Vec::new();
        for row in self.t.query(&statement, &values).await? {
            let kind: &str = row.try_get(2)?;
            let kind = *kinds.iter().find(|known| known.as_str() == kind).ok_or(Failure::Damaged)?;
            let source_id = text::read(row.try_get(3)?)?.into_owned();
            gone.push(((kind, source_id), row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?));
        }
        if gone.is_empty() {
            return Ok(());
        }
        gone.sort_unstable();
        let number = gone.len() as i64;
        let taken = self.t.prepare_cached(TAKE).await?;
        let base: i64 = self.t.query_one(&taken, &[&0_i64, &number]).await?.try_get(1)?;
        let new: Vec<i64> = (base + 1..=base + number).collect();
        let (before, ids) = (each(&gone, |(.., before)| *before), each(&gone, |(_, id, _)| *id));
        let mut script = Script::default();
        script.step(REPEAT, values![new.clone(), before, self.at_us, Reason::Vanished.as_str()]);
        script.step(REPEATED, values![ids, new, Some(self.at_us)]);
        script.run(self.t).await?;
        let Account { provider, account } = self.lease.account();
        let keys =
            gone.into_iter().map(|((kind, id), ..)| SessionKey::new(*provider, account.clone(), kind, id));
        self.changes.vanished.extend(keys);
        Ok(())
    }
}

/// Takes numbers for new sessions and revisions, and keeps others from taking any until this is committed.
const TAKE: &str = "UPDATE layout SET last_session = last_session + $1, last_revision = last_revision + $2 \
                    RETURNING last_session - $1, last_revision - $2";

/// A record, with the intervals that were known of it before if it comes without them.
fn with_intervals<'a>(
    session: &'a ChargingSession,
    before: Option<&str>,
) -> Written<Cow<'a, ChargingSession>> {
    let Some(before) = before else { return Ok(Cow::Borrowed(session)) };
    let before: ChargingSession = json(before)?;
    // Those of another energy are not those of this record.
    if before.energy != session.energy {
        return Ok(Cow::Borrowed(session));
    }
    let mut session = session.clone();
    session.details.intervals = before.details.intervals;
    Ok(Cow::Owned(session))
}

/// Puts records in quarantine. If it can be told which sessions they are of, those are still listed.
fn reject<'a>(
    script: &mut Script<'a>,
    Account { provider, account }: &Account,
    rejected: &[(Hash, &'a RejectedRecord)],
    payloads: &HashMap<Hash, i64>,
    kinds: &[RecordKind],
    (account_id, at_us, clock): (i64, i64, i64),
) -> Written<()> {
    if rejected.is_empty() {
        return Ok(());
    }
    let (mut payload_ids, mut contexts) = (Vec::new(), Vec::new());
    for (hash, record) in rejected {
        payload_ids.push(*payloads.get(hash).ok_or(Failure::Damaged)?);
        let context = record.context.as_ref().map(serde_json::to_string).transpose();
        contexts.push(context.map_err(|_| misuse("the context of a rejected record cannot be written"))?);
    }
    script.step(
        "INSERT INTO quarantine (account_id, payload_id, source_id, code, path, reason, context, first_seen_us, \
         last_seen_us) SELECT $1, k.payload_id, k.source_id, k.code, k.path, k.reason, k.context, $2, $2 \
         FROM unnest($3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[]) \
         WITH ORDINALITY AS k (payload_id, source_id, code, path, reason, context, place) ORDER BY k.place \
         ON CONFLICT (account_id, payload_id) DO UPDATE SET source_id = excluded.source_id, code = excluded.code, \
         path = excluded.path, reason = excluded.reason, context = excluded.context, \
         last_seen_us = excluded.last_seen_us",
        values![
            account_id,
            at_us,
            payload_ids,
            each(rejected, |(_, record)| record.id.as_deref().map(written)),
            each(rejected, |(_, record)| record.code.as_str().to_owned()),
            each(rejected, |(_, record)| written(&record.path)),
            each(rejected, |(_, record)| written(&record.reason)),
            contexts,
        ],
    );
    let ids = rejected.iter().filter_map(|(_, record)| record.id.as_deref());
    let keys = ids
        .flat_map(|id| kinds.iter().map(move |kind| SessionKey::new(*provider, account.clone(), *kind, id)));
    let handles: Vec<_> = keys.map(|key| key.id().to_string()).collect();
    script.step(
        "UPDATE sessions s SET last_seen_us = $3, seen = $4 \
         WHERE s.handle = ANY($2::text[]::uuid[]) AND s.account_id + 0 = $1",
        values![account_id, handles, at_us, clock],
    );
    Ok(())
}
