//! Writing, inside one transaction.

use std::{
    cell::RefMut,
    collections::HashMap,
    fs::{File, TryLockError},
    ops::Range,
    path::PathBuf,
};

use charging_sessions_core::{
    AssetKind, ChargingSession, Cursor, Detail, Energy, Error, ErrorKind, Interval, Payload, Power,
    RecordKind, RejectedRecord, SessionKey,
};
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, ToSql, params, params_from_iter};

use super::{
    Failure, Hold, SqliteLease, Writing, assets, error,
    keys::{self, NO_START, Waiting},
    lock, pack,
    places::NewPlaces,
    prepare::{Coming, Example, Outlook, Text},
    read::{self, Records},
};
use crate::{
    Account, Batch, Changes, Hash, Prepared, Reason, RunReport, Slice,
    columns::{asset_column, asset_ids, distinct, local_day, slice_text, split, to_us},
};

type Written<T> = Result<T, Failure>;

fn conflict(message: String) -> Failure {
    Failure::Refused(Error::new(ErrorKind::Conflict, message))
}

fn misuse(message: &str) -> Failure {
    Failure::Refused(Error::new(ErrorKind::Storage, message))
}

/// What is known of a record before it is written.
struct Known {
    id: i64,
    revision: u32,
    revision_id: i64,
    content: Hash,
    missing: bool,
    has_intervals: bool,
}

/// An account that may be written to.
struct Fenced {
    id: i64,
    writes: i64,
    example_id: Option<i64>,
}

/// Where a listing stands.
struct Place {
    cursor: Option<Cursor>,
    began_us: i64,
    began: i64,
    nameless: bool,
}

/// Writes the records of one account, in one batch.
struct Pen<'a> {
    writing: &'a Writing<'a>,
    account: &'a Account,
    account_id: i64,
    at_us: i64,
    /// `accounts.writes` of this batch.
    clock: i64,
    statements: Statements<'a>,
    waiting: RefMut<'a, Waiting>,
    first_session: i64,
    next_session: i64,
    /// The handles of the sessions that are new.
    handles: Vec<u8>,
    first_revision: i64,
    next_revision: i64,
    /// Where their payloads are.
    places: NewPlaces,
    /// What the revisions of the account are packed by.
    example: Option<Example>,
    /// What those of the next batch will be packed by, if that is another one.
    next_example: Option<Example>,
    /// Whether the last record was new or had changed.
    keeps: bool,
    changes: Changes,
}

/// What is run for each record, so that it is looked up once for all of them.
struct Statements<'a> {
    entered: CachedStatement<'a>,
    known: CachedStatement<'a>,
    seen: CachedStatement<'a>,
    insert_session: CachedStatement<'a>,
    insert_revision: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    fn new(c: &'a Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            entered: keys::entered(c)?,
            known: c.prepare_cached(
                "SELECT s.id, s.revision, s.revision_id, s.content, s.missing_us IS NOT NULL, \
                 EXISTS (SELECT 1 FROM intervals WHERE session_id = s.id) FROM sessions s WHERE s.id = ?",
            )?,
            seen: c.prepare_cached(
                "UPDATE sessions SET last_seen_us = ?, seen = ?, mapping_version = ? WHERE id = ?",
            )?,
            insert_session: c.prepare_cached(
                "INSERT INTO sessions (revision, revision_id, content, mapping_version, status, start_us, end_us, zone, \
                 local_day, energy_mwh, cost, currency, vehicle_id, vehicle_name, charge_point_id, location, counts, \
                 id, account_id, kind, source_id, handle, first_seen_us, last_seen_us, seen) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
            insert_revision: c.prepare_cached(
                "INSERT INTO revisions (id, session_id, number, before_id, at_us, reason, content, payload_id, \
                 payload_hash, payload_size, record_size, mapping_version, example_id, bytes) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?,
        })
    }
}

