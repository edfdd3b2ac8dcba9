//! Bodies as ev.energy sends them.
#![no_main]

use charging_sessions_ev_energy::Mapping;
use charging_sessions_fuzz::{FETCHED_AT, hold, hold_one};
use charging_sessions_http::Bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let mapping = Mapping::default();
    hold(&body, mapping.sub_sessions(&body, FETCHED_AT));
    hold(&body, mapping.plug_ins(&body, FETCHED_AT));
    for session in
        [mapping.sub_session(&body, FETCHED_AT), mapping.event(&body, FETCHED_AT)].into_iter().flatten()
    {
        hold_one(session);
    }
    for merged in [false, true] {
        drop(mapping.energy_usage(&body, merged));
    }
});
