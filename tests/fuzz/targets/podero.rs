//! Bodies as Podero sends them.
#![no_main]

use charging_sessions_fuzz::{FETCHED_AT, hold, hold_one};
use charging_sessions_http::Bytes;
use charging_sessions_podero::Mapping;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    let mapping = Mapping::default();
    hold(&body, mapping.page(&body, FETCHED_AT));
    if let Ok(Some(session)) = mapping.current(&body, FETCHED_AT) {
        hold_one(session);
    }
});
