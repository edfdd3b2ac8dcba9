//! What decoding and mapping a page costs, beside what `serde_json` needs for the same bytes.
//!
//! Prints ratios from one run on one machine: `cargo bench -p charging-sessions-ev-energy`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use charging_sessions_ev_energy::Mapping;
use charging_sessions_http::Bytes;
use charging_sessions_testkit::sandbox::ev_energy::EvEnergySandbox;
use jiff::Timestamp;

// The generated types are private, so the benchmark compiles them for itself.
#[allow(clippy::all, dead_code, missing_docs, unused_qualifications, reason = "generated")]
#[path = "../src/generated.rs"]
mod generated;

const ROUNDS: usize = 2_000;

fn main() {
    let page = page();
    let fetched_at: Timestamp = "2026-11-20T12:00:00Z".parse().expect("an instant");
    let mapping = Mapping::default();
    let parse = || {
        let records: Vec<generated::ChargingSubSession> = serde_json::from_slice(&page).expect("a page");
        black_box(records);
    };
    let map = || {
        black_box(mapping.sub_sessions(&page, fetched_at).expect("a page"));
    };
    assert_eq!(mapping.sub_sessions(&page, fetched_at).expect("a page").sessions.len(), 100);
    let [parsed, mapped] = medians([&parse, &map]);
    println!("one page of 100 sub-sessions, {} bytes, median of {ROUNDS} rounds", page.len());
    println!("serde_json into the generated types  {:8.1} µs", micros(parsed));
    println!("decode and map into core sessions    {:8.1} µs", micros(mapped));
    println!("ratio                                {:8.2}", micros(mapped) / micros(parsed));
}

/// A hundred sub-sessions as the sandbox sends them.
fn page() -> Bytes {
    let now = "2026-11-20T12:00:00Z".parse().expect("an instant");
    // Without dirt: what a page that is all good costs.
    let sandbox = EvEnergySandbox::builder().seed(7).now(now).sessions(100).dirt(false).build();
    serde_json::to_vec(&sandbox.truth()).expect("plain data").into()
}

/// The contenders take turns, so that a change of the machine's mood meets both.
fn medians<const N: usize>(contenders: [&dyn Fn(); N]) -> [Duration; N] {
    let mut times = [(); N].map(|()| Vec::with_capacity(ROUNDS));
    for _ in 0..ROUNDS {
        for (contender, times) in contenders.iter().zip(&mut times) {
            let start = Instant::now();
            contender();
            times.push(start.elapsed());
        }
    }
    times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
