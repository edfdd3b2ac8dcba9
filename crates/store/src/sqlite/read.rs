//! Reading.

use std::collections::BTreeSet;

use charging_sessions_core::{
    AssetKind, ChargingSession, Cursor, IssueCode, Payload, RejectedRecord, Relation, SessionKey,
};
use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension as _, Params, Row, ToSql, params,
    types::{FromSql, FromSqlError, FromSqlResult, ValueRef},
};

use super::{Failure, assets, keys, pack, places};
use crate::{
    Account, Coverage, Filter, Hash, Quarantined, Reason, Recorded, Revision, RunReport, Slice,
    StoredSession,
    columns::{asset_column, handle_bound, instant, json_bytes, slice, slice_text, to_us, word},
};

pub(super) type Read<T> = Result<T, Failure>;

impl FromSql for Hash {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes: [u8; 32] = value.as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self::from(bytes))
    }
}

/// Every row that a query has, as `read` makes it.
fn rows<T>(
    c: &Connection,
    sql: &str,
    params: impl Params,
    mut read: impl FnMut(&Row<'_>) -> Read<T>,
) -> Read<Vec<T>> {
    let mut statement = c.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(read(row)?);
    }
    Ok(all)
}

pub(super) fn account_id(c: &Connection, account: &Account) -> rusqlite::Result<Option<i64>> {
    c.prepare_cached("SELECT id FROM accounts WHERE provider = ? AND account = ?")?
        .query_row((account.provider.as_str(), account.account.as_str()), |row| row.get(0))
        .optional()
}

/// The accounts with their numbers, in order.
fn numbered_accounts(c: &Connection) -> Read<Vec<(i64, Account)>> {
    let sql = "SELECT id, provider, account FROM accounts ORDER BY provider, account";
    rows(c, sql, [], |row| Ok((row.get(0)?, account(row, 1)?)))
}

/// The account whose two parts stand at `column` and after it.
fn account(row: &Row<'_>, column: usize) -> Read<Account> {
    let text = |column| row.get_ref(column)?.as_str().map_err(|_| Failure::Damaged);
    Ok(Account { provider: word(text(column)?)?, account: word(text(column + 1)?)? })
}

pub(super) fn accounts(c: &Connection) -> Read<Vec<Account>> {
    Ok(numbered_accounts(c)?.into_iter().map(|(_, account)| account).collect())
}

pub(super) fn place(c: &Connection, account: &Account, slice: &Slice) -> Read<Option<Cursor>> {
    let sql = "SELECT p.cursor FROM places p JOIN accounts a ON a.id = p.account_id \
               WHERE a.provider = ? AND a.account = ? AND p.slice = ?";
    let mut found = c.prepare_cached(sql)?;
    let key = (account.provider.as_str(), account.account.as_str(), slice_text(slice));
    Ok(found.query_row(key, |row| Ok(Cursor::from(row.get_ref(0)?.as_str()?))).optional()?)
}

/// Reads what revisions have, of which many in a row are packed by the same example.
pub(super) struct Records<'c> {
    c: &'c Connection,
    example: Option<(i64, Vec<u8>)>,
    plain: Vec<u8>,
}

impl<'c> Records<'c> {
    pub(super) fn new(c: &'c Connection) -> Self {
        Self { c, example: None, plain: Vec::new() }
    }

    /// The record whose sizes, bytes and example stand at `column` and after it.
    pub(super) fn read(&mut self, row: &Row<'_>, column: usize) -> Read<ChargingSession> {
        let (_, record) = self.both(row, column)?;
        Ok(json_bytes(record)?)
    }

    /// The payload, which is empty if another revision has it, and the record.
    fn both<'r>(&'r mut self, row: &'r Row<'_>, column: usize) -> Read<(&'r [u8], &'r [u8])> {
        let (payload_size, size) = sizes(row, column)?;
        let example = match row.get::<_, Option<i64>>(column + 3)? {
            None => &[][..],
            Some(id) => match &mut self.example {
                Some((known, example)) if *known == id => example,
                other => &other.insert((id, example_of(self.c, id)?)).1,
            },
        };
        let plain = pack::unpack(size, blob(row, column + 2)?, example, &mut self.plain)?;
        Ok(plain.split_at(payload_size))
    }
}

