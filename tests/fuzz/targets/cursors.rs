//! Cursors that come back from wherever they were kept: as any text, and as any state in the right wrapping.
#![no_main]

use std::{sync::Arc, time::Duration};

use charging_sessions_core::{ChargingSessionSource, Cursor, SessionQuery};
use charging_sessions_der_connect::DerConnect;
use charging_sessions_ev_energy::EvEnergy;
use charging_sessions_evcc::Evcc;
use charging_sessions_fuzz::{Silence, block_on};
use charging_sessions_http::Policy;
use charging_sessions_ocpi::{Ocpi, Version};
use charging_sessions_podero::Podero;
use serde_json::Value;

fn sources() -> Vec<Arc<dyn ChargingSessionSource>> {
    let policy = || Policy::default().with_max_attempts(1).with_attempt_timeout(Duration::from_secs(5));
    let place = || "https://provider.example/".parse().expect("an address");
    let mut ev_energy = charging_sessions_ev_energy::Config::new("c", "s".into());
    (ev_energy.policy, ev_energy.base_url) = (policy(), place());
    let mut podero = charging_sessions_podero::Config::new("c", "s".into(), "o");
    (podero.policy, podero.base_url) = (policy(), place());
    let mut der_connect = charging_sessions_der_connect::Config::new("c", "s".into());
    (der_connect.policy, der_connect.base_url) = (policy(), place());
    let mut evcc = charging_sessions_evcc::Config::new(place());
    evcc.policy = policy();
    let mut ocpi = charging_sessions_ocpi::Config::direct(Version::V2_2_1, "s".into());
    (ocpi.policy, ocpi.sessions_url) = (policy(), Some(place()));
    vec![
        Arc::new(EvEnergy::with_transport(ev_energy, Arc::new(Silence)).expect("a source")),
        Arc::new(Podero::with_transport(podero, Arc::new(Silence)).expect("a source")),
        Arc::new(DerConnect::with_transport(der_connect, Arc::new(Silence)).expect("a source")),
        Arc::new(Evcc::with_transport(evcc, Arc::new(Silence)).expect("a source")),
        Arc::new(Ocpi::with_transport(ocpi, Arc::new(Silence)).expect("a source")),
    ]
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let state: Option<Value> = serde_json::from_str(text).ok();
    let query = SessionQuery::all();
    block_on(async {
        for source in sources() {
            let wrapped = state.as_ref().map(|state| Cursor::encode(source.provider(), 1, &query, state));
            for cursor in [Some(Cursor::from(text)), wrapped].into_iter().flatten() {
                drop(source.fetch_page(&query, Some(&cursor)).await);
            }
        }
    });
});
