//! How a provider deviates from plain HTTP, and what it says when it refuses.

use std::{collections::BTreeMap, time::Duration};

use charging_sessions_core::{ErrorKind, Notification, Problem};
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::{Response, decode::kind_of_body, text};

/// How a provider deviates from plain HTTP. The default deviates in nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Dialect {
    /// The headers that say how long to wait, the preferred one first. `["retry-after"]` by default.
    pub retry_after: &'static [&'static str],
    /// The headers that say how many requests are left in the window of the quota. None by default.
    pub remaining: &'static [&'static str],
    /// Gives an answer another meaning than its status has: an error inside a 200, a 403 that is a rate limit.
    /// `None` leaves it to the status. A [transient](ErrorKind::is_transient) kind is retried.
    pub classify: fn(&Response) -> Option<ErrorKind>,
    /// Reads what the provider says about a refusal. [`problem`] by default. It need not clean the texts.
    pub problem: fn(&Response) -> Option<Problem>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialect {
    /// Plain HTTP.
    pub const fn new() -> Self {
        Self { retry_after: &["retry-after"], remaining: &[], classify: |_| None, problem }
    }

    /// Changes [`retry_after`](Self::retry_after).
    #[must_use]
    pub const fn with_retry_after(mut self, names: &'static [&'static str]) -> Self {
        self.retry_after = names;
        self
    }

    /// Changes [`remaining`](Self::remaining).
    #[must_use]
    pub const fn with_remaining(mut self, names: &'static [&'static str]) -> Self {
        self.remaining = names;
        self
    }

    /// Changes [`classify`](Self::classify).
    #[must_use]
    pub const fn with_classify(mut self, classify: fn(&Response) -> Option<ErrorKind>) -> Self {
        self.classify = classify;
        self
    }

    /// Changes [`problem`](Self::problem).
    #[must_use]
    pub const fn with_problem(mut self, problem: fn(&Response) -> Option<Problem>) -> Self {
        self.problem = problem;
        self
    }

    /// How long the provider asks to wait; `None` if it does not say, or says nothing usable.
    pub(crate) fn wait(&self, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
        // The provider's own clock: a wrong one here, or there, then does no harm.
        let now = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?)).unwrap_or(now);
        values(headers, self.retry_after).find_map(|value| wait(value, now))
    }

    /// How many requests the provider says are left.
    pub(crate) fn left(&self, headers: &HeaderMap) -> Option<u32> {
        values(headers, self.remaining).find_map(|value| value.parse().ok())
    }

    /// What the provider said, fit to print and without `secrets`.
    pub(crate) fn said(&self, response: &Response, secrets: &[SecretString]) -> Option<Problem> {
        (self.problem)(response).map(|problem| scrub(problem, secrets)).filter(|p| *p != Problem::default())
    }
}

fn values<'a>(headers: &'a HeaderMap, names: &'a [&str]) -> impl Iterator<Item = &'a str> {
    names
        .iter()
        .flat_map(|name| headers.get_all(*name))
        .filter_map(|value| value.to_str().ok())
        .map(str::trim)
}

/// Seconds, also with a fraction, or a date.
fn wait(value: &str, now: Timestamp) -> Option<Duration> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let wait = match value.split_once('.') {
        // More digits than fit still mean a very long time.
        None if is_number(value) => Duration::from_secs(value.parse().unwrap_or(u64::MAX)),
        Some((whole, part)) if is_number(whole) && is_number(part) => {
            Duration::try_from_secs_f64(value.parse().ok()?).unwrap_or(Duration::MAX)
        }
        _ => Duration::try_from(http_date(value)?.duration_since(now)).ok()?,
    };
    (!wait.is_zero()).then_some(wait)
}

fn http_date(value: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()
}

/// What a status stands for; `None` for success.
pub(crate) fn by_status(status: StatusCode) -> Option<ErrorKind> {
    Some(match status {
        s if s.is_success() => return None,
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
        StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::REQUEST_TIMEOUT => ErrorKind::Timeout,
        StatusCode::TOO_EARLY => ErrorKind::Unavailable,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        s if s.is_client_error() => ErrorKind::Rejected,
        s if s.is_server_error() => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    })
}