/// How long the payload is, and the payload and the record together; both stand at `column` and after it.
fn sizes(row: &Row<'_>, column: usize) -> Read<(usize, usize)> {
    let size = |column| usize::try_from(row.get::<_, i64>(column)?).map_err(|_| Failure::Damaged);
    let payload: usize = size(column)?;
    Ok((payload, payload.checked_add(size(column + 1)?).ok_or(Failure::Damaged)?))
}

/// What a revision has that others are packed by, and that itself needs none.
pub(super) fn example_of(c: &Connection, revision_id: i64) -> Read<Vec<u8>> {
    let sql = "SELECT payload_size, record_size, bytes FROM revisions WHERE id = ?";
    let plain = |row: &Row<'_>| unpacked(sizes(row, 0)?.1, blob(row, 2)?);
    rows(c, sql, [revision_id], plain)?.pop().ok_or(Failure::Damaged)
}

/// What had this size and was packed by itself, or not at all.
fn unpacked(size: usize, bytes: &[u8]) -> Read<Vec<u8>> {
    Ok(pack::unpack(size, bytes, &[], &mut Vec::new())?.to_vec())
}

/// The hash of the payload of the revision `r`, in SQL.
const PAYLOAD_HASH: &str = "CASE WHEN r.payload_id = r.id THEN r.payload_hash \
                            ELSE (SELECT payload_hash FROM revisions WHERE id = r.payload_id) END";

/// A query of what makes a [`StoredSession`], out of tables of which `s` is that of the sessions.
fn stored_from(tables: &str) -> String {
    format!(
        "SELECT s.id, s.revision, s.first_seen_us, s.last_seen_us, s.missing_us, s.content, s.mapping_version, \
         {PAYLOAD_HASH}, r.payload_size, r.record_size, r.bytes, r.example_id FROM {tables} \
         JOIN revisions r ON r.id = s.revision_id"
    )
}

fn stored(c: &Connection, records: &mut Records<'_>, row: &Row<'_>) -> Read<StoredSession> {
    let mut session = records.read(row, 8)?;
    session.provenance.mapping_version = row.get(6)?;
    link(c, row.get(0)?, &mut session)?;
    Ok(StoredSession {
        session,
        revision: row.get(1)?,
        first_seen_at: instant(row.get(2)?)?,
        last_seen_at: instant(row.get(3)?)?,
        missing_since: row.get::<_, Option<i64>>(4)?.map(instant).transpose()?,
        content: row.get(5)?,
        payload: row.get(7)?,
    })
}

/// Says which other records a session belongs to, by all that is known.
fn link(c: &Connection, id: i64, session: &mut ChargingSession) -> Read<()> {
    let sql =
        "SELECT provider, account, relation, kind, source_id, confidence FROM links WHERE session_id = ?";
    let identity = &mut session.identity;
    identity.related.clear();
    rows(c, sql, [id], |row| {
        let Account { provider, account } = account(row, 0)?;
        let text = |column| row.get_ref(column)?.as_str().map_err(|_| Failure::Damaged);
        let key = SessionKey::new(provider, account, word(text(3)?)?, text(4)?);
        match text(2)? {
            "parent" => identity.parent = Some(key),
            relation => {
                let mut relation = Relation::new(key, word(relation)?);
                let confidence = row.get::<_, Option<String>>(5)?;
                relation.confidence = confidence.map(|percent| word(&percent)).transpose()?;
                identity.related.push(relation);
            }
        }
        Ok(())
    })?;
    Ok(())
}

