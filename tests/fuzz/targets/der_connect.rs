//! Bodies as DER-Connect sends them.
#![no_main]

use charging_sessions_der_connect::Mapping;
use charging_sessions_fuzz::{FETCHED_AT, hold};
use charging_sessions_http::Bytes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    hold(&body, Mapping::default().page(&body, FETCHED_AT));
});
