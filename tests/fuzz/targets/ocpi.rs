//! Bodies as parties send them over OCPI, in each version.
#![no_main]

use charging_sessions_fuzz::{FETCHED_AT, hold};
use charging_sessions_http::Bytes;
use charging_sessions_ocpi::{Mapping, Module, Version};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let body = Bytes::copy_from_slice(data);
    for module in Module::ALL {
        for version in Version::ALL {
            hold(&body, Mapping::new(module, version).page(&body, FETCHED_AT));
        }
    }
});