pub(super) fn sessions(
    c: &Connection,
    filter: &Filter,
    after: Option<&SessionKey>,
    limit: u32,
) -> Read<Vec<StoredSession>> {
    // Account by account, so that each query walks along the table of keys.
    let after_account = after.map(|key| Account { provider: key.provider, account: key.account.clone() });
    let mut found = Vec::new();
    for (id, account) in numbered_accounts(c)? {
        let wanted = filter.provider.is_none_or(|provider| provider == account.provider)
            && filter.account.as_ref().is_none_or(|name| *name == account.account)
            && after_account.as_ref().is_none_or(|after| {
                (after.provider.as_str(), after.account.as_str())
                    <= (account.provider.as_str(), account.account.as_str())
            });
        if !wanted {
            continue;
        }
        let left = limit as usize - found.len();
        if left == 0 {
            break;
        }
        let after = after.filter(|_| after_account.as_ref() == Some(&account));
        found.append(&mut sessions_of(c, id, filter, after, left)?);
    }
    Ok(found)
}

/// Sessions of one account, at most `limit`.
fn sessions_of(
    c: &Connection,
    account_id: i64,
    filter: &Filter,
    after: Option<&SessionKey>,
    limit: usize,
) -> Read<Vec<StoredSession>> {
    // `keys` has the kind and the identifier.
    let select = |tables: &str, condition: &str, parts: &[i64], keys: &str| {
        let mut sql = stored_from(tables);
        let mut values: Vec<Box<dyn ToSql>> = Vec::new();
        let mut add = |text: &str, parts: Vec<Box<dyn ToSql>>| {
            sql.push_str(if values.is_empty() { " WHERE " } else { " AND " });
            sql.push_str(text);
            values.extend(parts);
        };
        add(condition, parts.iter().map(|part| Box::new(*part) as _).collect());
        if let Some(key) = after {
            let parts: Vec<Box<dyn ToSql>> =
                vec![Box::new(key.kind.as_str()), Box::new(key.source_id.clone())];
            add(&format!("({keys}.kind, {keys}.source_id) > (?, ?)"), parts);
        }
        if let Some(window) = filter.window {
            add(
                "s.start_us >= ? AND s.start_us < ?",
                vec![Box::new(to_us(window.from())), Box::new(to_us(window.until()))],
            );
        }
        if let Some(kind) = filter.kind {
            add(&format!("{keys}.kind = ?"), vec![Box::new(kind.as_str())]);
        }
        if let Some(status) = filter.status {
            add("s.status = ?", vec![Box::new(status.as_str())]);
        }
        if let Some(asset) = &filter.asset {
            add(&format!("s.{} = ?", asset_column(asset.kind)), vec![Box::new(asset.id.clone())]);
        }
        if let Some(vanished) = filter.vanished {
            add("(s.missing_us IS NOT NULL) = ?", vec![Box::new(vanished)]);
        }
        sql.push_str(&format!(" ORDER BY {keys}.kind, {keys}.source_id LIMIT ?"));
        values.push(Box::new(limit as i64));
        let mut records = Records::new(c);
        rows(c, &sql, rusqlite::params_from_iter(values), |row| stored(c, &mut records, row))
    };
    let end = keys::end(c)?;
    // By their numbers, and not by any index of the account: these are few.
    let numbered = |first: i64, last: i64| {
        select("sessions s", "+s.account_id = ? AND s.id >= ? AND s.id <= ?", &[account_id, first, last], "s")
    };
    let of_asset = filter.asset.as_ref().map(|asset| assets::of_few(c, account_id, asset)).transpose()?;
    let mut scattered = Vec::new();
    let mut found = match (of_asset.flatten(), filter.window.filter(|_| after.is_none())) {
        (Some(runs), _) => {
            for (first, last) in runs.into_iter().filter(|(first, _)| *first <= end) {
                scattered.append(&mut numbered(first, last.min(end))?);
            }
            Vec::new()
        }
        // What starts in a window is found by its start, and is seldom more than is asked for.
        (None, Some(window)) => {
            let started = "session_starts b CROSS JOIN sessions s ON s.id = b.session_id";
            let condition = "b.account_id = ? AND b.start_us >= ? AND b.start_us < ?";
            let window = [account_id, to_us(window.from()), to_us(window.until())];
            select(started, condition, &window, "s")?
        }
        (None, None) => {
            let entered = "session_keys k CROSS JOIN sessions s ON s.id = k.session_id";
            select(entered, "k.account_id = ? AND s.id <= ?", &[account_id, end], "k")?
        }
    };
    scattered.append(&mut numbered(end + 1, i64::MAX)?);
    if !scattered.is_empty() {
        found.append(&mut scattered);
        found.sort_by(|a, b| {
            let [a, b] = [a, b].map(|stored| stored.session.key());
            (a.kind.as_str(), &a.source_id).cmp(&(b.kind.as_str(), &b.source_id))
        });
        found.truncate(limit);
    }
    Ok(found)
}

