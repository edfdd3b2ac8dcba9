//! How long it takes to keep sessions: 100,000 new ones in pages of 100, then the same again. Not a test.
//!
//! `cargo bench -p charging-sessions-store --bench insert [-- <number of sessions> [<sessions in a page>]]`
//!
//! On Linux, the processor time of all threads stands beside the time on the clock, because other programs slow down
//! the one and hardly the other.
//!
//! With `--features postgres`, and the address of a database in `CHARGING_SESSIONS_BENCH_POSTGRES`, the same there, too.

use std::time::Instant;

use charging_sessions_core::{
    ChargePoint, ChargingMode, ChargingSession, Classified, Cost, CostBasis, Currency, Cursor, Endpoint,
    Energy, EnergyReading, Location, MeasuringPoint, Money, Payload, Provenance, ProviderId, RecordKind,
    SessionKey, SessionStatus, Vehicle, Zone, ZoneSource,
};
use charging_sessions_store::{Account, Batch, SessionStore, Slice, SqliteStore, content_hash};
use jiff::{SignedDuration, Timestamp};

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let (number, page) = (numbers.next().unwrap_or(100_000), numbers.next().unwrap_or(100));
    let sessions: Vec<_> = (0..number).map(session).collect();

    let hashing = Began::now();
    let hashed = sessions.iter().map(content_hash).filter(|hash| hash.as_bytes()[0] == 0).count();
    // The number keeps the compiler from leaving the work out.
    report(&format!("hash alone ({hashed} begin with zero)"), sessions.len(), &hashing);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sessions.db");
    measure("SQLite", &SqliteStore::open(&path).expect("a store"), &sessions, page).await;
    let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
    println!("{} bytes per session in the file", bytes / number as u64);
    #[cfg(feature = "postgres")]
    if let Ok(url) = std::env::var("CHARGING_SESSIONS_BENCH_POSTGRES") {
        use charging_sessions_store::{PostgresOptions, PostgresStore};
        let schema = format!("bench_{}", std::process::id());
        let options = PostgresOptions::new(url.into()).schema(schema);
        measure("PostgreSQL", &PostgresStore::connect(options).await.expect("a store"), &sessions, page)
            .await;
    }
}

async fn measure(name: &str, store: &dyn SessionStore, sessions: &[ChargingSession], size: usize) {
    let account =
        Account { provider: ProviderId::new("ev-energy"), account: "home".parse().expect("a name") };
    let slice = Slice { window: None, asset: None, kinds: vec![RecordKind::Segment] };
    let lease = store.begin(&account, Timestamp::UNIX_EPOCH).await.expect("a lease");
    for round in ["new", "seen again"] {
        let mut batches = Vec::new();
        for (page, chunk) in sessions.chunks(size).enumerate() {
            let from = (page > 0).then(|| Cursor::from(page.to_string().as_str()));
            let mut batch = Batch::new(slice.clone(), from, Timestamp::UNIX_EPOCH);
            let more = (page + 1) * size < sessions.len();
            batch.next = more.then(|| Cursor::from((page + 1).to_string().as_str()));
            batch.sessions = chunk.to_vec();
            batches.push(batch);
        }
        let began = Began::now();
        for mut batch in batches {
            // As a sync does it; here nothing is read or written meanwhile.
            batch.prepared = store.prepare(&account, &batch.sessions);
            store.commit(&*lease, batch).await.expect("a write");
        }
        report(&format!("{name}, {round}"), sessions.len(), &began);
    }
}

/// When something began, on the clock and in the processor.
struct Began {
    clock: Instant,
    processor: Option<f64>,
}

impl Began {
    fn now() -> Self {
        Self { clock: Instant::now(), processor: processor_seconds() }
    }
}

/// What this process has used of the processor, in steps of 10 ms; `None` where the system does not say so in a file.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, the second field, may contain anything; the last parenthesis ends it.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2);
    Some(ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

fn report(what: &str, number: usize, began: &Began) {
    let seconds = began.clock.elapsed().as_secs_f64();
    let each = |seconds: f64| seconds * 1e6 / number as f64;
    let rate = number as f64 / seconds;
    print!("{what}: {rate:.0} sessions/s, {:.1} µs each", each(seconds));
    if let (Some(before), Some(now)) = (began.processor, processor_seconds()) {
        print!(", {:.1} µs of processor time", each(now - before));
    }
    println!();
}

/// As ev.energy gives it, and with as many bytes.
fn session(number: usize) -> ChargingSession {
    let id = format!("csub01M129SG1RST5188J03{number:07}");
    let start = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(30_000_000 + number as i64 * 7);
    let wh = 5_000 + (number as i64 * 7919) % 40_000;
    let (cost, end) = (wh / 40, start + SignedDuration::from_mins(71));
    let payload = format!(
        r#"{{"id":"{id}","url":"https://api.ev.energy/v2/charging_sub_sessions/{id}","start":"{start}","end":"{end}","duration_minutes":71,"mode":"SMART","energy_delivered_watt_hours":{wh},"grid_energy_delivered_watt_hours":{wh},"solar_energy_delivered_watt_hours":0,"cost":{cost},"currency":"GBP","total_co2_grams":{co2},"co2_intensity_grams_per_kilowatt_hour":230,"co2_intensity_classification":"high","percentage_added":33.3,"location":{{"name":"Home","timezone":"Europe/London","address_1":"1 Some Street","postal_code":"ZZ3 5NS"}},"vehicle":"https://api.ev.energy/v2/vehicles/vhcl01J01632VSZDQPVCYCAF4VQSSS","evse":null,"tariff":null,"labels":[]}}"#,
        co2 = wh / 5,
    );
    let endpoint = Endpoint::new("GET /charging_sub_sessions", Some("v2"));
    let origin = Provenance::new(endpoint, end, 1).with_payload(Payload::from(payload));
    let account = "home".parse().expect("a name");
    let key = SessionKey::new(ProviderId::new("ev-energy"), account, RecordKind::Segment, id);
    let mut session = ChargingSession::new(key, SessionStatus::Completed, origin);
    session.state.mode = Some(Classified::new(ChargingMode::Smart, "SMART"));
    session.timing.period.start = Some(start);
    session.timing.period.end = Some(end);
    session.timing.connected_for = Some(SignedDuration::from_mins(71));
    session.timing.zone = Some(Zone::new("Europe/London", ZoneSource::Provider));
    let energy = Energy::from_wh(wh).expect("fits");
    session.energy.readings = vec![EnergyReading::import(energy, MeasuringPoint::VehicleInlet)];
    session.energy.sources.grid = Some(energy);
    session.energy.sources.solar = Some(Energy::ZERO);
    let money = Money::from_minor(cost, Currency::parse("GBP").expect("a currency")).expect("fits");
    session.costs.cost = Some(Cost::new(money, CostBasis::ProviderTariff));
    session.parties.vehicle = Some(Vehicle::of("vhcl01J01632VSZDQPVCYCAF4VQSSS"));
    session.parties.charge_point = Some(ChargePoint::of("evse01J01632"));
    let mut location = Location::default();
    location.label = Some("Home".into());
    location.address = Some("1 Some Street".to_owned().into());
    location.postal_code = Some("ZZ3 5NS".to_owned().into());
    session.place.location = Some(location);
    session.keep("co2_intensity_classification", Some("high"));
    session
}
