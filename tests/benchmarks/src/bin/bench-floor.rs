//! What a good engineer would write in an afternoon to get these sessions of this one API into a table of SQLite: the
//! yardstick for the program. Nothing of ours is in it.
//!
//! It pages, reads plain structures, and writes each page in one transaction, in the same mode of SQLite as our store.
//! A row that is there already is replaced. With `--payloads` it also keeps what our store keeps besides: the bytes of
//! each record with their hash, and each version of a record that differs from the one before.
//!
//! What it does not do: retry, resume, notice that a list has moved, survive a field of another type, keep apart what is
//! unknown and zero in money of several currencies, or know any second provider.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use jiff::{SignedDuration, Timestamp, civil::Date, tz::Offset};
use reqwest::{Client, RequestBuilder, header::AUTHORIZATION};
use rusqlite::{Connection, params};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use workspace_benchmarks::{CLIENT, FIRST_DAY, MAX_PAGE, ORGANISATION};

/// Reads an organisation into a new file.
#[derive(Parser)]
struct Arguments {
    /// The origin of the API.
    #[arg(long)]
    address: String,
    /// The file.
    #[arg(long)]
    store: PathBuf,
    /// Keep payloads and versions, too.
    #[arg(long)]
    payloads: bool,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct Page<'a> {
    total: usize,
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// A page of which the bytes of records are not kept.
#[derive(Deserialize)]
struct PlainPage {
    total: usize,
    items: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    plug_in_time: Timestamp,
    unplug_time: Option<Timestamp>,
    inferred_session_end: Option<Timestamp>,
    desired_charging_start_time: Option<Timestamp>,
    desired_charging_end_time: Option<Timestamp>,
    charge_deadline: Option<Timestamp>,
    target_soc_pct: Option<f64>,
    initial_soc_pct: Option<f64>,
    final_soc_pct: Option<f64>,
    energy_charged_kwh: Option<f64>,
    avg_charge_power_kw: Option<f64>,
    peak_charge_power_kw: Option<f64>,
    actual_cost_eur: Option<f64>,
    expected_savings_eur: Option<f64>,
    actual_savings_eur: Option<f64>,
    is_at_home: Option<bool>,
    session_outcome: Option<String>,
    #[serde(default)]
    is_hidden: bool,
    hidden_reason: Option<String>,
    target_reachable: Option<bool>,
    reachable_soc_pct: Option<i64>,
}

/// Instants are in seconds since 1970.
const SCHEMA: &str = "
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL, vehicle_id TEXT NOT NULL, plug_in_time INTEGER NOT NULL,
  unplug_time INTEGER, inferred_session_end INTEGER, desired_charging_start_time INTEGER,
  desired_charging_end_time INTEGER, charge_deadline INTEGER, target_soc_pct REAL, initial_soc_pct REAL,
  final_soc_pct REAL, energy_charged_kwh REAL, avg_charge_power_kw REAL, peak_charge_power_kw REAL,
  actual_cost_eur REAL, expected_savings_eur REAL, actual_savings_eur REAL, is_at_home INTEGER,
  session_outcome TEXT, is_hidden INTEGER NOT NULL, hidden_reason TEXT, target_reachable INTEGER,
  reachable_soc_pct INTEGER
);
CREATE INDEX sessions_by_time ON sessions (plug_in_time);
CREATE TABLE versions (
  id INTEGER PRIMARY KEY, session_id TEXT NOT NULL, hash BLOB NOT NULL, seen INTEGER NOT NULL, payload TEXT NOT NULL,
  UNIQUE (session_id, hash)
);";

const INSERT: &str = "
INSERT OR REPLACE INTO sessions VALUES (
  ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24
)";