impl Writing<'_> {
    pub(super) fn begin(&self, account: Account, now: Timestamp) -> Written<SqliteLease> {
        let t = self.transaction;
        t.execute(
            "INSERT INTO accounts (provider, account) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (account.provider.as_str(), account.account.as_str()),
        )?;
        let id = read::account_id(t, &account)?.ok_or(Failure::Damaged)?;
        let hold = match &self.shared.path {
            None => lock(&self.shared.held).insert(id).then(|| Hold::Memory(self.shared.held.clone(), id)),
            Some(path) => {
                let mut name = path.clone().into_os_string();
                name.push(format!("-lock-{id}"));
                let name = PathBuf::from(name);
                let failed = |e: std::io::Error| {
                    let why = format!(
                        "cannot lock {}; check its permissions and those of its folder",
                        name.display()
                    );
                    Failure::Refused(error::storage(Some(path), &why).with_source(e))
                };
                // Never removed: who opened it just before would hold a lock that nobody sees.
                let file = File::options().create(true).append(true).open(&name).map_err(failed)?;
                match file.try_lock() {
                    Ok(()) => Some(Hold::File { _locked: file }),
                    Err(TryLockError::WouldBlock) => None,
                    Err(TryLockError::Error(e)) => return Err(failed(e)),
                }
            }
        };
        let Some(hold) = hold else { return Err(self.taken(&account, id)?) };
        let epoch = t.query_row(
            "UPDATE accounts SET epoch = epoch + 1, writer = ?, began_us = ? WHERE id = ? RETURNING epoch",
            (format!("process {}", std::process::id()), to_us(now), id),
            |row| row.get::<_, i64>(0),
        )?;
        Ok(SqliteLease { account, epoch: epoch.cast_unsigned(), _hold: hold })
    }

    /// Says who is writing already.
    fn taken(&self, account: &Account, id: i64) -> Written<Failure> {
        let (writer, began): (Option<String>, Option<i64>) = self.transaction.query_row(
            "SELECT writer, began_us FROM accounts WHERE id = ?",
            [id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let writer = writer.unwrap_or_else(|| "another process".into());
        let since = began.and_then(|us| Timestamp::from_microsecond(us).ok());
        let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
        Ok(conflict(format!("{account} is being written to by {writer}{since}; wait until it ends")))
    }

    /// The account, if the lease is its latest.
    fn fence(&self, account: &Account, epoch: u64) -> Written<Fenced> {
        let sql = "SELECT id, writes, example_id, epoch FROM accounts WHERE provider = ? AND account = ?";
        let mut found = self.transaction.prepare_cached(sql)?;
        let key = (account.provider.as_str(), account.account.as_str());
        let latest = found
            .query_row(key, |row| {
                let fenced = Fenced { id: row.get(0)?, writes: row.get(1)?, example_id: row.get(2)? };
                Ok((fenced, row.get::<_, i64>(3)?))
            })
            .optional()?;
        match latest {
            Some((fenced, latest)) if latest.cast_unsigned() == epoch => Ok(fenced),
            _ => Err(conflict(format!("another run has begun to write to {account}; this one must stop"))),
        }
    }

    fn pen<'a>(&'a self, account: &'a Account, epoch: u64, at: Timestamp) -> Written<Pen<'a>> {
        let Fenced { id: account_id, writes: clock, example_id } = self.fence(account, epoch)?;
        let example = |id| read::example_of(self.transaction, id).map(|example| (id, example.into()));
        let example = example_id.map(example).transpose()?;
        let [next_session, next_revision] = self
            .transaction
            .prepare_cached(
                "SELECT coalesce((SELECT max(id) FROM sessions), 0) + 1, \
                 coalesce((SELECT max(id) FROM revisions), 0) + 1",
            )?
            .query_row([], |row| Ok([row.get(0)?, row.get(1)?]))?;
        let mut waiting = self.waiting.borrow_mut();
        waiting.refresh(self.transaction)?;
        Ok(Pen {
            writing: self,
            account,
            account_id,
            at_us: to_us(at),
            clock,
            statements: Statements::new(self.transaction)?,
            waiting,
            first_session: next_session,
            next_session,
            handles: Vec::new(),
            first_revision: next_revision,
            next_revision,
            places: NewPlaces::from(next_revision),
            example,
            next_example: None,
            keeps: false,
            changes: Changes::default(),
        })
    }

    pub(super) fn commit(&self, account: &Account, epoch: u64, batch: &Batch) -> Written<Changes> {
        let mut pen = self.pen(account, epoch, batch.at)?;
        pen.clock += 1;
        self.run("UPDATE accounts SET writes = ? WHERE id = ?", params![pen.clock, pen.account_id])?;
        let slice = slice_text(&batch.slice);
        let mut place = pen.place(&slice)?;
        if place.cursor != batch.from {
            let message = format!(
                "the listing of {account} has gone on elsewhere since this page was read; go on from the stored place"
            );
            return Err(conflict(message));
        }
        pen.put_all(&batch.sessions, &batch.prepared, None)?;
        pen.acquit(&batch.sessions)?;
        for record in &batch.rejected {
            pen.reject(record, &batch.slice.kinds)?;
            place.nameless |= record.id.is_none();
        }
        if let Some(next) = &batch.next {
            self.run(
                "INSERT INTO places (account_id, slice, cursor, began_us, began, nameless) VALUES (?, ?, ?, ?, ?, ?) \
                 ON CONFLICT DO UPDATE SET cursor = excluded.cursor, nameless = excluded.nameless",
                params![pen.account_id, slice, next.as_str(), place.began_us, place.began, place.nameless],
            )?;
        } else {
            self.run(
                "DELETE FROM places WHERE account_id = ? AND slice = ?",
                params![pen.account_id, slice],
            )?;
            self.run(
                "INSERT INTO coverage (account_id, slice, from_us, began_us, completed_us) VALUES (?, ?, ?, ?, ?) \
                 ON CONFLICT DO UPDATE SET began_us = excluded.began_us, completed_us = excluded.completed_us",
                params![
                    pen.account_id,
                    slice,
                    batch.slice.window.map(|window| to_us(window.from())),
                    place.began_us,
                    pen.at_us
                ],
            )?;
            // What came without an identifier may be any of those that are missed.
            if !place.nameless {
                pen.vanish(&batch.slice, place.began)?;
            }
        }
        pen.finish()
    }

    pub(super) fn remap(
        &self,
        account: &Account,
        epoch: u64,
        sessions: &[ChargingSession],
        now: Timestamp,
    ) -> Written<Changes> {
        let mut pen = self.pen(account, epoch, now)?;
        pen.put_all(sessions, &Prepared::default(), Some(Reason::Remapped))?;
        pen.finish()
    }

    pub(super) fn restart(&self, account: &Account, epoch: u64, slice: &Slice) -> Written<()> {
        let Fenced { id, .. } = self.fence(account, epoch)?;
        let slice = slice_text(slice);
        self.run("DELETE FROM places WHERE account_id = ? AND slice = ?", params![id, slice])?;
        Ok(())
    }

    pub(super) fn release(&self, account: &Account, epoch: u64, payloads: &[Hash]) -> Written<()> {
        let Fenced { id, .. } = self.fence(account, epoch)?;
        for hash in payloads {
            let sql = "DELETE FROM quarantine WHERE account_id = ? \
                       AND payload_id = (SELECT id FROM payloads WHERE hash = ?)";
            self.run(sql, params![id, hash.as_bytes()])?;
        }
        Ok(())
    }

    pub(super) fn log_run(&self, account: &Account, epoch: u64, run: &RunReport) -> Written<()> {
        let Fenced { id, .. } = self.fence(account, epoch)?;
        let mut waiting = self.waiting.borrow_mut();
        waiting.refresh(self.transaction)?;
        waiting.enter(self.transaction)?;
        let [new, changed, unchanged, returned, vanished, quarantined] = run.counts.map(u64::cast_signed);
        self.run(
            "INSERT INTO runs (account_id, epoch, began_us, ended_us, requests, new, changed, unchanged, returned, \
             vanished, quarantined, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                id,
                epoch.cast_signed(),
                to_us(run.began_at),
                to_us(run.ended_at),
                run.requests.cast_signed(),
                new,
                changed,
                unchanged,
                returned,
                vanished,
                quarantined,
                run.error
            ],
        )?;
        Ok(())
    }

    fn run(&self, sql: &str, params: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        self.transaction.prepare_cached(sql)?.execute(params)
    }
}