/// The statuses after which the same request may succeed.
pub(crate) fn is_retried(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The sentence of an error of this kind.
pub(crate) fn sentence(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unauthenticated => "the credentials were refused",
        ErrorKind::PermissionDenied => "the credentials may not read this",
        ErrorKind::NotFound => "what was asked for does not exist or is not visible",
        ErrorKind::RateLimited => "the provider asks to slow down",
        ErrorKind::Timeout | ErrorKind::Unavailable => "the provider could not answer",
        ErrorKind::Protocol => "the provider answered with an undocumented status",
        _ => "the provider refused the request",
    }
}

/// Bodies longer than this are not read for an explanation.
const LONGEST_EXPLANATION: usize = 64 * 1024;

/// Reads what a refusal says: RFC 9457 with `field_errors` and `notification`, the usual members of plain JSON
/// (`detail`, `message`, `error`, `error_description`, `code`), or plain text.
///
/// Tolerant member by member: one of the wrong type is passed over. Of an HTML page it only says that it is one.
/// Texts are as they arrived; the [`Client`](crate::Client) makes them fit to print.
pub fn problem(response: &Response) -> Option<Problem> {
    let body = response.body();
    let start = body.iter().position(|b| !b.is_ascii_whitespace())?;
    let mut problem = Problem::default();
    if body[start] == b'<' {
        problem.detail = Some(kind_of_body(&String::from_utf8_lossy(&body[start..])).to_owned());
    } else if body.len() > LONGEST_EXPLANATION {
        problem.detail = Some(format!("an answer of {} bytes", body.len()));
    } else if let Ok(value) = serde_json::from_slice(&body[start..]) {
        match value {
            Value::Object(members) => read_members(&members, &mut problem),
            Value::String(text) => problem.detail = Some(text),
            _ => return None,
        }
    } else {
        problem.detail = Some(String::from_utf8(body.to_vec()).ok()?);
    }
    Some(problem)
}

fn read_members(members: &Map<String, Value>, problem: &mut Problem) {
    let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
    problem.type_uri = text("type");
    problem.title = text("title");
    problem.instance = text("instance");
    problem.detail = text("detail").or_else(|| text("error_description")).or_else(|| text("message"));
    // `{"error": "invalid_grant"}`, `{"error": {"code": …, "message": …}}`, `{"code": …, "message": …}`
    match members.get("error") {
        Some(Value::String(error)) => fill(&mut problem.title, Some(error.clone())),
        Some(Value::Object(error)) => {
            fill(&mut problem.title, error.get("code").or_else(|| error.get("status")).and_then(word));
            fill(&mut problem.detail, error.get("message").and_then(word));
        }
        _ => {}
    }
    fill(&mut problem.title, members.get("code").and_then(word));
    for (name, complaints) in members.get("field_errors").and_then(Value::as_object).into_iter().flatten() {
        let complaints = match complaints {
            Value::Array(complaints) => complaints.iter().filter_map(word).collect(),
            one => Vec::from_iter(word(one)),
        };
        problem.field_errors.insert(name.clone(), complaints);
    }
    // `{"detail": [{"loc": ["query", "limit"], "msg": …}]}`
    for complaint in members.get("detail").and_then(Value::as_array).into_iter().flatten() {
        let place = complaint.get("loc").and_then(Value::as_array).into_iter().flatten();
        let place: Vec<String> = place.filter_map(word).collect();
        if let Some(text) = complaint.get("msg").or(Some(complaint)).and_then(word) {
            problem.field_errors.entry(place.join(".")).or_default().push(text);
        }
    }
    if let Some(members) = members.get("notification").and_then(Value::as_object) {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut notification = Notification::default();
        notification.message_id = text("message_id");
        notification.category = text("category");
        notification.title = text("short_text_title");
        notification.body = text("short_text_body");
        notification.link = text("external_link");
        problem.notification = Some(notification);
    }
}

fn fill(place: &mut Option<String>, text: Option<String>) {
    if place.is_none() {
        *place = text;
    }
}

/// A string or a number.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// How many complaints about fields are kept.
const MOST_FIELD_ERRORS: usize = 20;