const KEEP: &str = "INSERT OR IGNORE INTO versions (session_id, hash, seen, payload) VALUES (?1, ?2, ?3, ?4)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    rustls::crypto::ring::default_provider().install_default().ok().context("a provider of TLS is there")?;
    let mut connection = Connection::open(&arguments.store)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.execute_batch(SCHEMA)?;
    let api = Api::sign_in(&arguments.address).await?;
    let tomorrow = Offset::UTC.to_datetime(Timestamp::now() + SignedDuration::from_hours(24)).date();
    for user in api.list("").await? {
        for vehicle in api.list(&format!("/{user}/electric-vehicles")).await? {
            let path = format!("/{user}/electric-vehicles/{vehicle}/sessions");
            let (mut offset, mut total) = (0, 1);
            while offset < total {
                let page = api.page(&path, tomorrow, offset).await?;
                let came;
                (came, total) = match arguments.payloads {
                    true => store_with_payloads(&mut connection, &user, &vehicle, &page)?,
                    false => store(&mut connection, &user, &vehicle, &page)?,
                };
                anyhow::ensure!(came > 0 || offset >= total, "an empty page before the end");
                offset += came;
            }
        }
    }
    Ok(())
}

struct Api {
    client: Client,
    root: String,
    token: String,
}

impl Api {
    async fn sign_in(address: &str) -> Result<Self> {
        let client = Client::new();
        let request = client.post(format!("{address}/oauth2/token/")).basic_auth(CLIENT.0, Some(CLIENT.1));
        let request = request.json(&serde_json::json!({ "grant_type": "client_credentials" }));
        let token: Token = body(request).await?;
        let root = format!("{address}/api/partners/v2.0/org/{ORGANISATION}/users");
        Ok(Self { client, root, token: format!("Bearer {}", token.access_token) })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.root)).header(AUTHORIZATION, &self.token)
    }

    /// The identifiers in a list of users or vehicles.
    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let list: Vec<Named> = body(self.get(path)).await?;
        Ok(list.into_iter().map(|named| named.id).collect())
    }

    async fn page(&self, path: &str, to: Date, offset: usize) -> Result<bytes::Bytes> {
        let (limit, offset, to) = (MAX_PAGE.to_string(), offset.to_string(), to.to_string());
        let query = [
            ("from", FIRST_DAY),
            ("to", &to),
            ("limit", &limit),
            ("offset", &offset),
            ("include_hidden", "true"),
        ];
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let answer = self.get(&format!("{path}?{}", query.join("&"))).send().await?;
        Ok(answer.error_for_status()?.bytes().await?)
    }
}

async fn body<T: DeserializeOwned>(request: RequestBuilder) -> Result<T> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

/// How many came, and how many there are.
fn store(connection: &mut Connection, user: &str, vehicle: &str, page: &[u8]) -> Result<(usize, usize)> {
    let page: PlainPage = serde_json::from_slice(page)?;
    let transaction = connection.transaction()?;
    for session in &page.items {
        insert(&transaction, user, vehicle, session)?;
    }
    transaction.commit()?;
    Ok((page.items.len(), page.total))
}

fn store_with_payloads(
    connection: &mut Connection,
    user: &str,
    vehicle: &str,
    page: &[u8],
) -> Result<(usize, usize)> {
    let page: Page<'_> = serde_json::from_slice(page)?;
    let now = Timestamp::now().as_second();
    let transaction = connection.transaction()?;
    for payload in &page.items {
        let session: Session = serde_json::from_str(payload.get())?;
        insert(&transaction, user, vehicle, &session)?;
        let hash: [u8; 32] = Sha256::digest(payload.get().as_bytes()).into();
        let mut keep = transaction.prepare_cached(KEEP)?;
        keep.execute(params![session.id, hash, now, payload.get()])?;
    }
    transaction.commit()?;
    Ok((page.items.len(), page.total))
}

fn insert(connection: &Connection, user: &str, vehicle: &str, session: &Session) -> Result<()> {
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_second);
    connection.prepare_cached(INSERT)?.execute(params![
        session.id,
        user,
        vehicle,
        session.plug_in_time.as_second(),
        seconds(session.unplug_time),
        seconds(session.inferred_session_end),
        seconds(session.desired_charging_start_time),
        seconds(session.desired_charging_end_time),
        seconds(session.charge_deadline),
        session.target_soc_pct,
        session.initial_soc_pct,
        session.final_soc_pct,
        session.energy_charged_kwh,
        session.avg_charge_power_kw,
        session.peak_charge_power_kw,
        session.actual_cost_eur,
        session.expected_savings_eur,
        session.actual_savings_eur,
        session.is_at_home,
        session.session_outcome,
        session.is_hidden,
        session.hidden_reason,
        session.target_reachable,
        session.reachable_soc_pct,
    ])?;
    Ok(())
}