/// The number of a session, if it is known.
fn session_id(c: &Connection, key: &SessionKey) -> Read<Option<i64>> {
    let account = Account { provider: key.provider, account: key.account.clone() };
    let Some(account) = account_id(c, &account)? else { return Ok(None) };
    keys::find(c, account, key)
}

pub(super) fn session(c: &Connection, key: &SessionKey) -> Read<Option<StoredSession>> {
    let Some(id) = session_id(c, key)? else { return Ok(None) };
    let sql = stored_from("sessions s") + " WHERE s.id = ?";
    let found = rows(c, &sql, [id], |row| stored(c, &mut Records::new(c), row))?;
    Ok(found.into_iter().next())
}

pub(super) fn revisions(c: &Connection, key: &SessionKey) -> Read<Vec<Revision>> {
    let Some(id) = session_id(c, key)? else { return Ok(Vec::new()) };
    let sql = format!(
        "WITH RECURSIVE chain (id) AS (SELECT revision_id FROM sessions WHERE id = ? UNION ALL \
         SELECT r.before_id FROM chain JOIN revisions r ON r.id = chain.id WHERE r.before_id < r.id) \
         SELECT r.number, r.at_us, r.reason, r.content, {PAYLOAD_HASH}, r.payload_size, r.record_size, r.bytes, \
         r.example_id FROM chain JOIN revisions r ON r.id = chain.id ORDER BY r.id"
    );
    let mut records = Records::new(c);
    rows(c, &sql, [id], |row| revision(&mut records, row))
}

/// A revision in the first columns: its number, when, why, the two hashes and the record.
fn revision(records: &mut Records<'_>, row: &Row<'_>) -> Read<Revision> {
    let text = |column| row.get_ref(column)?.as_str().map_err(|_| Failure::Damaged);
    Ok(Revision {
        number: row.get(0)?,
        at: instant(row.get(1)?)?,
        reason: Reason::parse(text(2)?)?,
        session: records.read(row, 5)?,
        content: row.get(3)?,
        payload: row.get(4)?,
    })
}

pub(super) fn history(
    c: &Connection,
    of: Option<&Account>,
    since: Timestamp,
    after: Option<u64>,
    limit: u32,
) -> Read<Vec<Recorded>> {
    let of = match of.map(|of| account_id(c, of)).transpose()? {
        Some(None) => return Ok(Vec::new()),
        Some(id) => id,
        None => None,
    };
    // Where to begin is looked up by batches, so that records that are older are not read.
    let sql = format!(
        "SELECT r.number, r.at_us, r.reason, r.content, {PAYLOAD_HASH}, r.payload_size, r.record_size, r.bytes, \
         r.example_id, r.id, b.id IS NOT NULL, b.payload_size, b.record_size, b.bytes, b.example_id \
         FROM revisions r LEFT JOIN revisions b ON b.id = r.before_id \
         WHERE r.id >= (SELECT min(first_id) FROM revision_times WHERE at_us >= ?1) \
         AND r.at_us >= ?1 AND r.id > ?2 \
         AND (?3 IS NULL OR (SELECT account_id FROM sessions WHERE id = r.session_id) = ?3) \
         ORDER BY r.id LIMIT ?4"
    );
    let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let mut records = Records::new(c);
    rows(c, &sql, params![to_us(since), after, of, limit], |row| {
        let has_before: bool = row.get(10)?;
        Ok(Recorded {
            position: row.get::<_, i64>(9)?.cast_unsigned(),
            revision: revision(&mut records, row)?,
            before: has_before.then(|| records.read(row, 11)).transpose()?,
        })
    })
}