fn scrub(problem: Problem, secrets: &[SecretString]) -> Problem {
    let clean = |text: Option<String>| text.and_then(|text| text::clean(&text, secrets));
    let mut scrubbed = Problem::default();
    scrubbed.type_uri = clean(problem.type_uri);
    scrubbed.title = clean(problem.title);
    scrubbed.detail = clean(problem.detail);
    scrubbed.instance = clean(problem.instance);
    scrubbed.field_errors = complaints(problem.field_errors, secrets);
    scrubbed.notification = problem.notification.map(|said| {
        let mut notification = Notification::default();
        notification.message_id = clean(said.message_id);
        notification.category = clean(said.category);
        notification.title = clean(said.title);
        notification.body = clean(said.body);
        notification.link = clean(said.link);
        notification
    });
    scrubbed.notification = scrubbed.notification.filter(|n| *n != Notification::default());
    scrubbed
}

fn complaints(
    fields: BTreeMap<String, Vec<String>>,
    secrets: &[SecretString],
) -> BTreeMap<String, Vec<String>> {
    let mut kept: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let complaints = fields.into_iter().flat_map(|(field, texts)| {
        let field = text::clean(&field, secrets).unwrap_or_default();
        texts.into_iter().map(move |text| (field.clone(), text))
    });
    for (field, complaint) in complaints.take(MOST_FIELD_ERRORS) {
        kept.entry(field).or_default().extend(text::clean(&complaint, secrets));
    }
    kept
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn response(body: impl Into<Bytes>) -> Response {
        Response::new(body.into())
    }

    fn said(body: impl Into<Bytes>) -> Problem {
        Dialect::default().said(&response(body), &["t0ken-value".into()]).unwrap_or_default()
    }

    fn waits(value: &str) -> Option<u64> {
        let now: Timestamp = "2026-09-01T12:00:00Z".parse().unwrap();
        wait(value, now).map(|wait| wait.as_millis() as u64)
    }

    #[test]
    fn a_wait_is_seconds_or_a_date_and_nothing_else() {
        assert_eq!(waits("42"), Some(42_000));
        assert_eq!(waits("1.5"), Some(1_500));
        assert_eq!(waits("Tue, 01 Sep 2026 12:00:30 GMT"), Some(30_000));
        for useless in ["0", "-5", "soon", "", ".", "1.2.3", "Tue, 01 Sep 2026 11:59:59 GMT", "NaN", "1e9"] {
            assert_eq!(waits(useless), None, "{useless}");
        }
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(wait("99999999999999999999999", now), Some(Duration::from_secs(u64::MAX)));
    }

    #[test]
    fn the_first_usable_header_wins_and_the_providers_clock_counts() {
        let dialect = Dialect::new().with_retry_after(&["retry-after", "retryafter"]);
        let mut headers = HeaderMap::new();
        headers.insert("retryafter", "7".parse().unwrap());
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(dialect.wait(&headers, now), Some(Duration::from_secs(7)));
        headers.insert("retry-after", "0".parse().unwrap());
        assert_eq!(dialect.wait(&headers, now), Some(Duration::from_secs(7)));
        headers.insert("retry-after", "Tue, 01 Sep 2026 12:00:30 GMT".parse().unwrap());
        headers.insert("date", "Tue, 01 Sep 2026 12:00:00 GMT".parse().unwrap());
        assert_eq!(dialect.wait(&headers, now), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_full_problem_is_read() {
        let problem = said(
            r#"{"type":"https://a.example/p/","title":"Bad","status":400,"detail":"No such page","instance":"/x",
                "field_errors":{"page_size":["too big","not a number"],"odd":"text","none":7},
                "notification":{"id":"n1","message_id":"ERR7","category":"RETRY","short_text_title":"Oops",
                "short_text_body":"Again","external_link":null,"read_at":5}}"#,
        );
        assert_eq!(problem.title.as_deref(), Some("Bad"));
        assert_eq!(problem.detail.as_deref(), Some("No such page"));
        assert_eq!(problem.type_uri.as_deref(), Some("https://a.example/p/"));
        assert_eq!(problem.instance.as_deref(), Some("/x"));
        assert_eq!(problem.field_errors["page_size"], ["too big", "not a number"]);
        assert_eq!(problem.field_errors["odd"], ["text"]);
        let notification = problem.notification.unwrap();
        assert_eq!(notification.message_id.as_deref(), Some("ERR7"));
        assert_eq!(notification.category.as_deref(), Some("RETRY"));
        assert_eq!(
            (notification.title.as_deref(), notification.body.as_deref()),
            (Some("Oops"), Some("Again"))
        );
        assert_eq!(notification.link, None);
    }

    #[test]
    fn members_of_the_wrong_type_are_passed_over() {
        let problem =
            said(r#"{"type":1,"title":["x"],"detail":{"a":1},"field_errors":[1],"notification":"n"}"#);
        assert_eq!(problem, Problem::default());
        assert_eq!(said(r#"{"title":9,"detail":"still there"}"#).detail.as_deref(), Some("still there"));
    }

    #[test]
    fn plain_json_text_and_html_are_tolerated() {
        let short = |body: &'static str| {
            let Problem { title, detail, .. } = said(body);
            (title, detail)
        };
        let both = |a: &str, b: &str| (Some(a.to_owned()), Some(b.to_owned()));
        let detail = |b: &str| (None, Some(b.to_owned()));
        assert_eq!(short(r#"{"detail":"Not found."}"#), detail("Not found."));
        assert_eq!(short(r#"{"message":"nope"}"#), detail("nope"));
        assert_eq!(
            short(r#"{"error":"invalid_grant","error_description":"expired"}"#),
            both("invalid_grant", "expired")
        );
        assert_eq!(short(r#"{"error":{"code":17,"message":"inner"}}"#), both("17", "inner"));
        assert_eq!(short(r#"{"code":"E1","message":"m"}"#), both("E1", "m"));
        assert_eq!(short("Forbidden\n"), detail("Forbidden"));
        assert_eq!(short("\"quoted\""), detail("quoted"));
        assert_eq!(short("<?xml?><Error>AccessDenied"), detail("XML or other markup"));
        assert_eq!(short("\n<!doctype html><title>secret stack trace"), detail("an HTML page"));
        assert_eq!(short(""), (None, None));
        assert_eq!(short("  \n"), (None, None));
        let listed = said(r#"{"detail":[{"loc":["query","limit",0],"msg":"too big","type":"x"},"bare"]}"#);
        assert_eq!(listed.field_errors["query.limit.0"], ["too big"]);
        assert_eq!(listed.field_errors[""], ["bare"]);
        let long = format!("{{\"detail\":\"{}\"}}", "x".repeat(LONGEST_EXPLANATION));
        assert!(said(long).detail.unwrap().starts_with("an answer of 6"));
        assert_eq!(said(&b"\xff\xfe"[..]), Problem::default());
    }

    #[test]
    fn texts_are_bounded_clean_and_without_secrets() {
        let fields: Vec<String> = (0..50).map(|i| format!("\"f{i}\":[\"bad\"]")).collect();
        let body = format!(
            r#"{{"title":"\u001b[31mred","detail":"got t0ken-value{}","field_errors":{{{}}},
                "notification":{{"short_text_body":"t0ken-value"}}}}"#,
            "x".repeat(400),
            fields.join(",")
        );
        let problem = said(body);
        assert_eq!(problem.title.as_deref(), Some("red"));
        assert_eq!(problem.detail.as_ref().unwrap().chars().count(), 300);
        assert_eq!(problem.field_errors.len(), 20);
        assert!(!format!("{problem:?}").contains("t0ken"));
        let many = said(format!(r#"{{"field_errors":{{"a":[{}]}}}}"#, vec!["\"x\""; 99].join(",")));
        assert_eq!(many.field_errors["a"].len(), 20);
    }

    #[test]
    fn every_status_has_a_kind() {
        for (status, kind) in [
            (301, Some(ErrorKind::Protocol)),
            (200, None),
            (204, None),
            (400, Some(ErrorKind::Rejected)),
            (401, Some(ErrorKind::Unauthenticated)),
            (403, Some(ErrorKind::PermissionDenied)),
            (404, Some(ErrorKind::NotFound)),
            (408, Some(ErrorKind::Timeout)),
            (410, Some(ErrorKind::NotFound)),
            (422, Some(ErrorKind::Rejected)),
            (425, Some(ErrorKind::Unavailable)),
            (429, Some(ErrorKind::RateLimited)),
            (500, Some(ErrorKind::Unavailable)),
            (599, Some(ErrorKind::Unavailable)),
        ] {
            assert_eq!(by_status(StatusCode::from_u16(status).unwrap()), kind, "{status}");
        }
    }

    proptest! {
        #[test]
        fn reading_a_refusal_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            said(body);
        }

        #[test]
        fn waiting_never_panics(value in "\\PC{0,30}|[0-9.+-]{0,30}") {
            waits(&value);
        }
    }
}