impl Pen<'_> {
    /// Where the listing of a slice stands; at its beginning, if nothing else is known.
    fn place(&self, slice: &str) -> rusqlite::Result<Place> {
        let sql = "SELECT cursor, began_us, began, nameless FROM places WHERE account_id = ? AND slice = ?";
        let mut found = self.writing.transaction.prepare_cached(sql)?;
        let known = found.query_row((self.account_id, slice), |row| {
            let cursor = Some(Cursor::from(row.get_ref(0)?.as_str()?));
            Ok(Place { cursor, began_us: row.get(1)?, began: row.get(2)?, nameless: row.get(3)? })
        });
        let beginning = Place { cursor: None, began_us: self.at_us, began: self.clock, nameless: false };
        Ok(known.optional()?.unwrap_or(beginning))
    }

    /// Writes records: those of a listing, or of a remapping, which is then their reason.
    fn put_all(
        &mut self,
        sessions: &[ChargingSession],
        prepared: &Prepared,
        reason: Option<Reason>,
    ) -> Written<()> {
        let mut last = HashMap::with_capacity(sessions.len());
        for (place, session) in sessions.iter().enumerate() {
            let key = session.key();
            if (key.provider, &key.account) != (self.account.provider, &self.account.account) {
                return Err(misuse("a record of another account than that of the lease was to be written"));
            }
            last.insert((key.kind, &*key.source_id), place);
        }
        let mut text = Text::default();
        let is_of_use = prepared.is_by(&self.writing.shared.mark, sessions.len());
        let mut prepared = is_of_use.then(|| prepared.of(sessions));
        for (place, session) in sessions.iter().enumerate() {
            let coming = prepared.as_mut().and_then(Iterator::next);
            let key = session.key();
            // The same record twice on a page is one record, as it came last.
            if last.get(&(key.kind, &*key.source_id)) == Some(&place) {
                let coming = coming.unwrap_or_else(|| Coming::new(session, &mut text));
                let revisions = self.next_revision;
                self.put(coming, &mut text, reason)?;
                self.keeps = self.next_revision > revisions;
            }
        }
        Ok(())
    }

    /// The number of a session with this key and its handle, if it is known.
    fn find(&mut self, key: &SessionKey, handle: &[u8]) -> rusqlite::Result<Option<i64>> {
        let entered = &mut self.statements.entered;
        self.waiting.find(self.writing.transaction, entered, self.account_id, key, handle)
    }

    fn known(&mut self, key: &SessionKey, handle: &[u8]) -> rusqlite::Result<Option<Known>> {
        let Some(id) = self.find(key, handle)? else { return Ok(None) };
        self.statements
            .known
            .query_row([id], |row| {
                Ok(Known {
                    id: row.get(0)?,
                    revision: row.get(1)?,
                    revision_id: row.get(2)?,
                    content: row.get(3)?,
                    missing: row.get(4)?,
                    has_intervals: row.get(5)?,
                })
            })
            .optional()
    }

    fn put(&mut self, coming: Coming<'_>, text: &mut Text, remapped: Option<Reason>) -> Written<()> {
        let session = coming.session;
        let key = session.key();
        let known = self.known(key, &coming.handle)?;
        let intervals = match &known {
            Some(known) if known.has_intervals && session.details.intervals == Detail::NotFetched => {
                self.intervals(known, session)?
            }
            _ => None,
        };
        let with_intervals = intervals.map(|intervals| {
            let mut session = session.clone();
            session.details.intervals = intervals;
            session
        });
        let coming = match &with_intervals {
            Some(session) => Coming::new(session, text),
            None => coming,
        };
        let (session, content) = (coming.session, coming.content);
        let listed = remapped.is_none();
        let returned = listed && known.as_ref().is_some_and(|known| known.missing);
        let mapping_version = session.provenance.mapping_version;
        if returned {
            self.changes.returned.push(key.clone());
        }
        let id = match known {
            Some(known) if known.content == content => {
                if listed {
                    let seen = params![self.at_us, self.clock, mapping_version, known.id];
                    self.statements.seen.execute(seen)?;
                } else {
                    let sql = "UPDATE sessions SET mapping_version = ? WHERE id = ?";
                    self.writing.run(sql, params![mapping_version, known.id])?;
                }
                if returned {
                    self.repeat(&known, Reason::Returned, None)?;
                } else {
                    self.changes.unchanged += 1;
                }
                known.id
            }
            known => {
                let reason = match (&known, returned) {
                    (None, _) => Reason::New,
                    (Some(_), true) => Reason::Returned,
                    (Some(_), false) => remapped.unwrap_or(Reason::Changed),
                };
                let changed = if known.is_some() { &mut self.changes.changed } else { &mut self.changes.new };
                changed.push(key.clone());
                self.revise(&coming, text, known.as_ref(), reason)?
            }
        };
        self.link(id, session)?;
        Ok(())
    }

    /// Writes a record that is new or has another content than before. The number of its session.
    fn revise(
        &mut self,
        coming: &Coming<'_>,
        text: &mut Text,
        known: Option<&Known>,
        reason: Reason,
    ) -> Written<i64> {
        let (session, content) = (coming.session, &coming.content);
        let key = session.key();
        let number = known.map_or(1, |known| known.revision.saturating_add(1));
        let revision_id = self.next_revision;
        self.next_revision += 1;
        let before = known.map(|known| self.payload_of(known)).transpose()?.flatten();
        let received = session.provenance.payload.as_ref().map(Payload::as_bytes);
        let payload = match &coming.kept {
            Some((kept, _)) => kept.payload,
            None => received.map(Hash::of),
        };
        let payload_id = match payload {
            Some(hash) => match before {
                // It has changed for another reason, such as where it is read from.
                Some((id, before)) if before == hash => Some(id),
                _ => Some(revision_id),
            },
            // What is mapped anew was read from where it was read from before.
            None => before.filter(|_| reason == Reason::Remapped).map(|(id, _)| id),
        };
        let listed = reason != Reason::Remapped;
        let period = &session.timing.period;
        let zone = session.timing.zone.as_ref().map(|zone| zone.name.as_str());
        let parties = &session.parties;
        let [vehicle_id, charge_point_id] = asset_ids(session);
        let money = session.costs.cost.as_ref().map(|cost| cost.money);
        let (cost, currency) = split(money);
        let current: [&dyn ToSql; 17] = [
            &number,
            &revision_id,
            content.as_bytes(),
            &session.provenance.mapping_version,
            &session.state.status.as_str(),
            &period.start.map(to_us),
            &period.end.map(to_us),
            &zone,
            &period.start.map(|start| local_day(start, zone, self.writing.zone)),
            &session.energy.headline().map(Energy::as_mwh),
            &cost,
            &currency,
            &vehicle_id,
            &parties.vehicle.as_ref().and_then(|vehicle| vehicle.name.as_deref()),
            &charge_point_id,
            &session.place.location.as_ref().and_then(|place| place.label.as_deref()),
            &session.counts(),
        ];
        // Two statements, because that of an upsert takes longer, even where nothing is there to be changed.
        let id = if let Some(known) = known {
            self.move_known(known.id, session)?;
            let mut update = self.writing.transaction.prepare_cached(
                "UPDATE sessions SET revision = ?, revision_id = ?, content = ?, mapping_version = ?, status = ?, \
                 start_us = ?, end_us = ?, zone = ?, local_day = ?, energy_mwh = ?, cost = ?, currency = ?, \
                 vehicle_id = ?, vehicle_name = ?, charge_point_id = ?, location = ?, counts = ? WHERE id = ?",
            )?;
            update.execute(params_from_iter(current.into_iter().chain([&known.id as &dyn ToSql])))?;
            if listed {
                let sql = "UPDATE sessions SET last_seen_us = ?, seen = ?, missing_us = NULL WHERE id = ?";
                self.writing.run(sql, params![self.at_us, self.clock, known.id])?;
            }
            known.id
        } else {
            let handle = &coming.handle;
            self.handles.extend_from_slice(handle);
            let id = self.next_session;
            self.waiting.add(id, handle, self.account_id, vehicle_id, charge_point_id);
            self.next_session += 1;
            let added: [&dyn ToSql; 8] = [
                &id,
                &self.account_id,
                &key.kind.as_str(),
                &key.source_id,
                handle,
                &self.at_us,
                &self.at_us,
                &self.clock,
            ];
            self.statements.insert_session.execute(params_from_iter(current.into_iter().chain(added)))?;
            id
        };
        let own = payload.filter(|_| payload_id == Some(revision_id));
        if let Some(hash) = &own {
            self.places.add(hash, revision_id);
        }
        // A revision before has the payload, if there is one.
        let received = received.filter(|_| own.is_some()).unwrap_or_default();
        let prepared = coming.kept.filter(|(kept, _)| kept.payload_size == received.len());
        let (record_size, example_id, bytes) = match prepared {
            Some((kept, bytes)) => (kept.record_size, Some(kept.example_id), bytes),
            None => {
                if !coming.is_written {
                    text.write_content(session);
                }
                let plain = text.write(session, received);
                let (plain, packed) = (&text.plain[plain], &mut text.packed);
                packed.clear();
                let (example_id, bytes) = self.pack(plain, revision_id, packed);
                (plain.len() - received.len(), example_id, bytes.map_or(plain, |bytes| &packed[bytes]))
            }
        };
        self.statements.insert_revision.execute(params![
            revision_id,
            id,
            number,
            known.map(|known| known.revision_id),
            self.at_us,
            reason.as_str(),
            content.as_bytes(),
            payload_id,
            own.as_ref().map(Hash::as_bytes),
            received.len() as i64,
            record_size as i64,
            session.provenance.mapping_version,
            example_id,
            bytes,
        ])?;
        if known.is_some() {
            self.writing.run("DELETE FROM intervals WHERE session_id = ?", params![id])?;
        }
        if let Detail::Some(intervals) = &session.details.intervals {
            for (number, interval) in intervals.iter().enumerate() {
                let (price, currency) = split(interval.price_per_kwh);
                self.writing.run(
                    "INSERT INTO intervals (session_id, number, start_us, end_us, energy_mwh, supply_energy_mwh, \
                     max_power_mw, price_per_kwh, currency) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    params![
                        id,
                        number as i64,
                        interval.start.map(to_us),
                        interval.end.map(to_us),
                        interval.energy.map(Energy::as_mwh),
                        interval.supply_energy.map(Energy::as_mwh),
                        interval.max_power.map(Power::as_mw),
                        price,
                        currency
                    ],
                )?;
            }
        }
        Ok(id)
    }

    /// Which revision has the payload of a known session, and what that hashes to.
    fn payload_of(&self, known: &Known) -> rusqlite::Result<Option<(i64, Hash)>> {
        let sql = "SELECT p.id, p.payload_hash FROM revisions r JOIN revisions p ON p.id = r.payload_id \
                   WHERE r.id = ? AND p.payload_hash IS NOT NULL";
        let mut found = self.writing.transaction.prepare_cached(sql)?;
        found.query_row([known.revision_id], |row| Ok((row.get(0)?, row.get(1)?))).optional()
    }

    /// Lets a known session be found by the start that it has now, and by the assets that it is of.
    fn move_known(&self, id: i64, session: &ChargingSession) -> rusqlite::Result<()> {
        let t = self.writing.transaction;
        let mut before = t.prepare_cached(
            "SELECT start_us, vehicle_id IS ?, charge_point_id IS ? FROM sessions WHERE id = ?",
        )?;
        let now = asset_ids(session);
        let (start, same): (Option<i64>, [bool; 2]) =
            before.query_row((now[0], now[1], id), |row| Ok((row.get(0)?, [row.get(1)?, row.get(2)?])))?;
        let start_now = session.timing.period.start.map(to_us);
        if start != start_now && id <= self.waiting.end() {
            let [start, start_now] = [start, start_now].map(|start| start.unwrap_or(NO_START));
            let sql = "UPDATE session_starts SET start_us = ? WHERE account_id = ? AND start_us = ? AND session_id = ?";
            self.writing.run(sql, params![start_now, self.account_id, start, id])?;
        }
        for ((kind, asset), same) in
            [AssetKind::Vehicle, AssetKind::ChargePoint].into_iter().zip(now).zip(same)
        {
            if let Some(asset) = asset.filter(|_| !same) {
                assets::moved(t, id, self.account_id, kind, asset)?;
            }
        }
        Ok(())
    }

    /// What a revision is packed by, and where it then is in `packed`, if that makes it shorter. It becomes an example
    /// itself, if there is none, or if it is unlike the one there is.
    fn pack(&mut self, plain: &[u8], id: i64, packed: &mut Vec<u8>) -> (Option<i64>, Option<Range<usize>>) {
        let has_next = self.next_example.is_some();
        if let Some((example_id, example)) = &self.example
            && let Some(bytes) = pack::pack(plain, example, packed)
            && (has_next || !pack::has_become_unlike(plain.len(), bytes.len()))
        {
            return (Some(*example_id), Some(bytes));
        }
        if pack::suits(plain.len()) && !has_next {
            let example = (id, plain.into());
            // The first one is of use at once.
            self.example.get_or_insert_with(|| Example::clone(&example));
            self.next_example = Some(example);
        }
        (None, pack::pack(plain, &[], packed))
    }

    /// Adds a revision with the same record, because it has vanished or is there again.
    fn repeat(&mut self, known: &Known, reason: Reason, missing_us: Option<i64>) -> rusqlite::Result<()> {
        self.writing.run(
            "INSERT INTO revisions (id, session_id, number, before_id, at_us, reason, content, payload_id, \
             payload_size, record_size, mapping_version, example_id, bytes) SELECT ?, session_id, number + 1, id, ?, ?, \
             content, payload_id, payload_size, record_size, mapping_version, example_id, bytes \
             FROM revisions WHERE id = ?",
            params![self.next_revision, self.at_us, reason.as_str(), known.revision_id],
        )?;
        self.writing.run(
            "UPDATE sessions SET revision = revision + 1, revision_id = ?, missing_us = ? WHERE id = ?",
            params![self.next_revision, missing_us, known.id],
        )?;
        self.next_revision += 1;
        Ok(())
    }

    /// Adds what a record says about others. What was known stays; of parents, the latest.
    fn link(&self, id: i64, session: &ChargingSession) -> rusqlite::Result<()> {
        let identity = &session.identity;
        if identity.parent.is_some() {
            self.writing
                .run("DELETE FROM links WHERE session_id = ? AND relation = 'parent'", params![id])?;
        }
        let parent = identity.parent.iter().map(|key| ("parent", key, None));
        let related =
            identity.related.iter().map(|other| (other.kind.as_str(), &other.key, other.confidence));
        for (relation, key, confidence) in parent.chain(related) {
            self.writing.run(
                "INSERT INTO links (session_id, relation, provider, account, kind, source_id, confidence) \
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET confidence = excluded.confidence",
                params![
                    id,
                    relation,
                    key.provider.as_str(),
                    key.account.as_str(),
                    key.kind.as_str(),
                    key.source_id,
                    confidence.map(|percent| percent.value().to_string())
                ],
            )?;
        }
        Ok(())
    }

    /// Keeps the bytes of what could not be mapped, once. Their number.
    fn keep(&self, payload: &Payload) -> Written<i64> {
        let t = self.writing.transaction;
        let (plain, mut packed) = (payload.as_bytes(), Vec::new());
        let hash = Hash::of(plain);
        let known = t
            .prepare_cached("SELECT id FROM payloads WHERE hash = ?")?
            .query_row([hash.as_bytes()], |row| row.get(0))
            .optional()?;
        if let Some(id) = known {
            return Ok(id);
        }
        let bytes = pack::pack(plain, &[], &mut packed).map_or(plain, |bytes| &packed[bytes]);
        self.writing.run(
            "INSERT INTO payloads (hash, size, bytes) VALUES (?, ?, ?)",
            params![hash.as_bytes(), plain.len() as i64, bytes],
        )?;
        Ok(t.last_insert_rowid())
    }

    /// Writes down what is kept of the batch as a whole.
    fn finish(mut self) -> Written<Changes> {
        let Writing { transaction, .. } = self.writing;
        self.places.store(transaction, self.next_revision - 1)?;
        if let Some((id, _)) = &self.next_example {
            let sql = "UPDATE accounts SET example_id = ? WHERE id = ?";
            self.writing.run(sql, params![id, self.account_id])?;
        }
        if !self.handles.is_empty() {
            let sql = "INSERT INTO handles (first_id, handles) VALUES (?, ?)";
            self.writing.run(sql, params![self.first_session, self.handles])?;
            self.waiting.enter_many(transaction)?;
        }
        if self.next_revision > self.first_revision {
            let sql = "INSERT INTO revision_times (first_id, at_us) VALUES (?, ?)";
            self.writing.run(sql, params![self.first_revision, self.at_us])?;
        }
        let outlook = Outlook { keeps: self.keeps, example: self.next_example.or(self.example) };
        self.writing.outlook.replace(Some((self.account.clone(), outlook)));
        Ok(self.changes)
    }

    /// Takes out of quarantine what has come whole.
    fn acquit(&self, sessions: &[ChargingSession]) -> Written<()> {
        let any = "SELECT EXISTS (SELECT 1 FROM quarantine WHERE account_id = ? AND source_id IS NOT NULL)";
        let any: bool =
            self.writing.transaction.prepare_cached(any)?.query_row([self.account_id], |row| row.get(0))?;
        for session in sessions.iter().filter(|_| any) {
            let sql = "DELETE FROM quarantine WHERE account_id = ? AND source_id = ?";
            self.writing.run(sql, params![self.account_id, session.key().source_id])?;
        }
        Ok(())
    }

    /// The intervals of a record that has some, unless they are not those of this session.
    fn intervals(&self, known: &Known, session: &ChargingSession) -> Written<Option<Detail<Vec<Interval>>>> {
        let t = self.writing.transaction;
        let mut found = t.prepare_cached(
            "SELECT payload_size, record_size, bytes, example_id FROM revisions WHERE id = ?",
        )?;
        let mut rows = found.query([known.revision_id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let before = Records::new(t).read(row, 0)?;
        // Those of another energy are not those of this record.
        Ok((before.energy == session.energy).then_some(before.details.intervals))
    }

    /// Puts a record in quarantine. If it can be told which session it is of, that one is still listed.
    fn reject(&mut self, record: &RejectedRecord, kinds: &[RecordKind]) -> Written<()> {
        let payload_id = self.keep(&record.payload)?;
        let context = record.context.as_ref().map(serde_json::to_string).transpose();
        let context = context.map_err(|_| misuse("the context of a rejected record cannot be written"))?;
        let mut known = self
            .writing
            .transaction
            .prepare_cached("SELECT 1 FROM quarantine WHERE account_id = ? AND payload_id = ?")?;
        if !known.exists((self.account_id, payload_id))? {
            self.changes.quarantined += 1;
        }
        self.writing.run(
            "INSERT INTO quarantine (account_id, payload_id, source_id, code, path, reason, context, first_seen_us, \
             last_seen_us) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8) ON CONFLICT DO UPDATE SET \
             source_id = excluded.source_id, code = excluded.code, path = excluded.path, reason = excluded.reason, \
             context = excluded.context, last_seen_us = excluded.last_seen_us",
            params![
                self.account_id,
                payload_id,
                record.id,
                record.code.as_str(),
                record.path,
                record.reason,
                context,
                self.at_us
            ],
        )?;
        for (id, kind) in record.id.iter().flat_map(|id| kinds.iter().map(move |kind| (id, kind))) {
            let Account { provider, account } = self.account;
            let key = SessionKey::new(*provider, account.clone(), *kind, id.clone());
            let found = self.find(&key, key.id().as_bytes())?;
            let sql = "UPDATE sessions SET last_seen_us = ?, seen = ? WHERE id = ?";
            self.writing.run(sql, params![self.at_us, self.clock, found])?;
        }
        Ok(())
    }

    /// Marks what did not come since the listing of a slice began.
    fn vanish(&mut self, slice: &Slice, began: i64) -> Written<()> {
        let t = self.writing.transaction;
        let window = slice.window.map(|window| (to_us(window.from()), to_us(window.until())));
        // One that has no start belongs to no window.
        let (from, until) = window.unwrap_or((NO_START, i64::MAX));
        let runs = match &slice.asset {
            Some(asset) => {
                let runs = self.waiting.of_asset(t, self.account_id, asset)?;
                let sql = "SELECT 1 FROM session_starts WHERE account_id = ? AND start_us >= ? AND start_us < ? \
                           LIMIT 1 OFFSET ?";
                let count = assets::count(&runs);
                // Whichever are fewer: the sessions of the asset, or those that wait and those of the window.
                let fewer = window.is_none()
                    || count <= self.waiting.len()
                    || t.prepare_cached(sql)?.exists((self.account_id, from, until, count))?;
                fewer.then_some(runs)
            }
            None => None,
        };
        // Those of an asset, or those that wait to be entered among the others, by their numbers; the others by their
        // starts.
        let by_start = runs.is_none();
        let runs = runs.unwrap_or_else(|| vec![(self.waiting.end() + 1, i64::MAX)]);
        let asset = slice.asset.as_ref();
        let of_asset =
            asset.map(|asset| format!(" AND s.{} = ?", asset_column(asset.kind))).unwrap_or_default();
        let query = |tables: &str, condition: &str| {
            format!(
                "SELECT s.id, s.revision, s.revision_id, s.content, s.source_id FROM {tables} WHERE {condition} \
                 AND s.kind = ? AND s.seen < ? AND s.missing_us IS NULL{of_asset}"
            )
        };
        let by_id = query(
            "sessions s",
            "s.id >= ? AND s.id <= ? AND +s.account_id = ? AND coalesce(+s.start_us, ?) >= ? \
             AND coalesce(+s.start_us, ?) < ?",
        );
        let starts = query(
            "session_starts b CROSS JOIN sessions s ON s.id = b.session_id",
            "b.account_id = ? AND b.start_us >= ? AND b.start_us < ?",
        );
        for kind in distinct(&slice.kinds) {
            let mut gone: Vec<(String, Known)> = Vec::new();
            let mut look = |sql: &str, condition: &[&dyn ToSql]| -> rusqlite::Result<()> {
                let mut found = t.prepare_cached(sql)?;
                let word = kind.as_str();
                let rest: [&dyn ToSql; 2] = [&word, &began];
                let id = asset.iter().map(|asset| &asset.id as &dyn ToSql);
                let values = condition.iter().copied().chain(rest).chain(id);
                let mut rows = found.query(params_from_iter(values))?;
                while let Some(row) = rows.next()? {
                    let known = Known {
                        id: row.get(0)?,
                        revision: row.get(1)?,
                        revision_id: row.get(2)?,
                        content: row.get(3)?,
                        missing: false,
                        has_intervals: false,
                    };
                    gone.push((row.get(4)?, known));
                }
                Ok(())
            };
            if by_start {
                look(&starts, params![self.account_id, from, until])?;
            }
            for (first, last) in &runs {
                look(&by_id, params![first, last, self.account_id, NO_START, from, NO_START, until])?;
            }
            gone.sort_by(|(one, _), (other, _)| one.cmp(other));
            for (source_id, known) in gone {
                self.repeat(&known, Reason::Vanished, Some(self.at_us))?;
                let Account { provider, account } = self.account;
                self.changes.vanished.push(SessionKey::new(*provider, account.clone(), kind, source_id));
            }
        }
        Ok(())
    }
}
