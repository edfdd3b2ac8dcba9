//! Reading.

use std::collections::HashMap;

use charging_sessions_core::{
    AssetKind, ChargingSession, Cursor, IssueCode, Payload, RejectedRecord, Relation, SessionKey,
};
use deadpool_postgres::{GenericClient, Transaction};
use jiff::Timestamp;
use tokio_postgres::{
    Row,
    types::{FromSql, IsNull, ToSql, Type, private::BytesMut, to_sql_checked},
};

use super::{
    error::Failure,
    pack,
    text::{self, written},
};
use crate::{
    Account, Coverage, Filter, Hash, Quarantined, Reason, Recorded, Revision, RunReport, Slice,
    StoredSession,
    columns::{asset_column, handle_bound, instant, json, slice, slice_text, to_us, word},
};

type Read<T> = Result<T, Failure>;
type SqlError = Box<dyn std::error::Error + Sync + Send>;

impl ToSql for Hash {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, SqlError> {
        self.as_bytes().as_slice().to_sql(ty, out)
    }

    fn accepts(ty: &Type) -> bool {
        <&[u8] as ToSql>::accepts(ty)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Hash {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, SqlError> {
        let bytes: [u8; 32] = <&[u8]>::from_sql(ty, raw)?.try_into()?;
        Ok(Self::from(bytes))
    }

    fn accepts(ty: &Type) -> bool {
        <&[u8] as FromSql>::accepts(ty)
    }
}

/// Every row that a query has.
pub(super) async fn rows(
    c: &impl GenericClient,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Read<Vec<Row>> {
    let statement = c.prepare_cached(sql).await?;
    Ok(c.query(&statement, parameters).await?)
}

/// The only row that a query has, if it has one.
pub(super) async fn row(
    c: &impl GenericClient,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Read<Option<Row>> {
    let statement = c.prepare_cached(sql).await?;
    Ok(c.query_opt(&statement, parameters).await?)
}

/// Text of a provider.
fn text(row: &Row, column: usize) -> Read<String> {
    Ok(text::read(row.try_get(column)?)?.into_owned())
}

fn optional_text(row: &Row, column: usize) -> Read<Option<String>> {
    let text: Option<&str> = row.try_get(column)?;
    Ok(text.map(text::read).transpose()?.map(Into::into))
}

/// A number that is never below zero, nor above what fits.
fn count<T: TryFrom<i64>>(row: &Row, column: usize) -> Read<T> {
    T::try_from(row.try_get(column)?).map_err(|_| Failure::Damaged)
}

/// The account whose two parts stand at `column` and after it.
fn account(row: &Row, column: usize) -> Read<Account> {
    Ok(Account { provider: word(row.try_get(column)?)?, account: word(row.try_get(column + 1)?)? })
}

/// The key whose kind and identifier stand at `column` and after it.
fn key(account: Account, row: &Row, column: usize) -> Read<SessionKey> {
    Ok(SessionKey::new(
        account.provider,
        account.account,
        word(row.try_get(column)?)?,
        text(row, column + 1)?,
    ))
}

pub(super) async fn account_id(c: &impl GenericClient, account: &Account) -> Read<Option<i64>> {
    let sql = "SELECT id FROM accounts WHERE provider = $1 AND account = $2";
    let found = row(c, sql, &[&account.provider.as_str(), &account.account.as_str()]).await?;
    Ok(found.map(|row| row.try_get(0)).transpose()?)
}

/// The accounts with their numbers, in order.
async fn numbered_accounts(c: &impl GenericClient) -> Read<Vec<(i64, Account)>> {
    let sql = "SELECT id, provider, account FROM accounts ORDER BY provider, account";
    rows(c, sql, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, account(row, 1)?))).collect()
}

pub(super) async fn accounts(c: &impl GenericClient) -> Read<Vec<Account>> {
    Ok(numbered_accounts(c).await?.into_iter().map(|(_, account)| account).collect())
}

pub(super) async fn place(c: &impl GenericClient, account: &Account, slice: &Slice) -> Read<Option<Cursor>> {
    let sql = "SELECT p.cursor FROM places p JOIN accounts a ON a.id = p.account_id \
               WHERE a.provider = $1 AND a.account = $2 AND p.slice_hash = $3";
    let hash = Hash::of(slice_text(slice).as_bytes());
    let found = row(c, sql, &[&account.provider.as_str(), &account.account.as_str(), &hash]).await?;
    found.map(|row| cursor(&row, 0)).transpose()
}

pub(super) fn cursor(row: &Row, column: usize) -> Read<Cursor> {
    Ok(Cursor::from(&*text::read(row.try_get(column)?)?))
}

/// What makes a [`StoredSession`], from the alias `s` of its table.
const STORED: &str = "SELECT s.id, s.revision, s.first_seen_us, s.last_seen_us, s.missing_us, s.content, \
                      s.mapping_version, r.record::text, p.hash \
                      FROM sessions s JOIN revisions r ON r.id = s.revision_id \
                      LEFT JOIN payloads p ON p.id = r.payload_id ";

fn stored(row: &Row) -> Read<StoredSession> {
    let mut session: ChargingSession = json(row.try_get(7)?)?;
    session.provenance.mapping_version = count(row, 6)?;
    session.identity.related.clear();
    Ok(StoredSession {
        session,
        revision: count(row, 1)?,
        first_seen_at: instant(row.try_get(2)?)?,
        last_seen_at: instant(row.try_get(3)?)?,
        missing_since: row.try_get::<_, Option<i64>>(4)?.map(instant).transpose()?,
        content: row.try_get(5)?,
        payload: row.try_get(8)?,
    })
}

/// Sessions with all that is known of which other records they belong to.
async fn linked(t: &Transaction<'_>, found: &[Row]) -> Read<Vec<StoredSession>> {
    let mut sessions = found.iter().map(stored).collect::<Read<Vec<_>>>()?;
    let ids = found.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let places: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    let sql = "SELECT session_id, relation, provider, account, kind, source_id, confidence::text FROM links \
               WHERE session_id = ANY($1) ORDER BY session_id, relation, provider, account, kind, source_id";
    for row in rows(t, sql, &[&ids]).await? {
        let Some(place) = places.get(&row.try_get(0)?) else { continue };
        let identity = &mut sessions[*place].session.identity;
        let key = key(account(&row, 2)?, &row, 4)?;
        match row.try_get(1)? {
            "parent" => identity.parent = Some(key),
            relation => {
                let mut relation = Relation::new(key, word(relation)?);
                let confidence: Option<&str> = row.try_get(6)?;
                relation.confidence = confidence.map(word).transpose()?;
                identity.related.push(relation);
            }
        }
    }
    Ok(sessions)
}

/// A question whose conditions are put together.
struct Question<'a> {
    sql: String,
    parameters: Vec<Box<dyn ToSql + Sync + Send + 'a>>,
}

impl<'a> Question<'a> {
    /// The name that a value has in the text.
    fn value(&mut self, value: impl ToSql + Sync + Send + 'a) -> String {
        self.parameters.push(Box::new(value));
        format!("${}", self.parameters.len())
    }

