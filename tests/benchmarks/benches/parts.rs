//! Single parts of the way from bytes to a store: decoding and mapping of each provider, beside plain serde_json of the
//! same bytes into the same structures; the checks; cursors.
//!
//! `cargo bench -p workspace-benchmarks --bench parts`, or `cargo xtask bench micro` for a table.

use std::hint::black_box;

use bytes::Bytes;
use charging_sessions_core::{ChargingSession, Cursor, ProviderId, SessionPage, SessionQuery, checks};
use charging_sessions_http::OffsetPlace;
use charging_sessions_testkit::sandbox::{
    der_connect::DerConnectSandbox,
    ev_energy::EvEnergySandbox,
    evcc::EvccSandbox,
    ocpi::{Module, OcpiSandbox},
    podero::PoderoSandbox,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

macro_rules! wire {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[path = $path]
            #[rustfmt::skip]
            #[allow(clippy::all, dead_code, missing_docs, unreachable_pub, unused_qualifications, reason = "generated")]
            mod $name;
        )*
    };
}

// The structures that adapters decode into are private to them, so they are compiled here once more.
wire! {
    der_connect: "../../../crates/providers/der-connect/src/generated.rs",
    ev_energy: "../../../crates/providers/ev-energy/src/generated.rs",
    evcc: "../../../crates/providers/evcc/src/generated.rs",
    ocpi: "../../../crates/providers/ocpi/src/generated.rs",
    podero: "../../../crates/providers/podero/src/generated.rs",
}

/// When the pages came.
const FETCHED: Timestamp = Timestamp::constant(1_794_335_400, 0);
/// How many records a page has: as many as every sandbox has without being asked for more.
const PAGE: usize = 50;

/// A page of a provider, mapped and read plainly.
fn provider<T: DeserializeOwned>(
    criterion: &mut Criterion,
    name: &str,
    body: &Value,
    map: impl Fn(&Bytes) -> SessionPage,
    plain: impl Fn(&[u8]) -> Vec<T>,
) {
    let body = Bytes::from(body.to_string());
    // What is fast because it fails would be no measure.
    let (mapped, read) = (map(&body), plain(&body).len());
    assert_eq!((mapped.sessions.len(), mapped.rejected.len(), read), (PAGE, 0, PAGE), "{name}");
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::ElementsAndBytes { elements: PAGE as u64, bytes: body.len() as u64 });
    group.bench_function("serde_json alone", |bencher| bencher.iter(|| plain(black_box(&body))));
    group.bench_function("decode and map", |bencher| bencher.iter(|| map(black_box(&body))));
    group.finish();
}

/// A list that stands under a name.
#[derive(Deserialize)]
struct Under<T> {
    #[serde(alias = "items", alias = "data")]
    list: Vec<T>,
}

fn under<T: DeserializeOwned>(body: &[u8]) -> Vec<T> {
    serde_json::from_slice::<Under<T>>(body).expect("a page").list
}

fn bare<T: DeserializeOwned>(body: &[u8]) -> Vec<T> {
    serde_json::from_slice(body).expect("a page")
}

/// As many records of a sandbox as a page has.
fn records(truth: &Value, member: Option<&str>) -> Vec<Value> {
    let records = truth.as_array().into_iter().flatten();
    let records = records.map(|entry| member.map_or(entry, |member| &entry[member]).clone());
    let page: Vec<Value> = records.take(PAGE).collect();
    assert_eq!(page.len(), PAGE, "the sandbox has too few records");
    page
}

fn podero_page() -> Value {
    let sandbox = PoderoSandbox::builder().dirt(false).build();
    json!({ "total": PAGE, "items": records(&sandbox.truth(), Some("session")) })
}

fn podero_sessions() -> Vec<ChargingSession> {
    let body = Bytes::from(podero_page().to_string());
    charging_sessions_podero::Mapping::default().page(&body, FETCHED).expect("a page").sessions
}

fn decoding(criterion: &mut Criterion) {
    let mapping = charging_sessions_podero::Mapping::default();
    let map = |body: &Bytes| mapping.page(body, FETCHED).expect("a page");
    provider(criterion, "podero", &podero_page(), map, under::<podero::SessionItem>);

    let sandbox = EvEnergySandbox::builder().sessions(2 * PAGE).dirt(false).build();
    let mapping = charging_sessions_ev_energy::Mapping::default();
    let map = |body: &Bytes| mapping.sub_sessions(body, FETCHED).expect("a page");
    let page = records(&sandbox.truth(), None).into();
    provider(criterion, "ev-energy", &page, map, bare::<ev_energy::ChargingSubSession>);

    let sandbox = DerConnectSandbox::builder().dirt(false).build();
    let mapping = charging_sessions_der_connect::Mapping::default();
    let map = |body: &Bytes| mapping.page(body, FETCHED).expect("a page");
    let page = json!({ "data": records(&sandbox.truth(), Some("session")), "meta": {} });
    provider(criterion, "der-connect", &page, map, under::<der_connect::ChargeSession>);

    let sandbox = EvccSandbox::builder().dirt(false).build();
    let mut mapping = charging_sessions_evcc::Mapping::default();
    mapping.currency = Some("EUR".to_owned());
    let map = |body: &Bytes| mapping.page(body, FETCHED).expect("a page");
    let page = records(&sandbox.truth(), None).into();
    provider(criterion, "evcc", &page, map, bare::<evcc::Session>);

    let sandbox = OcpiSandbox::builder().dirt(false).build();
    let (module, version) = (charging_sessions_ocpi::Module::Cdrs, charging_sessions_ocpi::Version::V2_2_1);
    let mapping = charging_sessions_ocpi::Mapping::new(module, version);
    let map = |body: &Bytes| mapping.page(body, FETCHED).expect("a page");
    let records = records(&sandbox.truth(Module::Cdrs), None);
    let page = json!({ "status_code": 1000, "timestamp": "2026-11-10T18:30:00Z", "data": records });
    provider(criterion, "ocpi", &page, map, under::<ocpi::Cdr221>);
}

fn checking(criterion: &mut Criterion) {
    let sessions = podero_sessions();
    let limits = checks::Limits::default();
    let mut group = criterion.benchmark_group("checks of one session");
    group.throughput(Throughput::ElementsAndBytes { elements: sessions.len() as u64, bytes: 0 });
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            sessions.iter().map(|session| checks::check(black_box(session), &limits).len()).sum::<usize>()
        });
    });
    group.finish();
}

fn cursors(criterion: &mut Criterion) {
    let provider = ProviderId::new("podero");
    let query = SessionQuery::all();
    let mut place = OffsetPlace::default();
    let ids: Vec<_> =
        podero_sessions().into_iter().map(|session| Some(session.key().source_id.clone())).collect();
    place.advance(&ids, Some(1_000)).expect("a page");
    let cursor = Cursor::encode(provider, 1, &query, &place);
    let mut group = criterion.benchmark_group("cursor of an offset list");
    group.bench_function("encode", |bencher| {
        bencher.iter(|| Cursor::encode(provider, 1, black_box(&query), black_box(&place)));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| cursor.decode::<OffsetPlace>(provider, 1, black_box(&query)).expect("a place"));
    });
    group.finish();
}

criterion_group!(parts, decoding, checking, cursors);
criterion_main!(parts);
