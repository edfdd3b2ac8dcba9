//! Numbers, currencies and instants, as they come in texts.
#![no_main]

use charging_sessions_core::{
    AccountId, ChargingSession, Currency, Energy, Power, decimal_from_f64, decimal_from_str,
};
use charging_sessions_http::utc;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(bits) = data.first_chunk::<8>() {
        let number = f64::from_le_bytes(*bits);
        if let Some(kilo) = decimal_from_f64(number) {
            if let Some(energy) = Energy::from_kwh(kilo) {
                let text = serde_json::to_string(&energy).expect("it can be written");
                assert_eq!(serde_json::from_str::<Energy>(&text).expect("it can be read"), energy);
            }
            let _ = Power::from_kw(kilo);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(instant) = utc(text) {
        assert_eq!(utc(&instant.to_string()), Some(instant));
    }
    if let Some(currency) = Currency::parse(text) {
        assert_eq!(Currency::parse(&currency.to_string()), Some(currency));
    }
    drop(text.parse::<AccountId>());
    if let Some(decimal) = decimal_from_str(text) {
        assert_eq!(decimal_from_str(&decimal.to_string()), Some(decimal));
    }
    drop(serde_json::from_str::<Energy>(text));
    if let Ok(session) = serde_json::from_str::<ChargingSession>(text) {
        charging_sessions_fuzz::hold_one(session);
    }
});