/// How many sessions are found by the beginning of a handle.
const MOST_FOUND: usize = 10;

pub(super) fn find(c: &Connection, handle: &str) -> Read<Vec<SessionKey>> {
    let (Some(first), Some(last)) = (handle_bound(handle, "0"), handle_bound(handle, "f")) else {
        return Ok(Vec::new());
    };
    let mut found = BTreeSet::new();
    keys::each_handle(c, 0, |id, handle| {
        if (&first[..]..=&last[..]).contains(&handle) {
            found.insert((handle.to_vec(), id));
            if found.len() > MOST_FOUND {
                found.pop_last();
            }
        }
        Ok(())
    })?;
    let sql = "SELECT a.provider, a.account, s.kind, s.source_id FROM sessions s \
               JOIN accounts a ON a.id = s.account_id WHERE s.id = ?";
    let key = |row: &Row<'_>| {
        let Account { provider, account } = account(row, 0)?;
        let kind = word(&row.get::<_, String>(2)?)?;
        Ok(SessionKey::new(provider, account, kind, row.get::<_, String>(3)?))
    };
    let keys = found.into_iter().map(|(_, id)| rows(c, sql, [id], key)?.pop().ok_or(Failure::Damaged));
    keys.collect()
}

pub(super) fn payload(c: &Connection, hash: &Hash) -> Read<Option<Payload>> {
    let mut found = match places::find(c, hash)? {
        Some(id) => {
            let sql = "SELECT payload_size, record_size, bytes, example_id FROM revisions WHERE id = ?";
            let mut records = Records::new(c);
            rows(c, sql, [id], |row| Ok(records.both(row, 0)?.0.to_vec().into()))?
        }
        None => {
            let sql = "SELECT size, bytes FROM payloads WHERE hash = ?";
            rows(c, sql, [hash.as_bytes()], |row| rejected_payload(row, 0))?
        }
    };
    Ok(found.pop())
}

