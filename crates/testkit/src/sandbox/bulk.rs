//! Any number of sessions, shaped like those of the ev.energy API v2 and computed when they are asked for: nothing of
//! them is kept, so that a million weigh as much as ten.
//!
//! For measuring, and therefore with less in it than [`ev_energy`](super::ev_energy): it signs everybody in, lists
//! sub-sessions page by page, the newest first, and knows no filter. A record has the fields and about the length of a
//! real one.

use std::{fmt::Write as _, io};

use axum::{
    Router,
    extract::State,
    response::IntoResponse,
    routing::{get, post},
};
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};

use super::{Running, query::Query};

/// The largest page, as with the provider.
const MAX_PAGE: usize = 100;
/// From one session to the next, unless told otherwise.
pub(super) const STEP: SignedDuration = SignedDuration::from_mins(5);
/// Of each session.
const LENGTH: SignedDuration = SignedDuration::from_mins(174);

/// An account with this many sessions.
#[derive(Clone, Copy, Debug)]
pub struct Bulk {
    /// How many.
    pub sessions: usize,
    /// When the latest of them ended.
    pub now: Timestamp,
    /// From one session to the next.
    pub(super) step: SignedDuration,
}

impl Bulk {
    /// An account with this many sessions, five minutes apart and the last one ending at `now`.
    pub fn new(sessions: usize, now: Timestamp) -> Self {
        Self { sessions, now, step: STEP }
    }

    /// Serves on a loopback port that the system chooses.
    ///
    /// # Errors
    ///
    /// If no port can be had.
    pub async fn start(self) -> io::Result<Running<Self>> {
        let router = Router::new()
            .route("/o/token/", post(token))
            .route("/v2/charging_sub_sessions", get(sub_sessions))
            .with_state(self);
        Running::start(self, router).await
    }

    /// What the energy of all sessions adds up to, in watt-hours.
    pub fn energy_watt_hours(&self) -> u64 {
        (0..self.sessions).map(energy).sum()
    }

    /// When the session with this number began, the newest being 0.
    pub(super) fn begins(&self, number: usize) -> Timestamp {
        let back = self.step.saturating_mul(i32::try_from(number).unwrap_or(i32::MAX));
        self.now.saturating_sub(back.saturating_add(LENGTH)).unwrap_or(Timestamp::MIN)
    }

    /// The record with this number, the newest being 0, with a tag of four letters in its identifiers.
    pub(super) fn write(&self, tag: &str, number: usize, into: &mut String) {
        let id = id(tag, number);
        let start = self.begins(number);
        let end = start.saturating_add(LENGTH).unwrap_or(Timestamp::MAX);
        let energy = energy(number);
        let (vehicle, kwh) = (number % 7, energy as f64 / 1000.0);
        let (cost, co2, savings) = (energy * 9 / 1000, energy * 132 / 1000, energy / 62);
        let url = "https://api.ev.energy/v2";
        let record = format!(
            r#"{{"id":"{id}","url":"{url}/charging_sub_sessions/{id}","start":"{start}","end":"{end}","mode":"SMART","vehicle":"{url}/vehicles/vhcl01K3{tag}{vehicle:016}","evse":"{url}/evses/evse01K3{tag}{vehicle:016}","energy_delivered_watt_hours":{energy},"cost":{cost},"location":{{"name":"Home","coordinates":{{"latitude":51.5257,"longitude":-0.0836}},"postal_code":"EX1 1EX","address_1":"1 Example Road","timezone":"Europe/London"}},"percentage_added":30,"currency":"GBP","savings_cost":{savings},"savings_co2_grams":1210,"incentive_earned":99,"total_co2_grams":{co2},"co2_intensity_grams_per_kilowatt_hour":132,"co2_intensity_classification":"low","cost_per_kilowatt_hour":9,"total_points":21,"total_points_missed":0,"duration_minutes":174,"grid_energy_delivered_watt_hours":{energy},"solar_energy_delivered_watt_hours":0,"labels":["PRIMARY"],"energy_usage":"{url}/charging_sub_sessions/{id}/energy_usage","schedules":"{url}/charging_sub_sessions/{id}/schedules","tariff":"{url}/tariffs/tari01K3BULK0000000000000001","grid_energy_delivered":"{kwh:.2}"}}"#
        );
        into.push_str(&record);
    }
}

/// Identifiers fall as sessions get older, as those of the provider do.
pub(super) fn id(tag: &str, number: usize) -> String {
    format!("csub01K3{tag}{:016}", u32::MAX as usize - number)
}

/// The number of an identifier that ends as [`id`] writes it.
pub(super) fn number(id: &str) -> Option<usize> {
    let digits = id.get(id.len().checked_sub(16)?..)?.parse::<usize>().ok()?;
    (u32::MAX as usize).checked_sub(digits)
}

/// The tag of an account that is alone.
const TAG: &str = "BULK";

/// Between half a kilowatt-hour and sixty, and seldom twice the same in a row.
fn energy(number: usize) -> u64 {
    500 + (number as u64).wrapping_mul(7919) % 59_500
}

async fn token() -> impl IntoResponse {
    let body = r#"{"access_token":"bulk","token_type":"Bearer","expires_in":36000}"#;
    ([(header::CONTENT_TYPE, "application/json")], body)
}

async fn sub_sessions(State(bulk): State<Bulk>, query: axum::extract::RawQuery) -> impl IntoResponse {
    let query = Query::parse(query.0.unwrap_or_default().as_bytes());
    let size = query.get("page_size").and_then(|size| size.parse().ok()).unwrap_or(25).clamp(1, MAX_PAGE);
    let after = query.get("page_after").map(number);
    let first = match after {
        None => 0,
        Some(Some(last)) => last + 1,
        Some(None) => return Err((StatusCode::BAD_REQUEST, "page_after is no identifier of this account")),
    };
    let end = bulk.sessions.min(first + size);
    let mut body = String::with_capacity(size * 1400);
    body.push('[');
    for number in first..end {
        if number > first {
            body.push(',');
        }
        bulk.write(TAG, number, &mut body);
    }
    body.push(']');
    let mut link = String::from("<about:blank>; rel=\"previous\", ");
    let more = (end < bulk.sessions).then(|| id(TAG, end - 1));
    let next = more.map_or_else(
        || "about:blank".to_owned(),
        |last| {
            let url = "https://api.ev.energy/v2/charging_sub_sessions";
            format!("{url}?page_size={size}&page_after={last}")
        },
    );
    // Writing to a text does not fail.
    let _ = write!(link, "<{next}>; rel=\"next\"");
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LINK, link),
        (header::HeaderName::from_static("evenergy-version"), "2.0".to_owned()),
    ];
    Ok((headers, body))
}