    fn condition(&mut self, condition: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
    }

    async fn rows(&self, c: &impl GenericClient) -> Read<Vec<Row>> {
        let parameters: Vec<_> =
            self.parameters.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect();
        rows(c, &self.sql, &parameters).await
    }
}

pub(super) async fn sessions(
    t: &Transaction<'_>,
    filter: &Filter,
    after: Option<&SessionKey>,
    limit: u32,
) -> Read<Vec<StoredSession>> {
    // Account by account, so that each query walks along the index of keys.
    let mut found = Vec::new();
    for (id, account) in numbered_accounts(t).await? {
        let place = (account.provider.as_str(), account.account.as_str());
        let wanted = filter.provider.is_none_or(|provider| provider == account.provider)
            && filter.account.as_ref().is_none_or(|name| *name == account.account)
            && after.is_none_or(|after| (after.provider.as_str(), after.account.as_str()) <= place);
        if !wanted {
            continue;
        }
        let left = i64::from(limit) - found.len() as i64;
        if left <= 0 {
            break;
        }
        let mut q = Question { sql: format!("{STORED} WHERE s.account_id = $1"), parameters: Vec::new() };
        q.value(id);
        if let Some(key) = after.filter(|key| (key.provider.as_str(), key.account.as_str()) == place) {
            let (kind, id) = (q.value(key.kind.as_str()), q.value(written(&key.source_id)));
            q.condition(&format!(
                "(s.kind, left(s.source_id, 200), s.source_id) > ({kind}::text, left({id}::text, 200), {id}::text)"
            ));
        }
        if let Some(window) = filter.window {
            let (from, until) = (q.value(to_us(window.from())), q.value(to_us(window.until())));
            q.condition(&format!("s.start_us >= {from} AND s.start_us < {until}"));
        }
        if let Some(kind) = filter.kind {
            let kind = q.value(kind.as_str());
            q.condition(&format!("s.kind = {kind}"));
        }
        if let Some(status) = filter.status {
            let status = q.value(status.as_str());
            q.condition(&format!("s.status = {status}"));
        }
        if let Some(asset) = &filter.asset {
            let id = q.value(written(&asset.id));
            q.condition(&is_of(asset.kind, &id));
        }
        if let Some(vanished) = filter.vanished {
            let vanished = q.value(vanished);
            q.condition(&format!("(s.missing_us IS NOT NULL) = {vanished}"));
        }
        let left = q.value(left);
        q.sql.push_str(&format!(" ORDER BY s.kind, left(s.source_id, 200), s.source_id LIMIT {left}"));
        found.append(&mut q.rows(t).await?);
    }
    linked(t, &found).await
}

/// The condition that a session `s` is of an asset, in words that one of the indexes of assets has. The identifier is
/// the parameter `id`.
pub(super) fn is_of(kind: AssetKind, id: &str) -> String {
    let column = asset_column(kind);
    format!("hashtextextended(s.{column}, 0) = hashtextextended({id}::text, 0) AND s.{column} = {id}::text")
}

/// The number of a session, as a part of a query: of the account `$1`, `$2`, the kind `$3`, the hash `$4` and the handle
/// `$5`. It is found by its handle; see `KNOWN`.
const OF_KEY: &str = "(SELECT s.id FROM accounts a JOIN LATERAL \
                      (SELECT * FROM sessions WHERE handle = $5::text::uuid OFFSET 0) s \
                      ON (s.account_id, s.kind, s.source_hash) = (a.id, $3, $4) \
                      WHERE a.provider = $1 AND a.account = $2)";

/// The rows of a query that contains [`OF_KEY`].
async fn of_key(c: &impl GenericClient, sql: &str, key: &SessionKey) -> Read<Vec<Row>> {
    let hash = Hash::of(key.source_id.as_bytes());
    let handle = key.id().to_string();
    let parameters: &[&(dyn ToSql + Sync)] =
        &[&key.provider.as_str(), &key.account.as_str(), &key.kind.as_str(), &hash, &handle];
    rows(c, sql, parameters).await
}

pub(super) async fn session(t: &Transaction<'_>, key: &SessionKey) -> Read<Option<StoredSession>> {
    let found = of_key(t, &format!("{STORED} WHERE s.id = {OF_KEY}"), key).await?;
    Ok(linked(t, &found).await?.into_iter().next())
}

pub(super) async fn revisions(c: &impl GenericClient, key: &SessionKey) -> Read<Vec<Revision>> {
    let sql = format!(
        "SELECT r.number, r.at_us, r.reason, r.record::text, r.content, p.hash \
         FROM revisions r LEFT JOIN payloads p ON p.id = r.payload_id WHERE r.session_id = {OF_KEY} ORDER BY r.number"
    );
    of_key(c, &sql, key).await?.iter().map(revision).collect()
}

/// A revision in the first columns: its number, when, why, the record and the two hashes.
fn revision(row: &Row) -> Read<Revision> {
    Ok(Revision {
        number: count(row, 0)?,
        at: instant(row.try_get(1)?)?,
        reason: Reason::parse(row.try_get(2)?)?,
        session: json(row.try_get(3)?)?,
        content: row.try_get(4)?,
        payload: row.try_get(5)?,
    })
}

pub(super) async fn history(
    c: &impl GenericClient,
    of: Option<&Account>,
    since: Timestamp,
    after: Option<u64>,
    limit: u32,
) -> Read<Vec<Recorded>> {
    let mut id = None;
    if let Some(account) = of {
        id = account_id(c, account).await?;
        if id.is_none() {
            return Ok(Vec::new());
        }
    }
    // Where to begin is looked up in the index alone, so that records that are older are not read. The sum keeps the
    // planner from walking along all numbers until one is late enough.
    let sql = "SELECT r.number, r.at_us, r.reason, r.record::text, r.content, p.hash, r.id, b.record::text \
               FROM revisions r LEFT JOIN payloads p ON p.id = r.payload_id \
               LEFT JOIN revisions b ON b.session_id = r.session_id AND b.number = r.number - 1 \
               WHERE r.id >= (SELECT min(id + 0) FROM revisions WHERE at_us >= $1) AND r.at_us >= $1 AND r.id > $2 \
               AND ($3::bigint IS NULL \
                 OR EXISTS (SELECT FROM sessions s WHERE s.id = r.session_id AND s.account_id = $3)) \
               ORDER BY r.id LIMIT $4";
    let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let found = rows(c, sql, &[&to_us(since), &after, &id, &i64::from(limit)]).await?;
    let recorded = found.iter().map(|row| {
        let before: Option<&str> = row.try_get(7)?;
        Ok(Recorded {
            position: count(row, 6)?,
            revision: revision(row)?,
            before: before.map(json).transpose()?,
        })
    });
    recorded.collect()
}

pub(super) async fn find(c: &impl GenericClient, handle: &str) -> Read<Vec<SessionKey>> {
    let (Some(first), Some(last)) = (handle_bound(handle, "0"), handle_bound(handle, "f")) else {
        return Ok(Vec::new());
    };
    // As hexadecimal digits, which PostgreSQL takes for a UUID.
    let uuid = |bytes: [u8; 16]| format!("{:032x}", u128::from_be_bytes(bytes));
    let sql = "SELECT a.provider, a.account, s.kind, s.source_id FROM sessions s JOIN accounts a ON a.id = s.account_id \
               WHERE s.handle BETWEEN $1::text::uuid AND $2::text::uuid ORDER BY s.handle LIMIT 10";
    let found = rows(c, sql, &[&uuid(first), &uuid(last)]).await?;
    found.iter().map(|row| key(account(row, 0)?, row, 2)).collect()
}

pub(super) async fn payload(c: &impl GenericClient, hash: &Hash) -> Read<Option<Payload>> {
    let found = row(c, "SELECT size, bytes FROM payloads WHERE hash = $1", &[hash]).await?;
    found.map(|row| unpack(&row, 0)).transpose()
}

/// A payload whose size and bytes stand at `column` and after it.
fn unpack(row: &Row, column: usize) -> Read<Payload> {
    Ok(pack::unpack(row.try_get(column)?, row.try_get(column + 1)?)?.into())
}

/// How much is looked at at once for damage.
const PART: i64 = 1000;

/// What is looked at for damage.
#[derive(Clone, Copy)]
pub(super) enum Table {
    Payloads,
    Sessions,
}

/// The last of some rows after one that are sound, `None` if there are no more; or what is wrong.
pub(super) async fn damage(
    c: &impl GenericClient,
    table: Table,
    after: i64,
) -> Read<Result<Option<i64>, String>> {
    match table {
        Table::Payloads => payloads(c, after).await,
        Table::Sessions => records(c, after).await,
    }
}

/// Payloads have to be what they were when they came.
async fn payloads(c: &impl GenericClient, after: i64) -> Read<Result<Option<i64>, String>> {
    let sql = "SELECT size, bytes, hash, id FROM payloads WHERE id > $1 ORDER BY id LIMIT $2";
    let mut last = None;
    for row in rows(c, sql, &[&after, &PART]).await? {
        if Hash::of(unpack(&row, 0)?.as_bytes()).as_bytes()[..] != *row.try_get::<_, &[u8]>(2)? {
            return Ok(Err("bytes that were received are others now".to_owned()));
        }
        last = Some(row.try_get(3)?);
    }
    Ok(Ok(last))
}

/// The latest revision of each session has to be there, and to say what its row says.
async fn records(c: &impl GenericClient, after: i64) -> Read<Result<Option<i64>, String>> {
    let sql = "SELECT a.provider, a.account, s.kind, s.source_id, r.content = s.content, r.record::text, s.id \
               FROM sessions s JOIN accounts a ON a.id = s.account_id LEFT JOIN revisions r ON r.id = s.revision_id \
               WHERE s.id > $1 ORDER BY s.id LIMIT $2";
    let mut last = None;
    for row in rows(c, sql, &[&after, &PART]).await? {
        let same: Option<bool> = row.try_get(4)?;
        let record: Option<&str> = row.try_get(5)?;
        if same != Some(true) || record.is_none_or(|record| json::<ChargingSession>(record).is_err()) {
            let name = (0..4).map(|column| row.try_get(column)).collect::<Result<Vec<&str>, _>>()?;
            return Ok(Err(format!("the record {} cannot be read", name.join("/").escape_debug())));
        }
        last = Some(row.try_get(6)?);
    }
    Ok(Ok(last))
}

pub(super) async fn coverage(c: &impl GenericClient, account: &Account) -> Read<Vec<Coverage>> {
    let Some(id) = account_id(c, account).await? else { return Ok(Vec::new()) };
    let sql = "SELECT slice, began_us, completed_us FROM coverage WHERE account_id = $1 \
               ORDER BY from_us NULLS FIRST, slice";
    let found = rows(c, sql, &[&id]).await?;
    let covered = found.iter().map(|row| {
        Ok(Coverage {
            slice: slice(row.try_get(0)?)?,
            began_at: instant(row.try_get(1)?)?,
            completed_at: instant(row.try_get(2)?)?,
        })
    });
    covered.collect()
}

pub(super) async fn quarantine(c: &impl GenericClient, of: Option<&Account>) -> Read<Vec<Quarantined>> {
    let sql = "SELECT a.provider, a.account, q.source_id, q.code, q.path, q.reason, q.first_seen_us, q.last_seen_us, \
               p.size, p.bytes, q.context FROM quarantine q JOIN accounts a ON a.id = q.account_id \
               JOIN payloads p ON p.id = q.payload_id \
               WHERE $1::text IS NULL OR (a.provider = $1 AND a.account = $2::text) \
               ORDER BY a.provider, a.account, q.number";
    let (provider, name) = of.map(|of| (of.provider.as_str(), of.account.as_str())).unzip();
    let kept = rows(c, sql, &[&provider, &name]).await?;
    let kept = kept.iter().map(|row| {
        let code: IssueCode = word(row.try_get(3)?)?;
        let record = RejectedRecord::new(code, text(row, 4)?, text(row, 5)?, unpack(row, 8)?);
        let mut record = record.with_id(optional_text(row, 2)?);
        // What another release wrote, and this one cannot read, is shown and not tried again.
        let context: Option<&str> = row.try_get(10)?;
        record.context = context.and_then(|context| serde_json::from_str(context).ok());
        Ok(Quarantined {
            account: account(row, 0)?,
            record,
            first_seen_at: instant(row.try_get(6)?)?,
            last_seen_at: instant(row.try_get(7)?)?,
        })
    });
    kept.collect()
}

pub(super) async fn runs(c: &impl GenericClient, account: &Account, limit: u32) -> Read<Vec<RunReport>> {
    let Some(id) = account_id(c, account).await? else { return Ok(Vec::new()) };
    let sql = "SELECT began_us, ended_us, requests, new, changed, unchanged, returned, vanished, quarantined, error \
               FROM runs WHERE account_id = $1 ORDER BY id DESC LIMIT $2";
    let found = rows(c, sql, &[&id, &i64::from(limit)]).await?;
    let runs = found.iter().map(|row| {
        let mut counts = [0; 6];
        for (column, count) in counts.iter_mut().enumerate() {
            *count = row.try_get::<_, i64>(3 + column)?.cast_unsigned();
        }
        Ok(RunReport {
            began_at: instant(row.try_get(0)?)?,
            ended_at: instant(row.try_get(1)?)?,
            requests: row.try_get::<_, i64>(2)?.cast_unsigned(),
            counts,
            error: optional_text(row, 9)?,
        })
    });
    runs.collect()
}