/// What is wrong with the database, the records in it, or the bytes that were received; the first that is found.
pub(super) fn damage(c: &Connection) -> Read<Option<String>> {
    let said: String = c.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Ok(Some(said.lines().last().unwrap_or_default().to_owned()));
    }
    let mut dangling = c.prepare("PRAGMA foreign_key_check")?;
    if let Some(row) = dangling.query([])?.next()? {
        let (table, of): (String, String) = (row.get(0)?, row.get(2)?);
        return Ok(Some(format!("a row of {table} belongs to none of {of}")));
    }
    let places = places::Verified::new(c)?;
    let other = || Ok(Some("bytes that were received are others now".to_owned()));
    let sql = "SELECT payload_size, record_size, bytes, example_id, payload_hash, id FROM revisions \
               WHERE payload_hash IS NOT NULL";
    let mut received = c.prepare(sql)?;
    let mut rows = received.query([])?;
    let mut records = Records::new(c);
    while let Some(row) = rows.next()? {
        let hash: Hash = row.get(4)?;
        if Hash::of(records.both(row, 0)?.0) != hash {
            return other();
        }
        if !places.has(&hash, row.get(5)?)? {
            return Ok(Some("bytes that were received are not found by their hash".to_owned()));
        }
    }
    let mut rejected = c.prepare("SELECT size, bytes, hash FROM payloads")?;
    let mut rows = rejected.query([])?;
    while let Some(row) = rows.next()? {
        if Hash::of(rejected_payload(row, 0)?.as_bytes()) != row.get(2)? {
            return other();
        }
    }
    let mut is_its = c.prepare("SELECT 1 FROM sessions WHERE id = ? AND handle = ?")?;
    let mut findable = 0;
    keys::each_handle(c, 0, |id, handle| {
        findable += i64::from(is_its.exists((id, handle))?);
        Ok(())
    })?;
    if findable != c.query_row("SELECT count(*) FROM sessions", [], |row| row.get::<_, i64>(0))? {
        return Ok(Some("a record is not found by its handle".to_owned()));
    }
    for (sql, damage) in [
        (
            // Each up to the end stands there, and nothing else does.
            "SELECT 1 FROM sessions_entered WHERE \
             (SELECT count(*) FROM sessions s JOIN session_keys k ON k.account_id = s.account_id AND k.kind = s.kind \
              AND k.source_id = s.source_id AND k.session_id = s.id WHERE s.id <= sessions_entered.session_id) \
             IS NOT (SELECT count(*) FROM sessions WHERE id <= sessions_entered.session_id) \
             OR (SELECT count(*) FROM session_keys) \
             IS NOT (SELECT count(*) FROM sessions WHERE id <= sessions_entered.session_id)",
            "a record is not found by its key",
        ),
        (
            "WITH waiting AS (SELECT account_id, kind, source_id FROM sessions \
             WHERE id > (SELECT session_id FROM sessions_entered)) \
             SELECT 1 FROM waiting GROUP BY account_id, kind, source_id HAVING count(*) > 1 \
             UNION ALL SELECT 1 FROM waiting JOIN session_keys USING (account_id, kind, source_id)",
            "two records have the same key",
        ),
        (
            "SELECT 1 FROM sessions_entered WHERE \
             (SELECT count(*) FROM sessions s JOIN session_starts b ON b.account_id = s.account_id \
              AND b.start_us = coalesce(s.start_us, -9223372036854775808) AND b.session_id = s.id \
              WHERE s.id <= sessions_entered.session_id) \
             IS NOT (SELECT count(*) FROM sessions WHERE id <= sessions_entered.session_id) \
             OR (SELECT count(*) FROM session_starts) \
             IS NOT (SELECT count(*) FROM sessions WHERE id <= sessions_entered.session_id)",
            "a record is not found by its start",
        ),
        (
            "SELECT 1 FROM revisions r WHERE r.payload_id IS NOT NULL \
             AND (SELECT payload_hash FROM revisions WHERE id = r.payload_id) IS NULL",
            "bytes that a record was read from are missing",
        ),
        (
            "SELECT 1 FROM revisions r WHERE r.at_us IS NOT \
             (SELECT at_us FROM revision_times WHERE first_id <= r.id ORDER BY first_id DESC LIMIT 1)",
            "a revision is not found by when it was written",
        ),
        (
            "SELECT 1 FROM revisions r LEFT JOIN revisions b ON b.id = r.before_id \
             WHERE r.number > 1 AND (b.session_id, b.number) IS NOT (r.session_id, r.number - 1)",
            "a revision is not found from the one after it",
        ),
    ] {
        if c.prepare(sql)?.exists([])? {
            return Ok(Some(damage.to_owned()));
        }
    }
    let sql = "SELECT id, account_id, vehicle_id, charge_point_id FROM sessions \
               WHERE id <= (SELECT session_id FROM sessions_entered)";
    let mut entered = c.prepare(sql)?;
    let mut rows = entered.query([])?;
    while let Some(row) = rows.next()? {
        for (column, kind) in [(2, AssetKind::Vehicle), (3, AssetKind::ChargePoint)] {
            let asset = row.get_ref(column)?.as_str_or_null().map_err(|_| Failure::Damaged)?;
            if let Some(asset) = asset
                && !assets::is_entered(c, row.get(0)?, row.get(1)?, kind, asset)?
            {
                return Ok(Some("a record is not found by its vehicle or charge point".to_owned()));
            }
        }
    }
    // The latest revision of each record has to be there, and to say what its row says.
    let sql = "SELECT a.provider, a.account, s.kind, s.source_id, r.content = s.content, r.payload_size, \
               r.record_size, r.bytes, r.example_id FROM sessions s JOIN accounts a ON a.id = s.account_id LEFT JOIN revisions r ON r.id = s.revision_id";
    let mut sessions = c.prepare(sql)?;
    let mut rows = sessions.query([])?;
    let mut records = Records::new(c);
    while let Some(row) = rows.next()? {
        let same: Option<bool> = row.get(4)?;
        if same != Some(true) || records.read(row, 5).is_err() {
            let name: Vec<String> = (0..4).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            return Ok(Some(format!("the record {} cannot be read", name.join("/").escape_debug())));
        }
    }
    Ok(None)
}

