//! What a request must bring before it is looked at.
//!
//! The order is that of the real thing: a gateway wants to see an `Authorization` header, then the content
//! type and the version are settled, then the token is checked, then the request is counted.

use axum::{body::Body, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{problem::Problem, view::id_in};
use crate::sandbox::token::TokenEndpoint;

/// Who asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller {
    /// The person the token belongs to; `None` is the application itself.
    pub(super) signed_in: Option<String>,
    /// The person the application acts for, from `EvEnergy-User`.
    pub(super) acts_for: Option<String>,
}

impl Caller {
    /// The person whose records alone are visible.
    pub(super) fn restricted_to(&self) -> Option<&str> {
        self.acts_for.as_deref().or(self.signed_in.as_deref())
    }
}

/// The gateway's answer to a request without credentials: not a problem document.
pub(super) fn gateway(headers: &HeaderMap) -> Option<Response> {
    if headers.contains_key(header::AUTHORIZATION) {
        return None;
    }
    let mut response = Response::new(Body::from("Forbidden"));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Some(response)
}

/// Refuses a request that cannot do with JSON.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<(), Problem> {
    let mut ranges = headers.get_all(header::ACCEPT).iter().peekable();
    if ranges.peek().is_none() {
        return Ok(());
    }
    let mut ranges = ranges.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    if ranges.any(admits_json) { Ok(()) } else { Err(Problem::not_acceptable()) }
}

fn admits_json(range: &str) -> bool {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let refused = parts.any(|part| {
        let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
        weight.is_some_and(|weight| weight.trim_matches(['0', '.']).is_empty())
    });
    !refused && ["*/*", "application/*", "application/json"].contains(&kind.as_str())
}

/// Refuses a version that does not exist. Without the header the application's own version is meant.
pub(super) fn version(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(value) = headers.get("evenergy-version") else {
        return Ok(());
    };
    match value.to_str().map(str::trim) {
        Ok("2" | "2.0") => Ok(()),
        other => Err(Problem::version(other.unwrap_or("of this name"))),
    }
}

/// Finds out who asks.
pub(super) fn authenticate(headers: &HeaderMap, tokens: &TokenEndpoint) -> Result<Caller, Problem> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
    let grant = scheme.eq_ignore_ascii_case("bearer").then(|| tokens.check(token.trim())).flatten();
    let grant = grant.ok_or_else(Problem::unauthorized)?;
    Ok(Caller { signed_in: grant.user, acts_for: user(headers)? })
}

/// The documents disagree whether the header carries an id or the URL of a user, so both are understood.
fn user(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("evenergy-user") else {
        return Ok(None);
    };
    let id = value.to_str().ok().and_then(|text| id_in(text, "user"));
    let wrong = || Problem::fields(vec![("EvEnergy-User", "Give the id of a user.")]);
    id.map(|id| Some(id.to_owned())).ok_or_else(wrong)
}