/// The bytes of what could not be mapped, whose size and bytes stand at `column` and after it.
fn rejected_payload(row: &Row<'_>, column: usize) -> Read<Payload> {
    let size = usize::try_from(row.get::<_, i64>(column)?).map_err(|_| Failure::Damaged)?;
    Ok(unpacked(size, blob(row, column + 1)?)?.into())
}

/// Bytes, without a copy.
pub(super) fn blob<'a>(row: &'a Row<'_>, column: usize) -> Read<&'a [u8]> {
    row.get_ref(column)?.as_blob().map_err(|_| Failure::Damaged)
}

pub(super) fn coverage(c: &Connection, account: &Account) -> Read<Vec<Coverage>> {
    let Some(id) = account_id(c, account)? else { return Ok(Vec::new()) };
    let sql =
        "SELECT slice, began_us, completed_us FROM coverage WHERE account_id = ? ORDER BY from_us, slice";
    rows(c, sql, [id], |row| {
        Ok(Coverage {
            slice: slice(&row.get::<_, String>(0)?)?,
            began_at: instant(row.get(1)?)?,
            completed_at: instant(row.get(2)?)?,
        })
    })
}

pub(super) fn quarantine(c: &Connection, of: Option<&Account>) -> Read<Vec<Quarantined>> {
    let sql = "SELECT a.provider, a.account, q.source_id, q.code, q.path, q.reason, q.first_seen_us, q.last_seen_us, \
               p.size, p.bytes, q.context FROM quarantine q JOIN accounts a ON a.id = q.account_id \
               JOIN payloads p ON p.id = q.payload_id \
               WHERE (?1 IS NULL OR (a.provider = ?1 AND a.account = ?2)) ORDER BY a.provider, a.account, q.payload_id";
    let of = of.map(|of| (of.provider.as_str(), of.account.as_str())).unzip();
    rows(c, sql, of, |row| {
        let code: IssueCode = word(&row.get::<_, String>(3)?)?;
        let (path, reason): (String, String) = (row.get(4)?, row.get(5)?);
        let mut record =
            RejectedRecord::new(code, path, reason, rejected_payload(row, 8)?).with_id(row.get(2)?);
        // What another release wrote, and this one cannot read, is shown and not tried again.
        record.context =
            row.get::<_, Option<String>>(10)?.and_then(|context| serde_json::from_str(&context).ok());
        Ok(Quarantined {
            account: account(row, 0)?,
            record,
            first_seen_at: instant(row.get(6)?)?,
            last_seen_at: instant(row.get(7)?)?,
        })
    })
}

pub(super) fn runs(c: &Connection, account: &Account, limit: u32) -> Read<Vec<RunReport>> {
    let Some(id) = account_id(c, account)? else { return Ok(Vec::new()) };
    let sql = "SELECT began_us, ended_us, requests, new, changed, unchanged, returned, vanished, quarantined, error \
               FROM runs WHERE account_id = ? ORDER BY id DESC LIMIT ?";
    rows(c, sql, (id, limit), |row| {
        let mut counts = [0; 6];
        for (column, count) in counts.iter_mut().enumerate() {
            *count = row.get::<_, i64>(3 + column)?.cast_unsigned();
        }
        Ok(RunReport {
            began_at: instant(row.get(0)?)?,
            ended_at: instant(row.get(1)?)?,
            requests: row.get::<_, i64>(2)?.cast_unsigned(),
            counts,
            error: row.get(9)?,
        })
    })
}
