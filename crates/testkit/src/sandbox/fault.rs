//! Things that go wrong on purpose.

use std::{
    convert::Infallible,
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;

/// How much of an oversized body is written at once.
const CHUNK: u64 = 64 * 1024;

/// Something that goes wrong with the next matching request.
///
/// Faults wait in a queue. Each request takes the first one that matches; one that still [lets requests
/// pass](Self::after) does not stop those behind it. Without [`on_token`](Self::on_token) a fault concerns
/// requests for data only.
///
/// ```
/// use charging_sessions_testkit::sandbox::Fault;
///
/// // The second and the third page fail.
/// let outage = Fault::status(503).header("retry-after", "1").after(1).times(2);
/// # drop(outage);
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    effect: Effect,
    target: Target,
    path: Option<String>,
    after: usize,
    times: usize,
}

/// What a fault does.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Latency(Duration),
    Answer { status: StatusCode, headers: HeaderMap, body: Bytes },
    Echo { status: StatusCode },
    RevokeTokens,
    CutBody { sent: usize },
    ContentType(HeaderValue),
    Oversized { bytes: u64 },
    InvalidUtf8,
    Record { index: usize, change: RecordChange },
    Reversed,
    Page(PageFault),
}

/// What a fault does to one record of a listing.
#[derive(Clone, Debug)]
pub(crate) enum RecordChange {
    Replace(Value),
    Set(String, Value),
    Remove(String),
}

/// What a fault does to the order of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageFault {
    Repeat,
    Shift(usize),
    Skip(usize),
    Size(usize),
}

/// Which requests a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Data,
    Token,
}

impl Fault {
    fn new(effect: Effect) -> Self {
        Self { effect, target: Target::Data, path: None, after: 0, times: 1 }
    }

    /// The answer comes late by this much, and is otherwise right.
    pub fn latency(by: Duration) -> Self {
        Self::new(Effect::Latency(by))
    }

    /// Answers with this status and a line of text, before anyone looks at the credentials, as a gateway does.
    ///
    /// # Panics
    ///
    /// If `status` is not between 100 and 999.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("a status has three digits");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Self::new(Effect::Answer { status, headers, body: Bytes::from_static(b"a fault of the sandbox") })
    }

    /// 429 with the wait in a header of this name, in seconds.
    ///
    /// # Panics
    ///
    /// If `header` is not a header name.
    pub fn too_many_requests(header: &str, seconds: u64) -> Self {
        Self::status(429).header(header, &seconds.to_string())
    }

    /// Repeats the headers and the body of the request, credentials and all: in fields where an answer of this status
    /// says what is wrong, and in JSON that breaks off if it is a success.
    ///
    /// # Panics
    ///
    /// If `status` is not between 100 and 999.
    pub fn echo(status: u16) -> Self {
        Self::new(Effect::Echo { status: StatusCode::from_u16(status).expect("a status has three digits") })
    }

    /// A page for people, sent as success: what a proxy or a maintenance page does.
    pub fn html() -> Self {
        Self::status(200).body("text/html; charset=utf-8", "<!doctype html><title>Back soon</title>")
    }

    /// Success without a body, although it says JSON.
    pub fn empty() -> Self {
        Self::status(200).body("application/json", "")
    }

    /// Takes back every access token. The request that meets the fault is the first to be refused.
    pub fn revoke_tokens() -> Self {
        Self::new(Effect::RevokeTokens)
    }

    /// Declares the whole length of the right answer, sends this many bytes of it and closes the connection.
    pub fn cut_body(sent: usize) -> Self {
        Self::new(Effect::CutBody { sent })
    }

    /// The right body under another content type.
    ///
    /// # Panics
    ///
    /// If `content_type` cannot be the value of a header.
    pub fn content_type(content_type: &str) -> Self {
        Self::new(Effect::ContentType(header_value(content_type)))
    }

    /// A body of at least this many bytes, sent in chunks without telling its length. It is JSON to its end, so
    /// that only its size is wrong.
    pub fn oversized(bytes: u64) -> Self {
        Self::new(Effect::Oversized { bytes })
    }

    /// The right body with a byte in it that no UTF-8 text has.
    pub fn invalid_utf8() -> Self {
        Self::new(Effect::InvalidUtf8)
    }

    /// One record of a listing is replaced; `record` need not be an object.
    pub fn replace_record(index: usize, record: Value) -> Self {
        Self::new(Effect::Record { index, change: RecordChange::Replace(record) })
    }

    /// One field of one record gets another value, whether it was there or not.
    pub fn set_field(index: usize, field: &str, value: Value) -> Self {
        Self::new(Effect::Record { index, change: RecordChange::Set(field.to_owned(), value) })
    }

    /// One field of one record is missing.
    pub fn remove_field(index: usize, field: &str) -> Self {
        Self::new(Effect::Record { index, change: RecordChange::Remove(field.to_owned()) })
    }

    /// The previous answer of the listing once more, with its links. Who follows them reads everything, and
    /// some of it twice.
    pub fn repeat_page() -> Self {
        Self::new(Effect::Page(PageFault::Repeat))
    }

    /// The page begins this many records too early, as when records are inserted while somebody reads by
    /// offset. Who follows the links reads everything, and some of it twice.
    pub fn shift_page(by: usize) -> Self {
        Self::new(Effect::Page(PageFault::Shift(by)))
    }

    /// The page begins this many records too late, as when records before it are taken away while somebody reads by
    /// offset. Does nothing to listings whose pages begin behind a record.
    pub fn skip_page(by: usize) -> Self {
        Self::new(Effect::Page(PageFault::Skip(by)))
    }

    /// The page has this many records, whatever was asked for, and the next one begins behind them.
    pub fn page_size(records: usize) -> Self {
        Self::new(Effect::Page(PageFault::Size(records)))
    }

    /// The records of the page come in reverse order, with the links of the right one.
    pub fn reversed_page() -> Self {
        Self::new(Effect::Reversed)
    }

    /// Adds a header to an answer that was made up by [`status`](Self::status) and its kin.
    ///
    /// # Panics
    ///
    /// If `name` or `value` cannot be part of a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Effect::Answer { headers, .. } = &mut self.effect {
            let name: HeaderName = name.parse().expect("a header name");
            headers.insert(name, header_value(value));
        }
        self
    }

    /// Gives another body to an answer that was made up by [`status`](Self::status) and its kin.
    ///
    /// # Panics
    ///
    /// If `content_type` cannot be the value of a header.
    pub fn body(mut self, content_type: &str, text: impl Into<Bytes>) -> Self {
        if let Effect::Answer { headers, body, .. } = &mut self.effect {
            headers.insert(header::CONTENT_TYPE, header_value(content_type));
            *body = text.into();
        }
        self
    }

    /// Only concerns requests whose path contains `part`.
    pub fn on_path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Concerns requests for a token instead of data.
    pub fn on_token(mut self) -> Self {
        self.target = Target::Token;
        self
    }

    /// Lets this many matching requests pass first.
    pub fn after(mut self, requests: usize) -> Self {
        self.after = requests;
        self
    }

    /// Happens this many times in a row instead of once.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header value is visible text on one line")
}

/// The faults that have not happened yet.
#[derive(Debug, Default)]
pub(crate) struct FaultQueue {
    faults: Mutex<Vec<Fault>>,
}

impl FaultQueue {
    pub(crate) fn push(&self, fault: Fault) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// What goes wrong with this request.
    pub(crate) fn take(&self, target: Target, path: &str) -> Option<Effect> {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.retain(|fault| fault.times > 0);
        for fault in faults.iter_mut() {
            let concerns = fault.path.as_deref().is_none_or(|part| path.contains(part));
            if fault.target != target || !concerns {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            return Some(fault.effect.clone());
        }
        None
    }

    /// How many have not happened yet.
    pub(crate) fn clear(&self) {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn waiting(&self) -> usize {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().filter(|fault| fault.times > 0).count()
    }
}

impl Effect {
    /// The answer, if this effect replaces what the sandbox would say.
    pub(crate) fn answer(&self) -> Option<Response> {
        let Self::Answer { status, headers, body } = self else {
            return None;
        };
        let mut response = Response::new(Body::from(body.clone()));
        *response.status_mut() = *status;
        *response.headers_mut() = headers.clone();
        Some(response)
    }

    /// Spoils an answer the sandbox has given. `records` is the JSON pointer to the array of a listing.
    pub(crate) async fn spoil(self, response: Response, records: &str) -> Response {
        let (mut parts, body) = response.into_parts();
        // The body is in memory and has no limit to break; it fails only if it was spoilt before.
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
        let body = match self {
            Self::CutBody { sent } => {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
                // Cutting behind the last byte would be no cut.
                cut(body.slice(..sent.min(body.len().saturating_sub(1))))
            }
            Self::ContentType(value) => {
                parts.headers.insert(header::CONTENT_TYPE, value);
                Body::from(body)
            }
            Self::Oversized { bytes } => endless(bytes),
            Self::InvalidUtf8 => Body::from(with_invalid_byte(&body)),
            Self::Record { index, change } => Body::from(with_record(&body, records, index, change)),
            Self::Reversed => Body::from(reversed(&body, records)),
            Self::Latency(_)
            | Self::Answer { .. }
            | Self::Echo { .. }
            | Self::RevokeTokens
            | Self::Page(_) => Body::from(body),
        };
        Response::from_parts(parts, body)
    }
}

/// What [`Fault::echo`] answers.
pub(crate) async fn echo(status: StatusCode, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut said = String::from_utf8_lossy(&body).into_owned();
    for (name, value) in &parts.headers {
        said += &format!("; {name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let fields = ["title", "detail", "message", "error", "error_description", "status_message", "code"];
    let mut text = fields.into_iter().map(|name| (name, said.as_str())).collect::<Value>().to_string();
    if status.is_success() {
        text.truncate(text.len() - 2);
    }
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Sends `start` and then breaks off.
fn cut(start: Bytes) -> Body {
    Body::from_stream(stream::unfold(Some(start), |left| async {
        if let Some(start) = left {
            return Some((Ok(start), None));
        }
        // The server writes what it has only while a body makes it wait; without a pause the other side
        // would see a closed connection and not a single byte.
        tokio::task::yield_now().await;
        Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
    }))
}

fn endless(bytes: u64) -> Body {
    Body::from_stream(stream::unfold((0, bytes), |(sent, bytes)| async move {
        let chunk = match sent {
            _ if sent > bytes => return None,
            0 => Bytes::from_static(b"["),
            _ if sent == bytes => Bytes::from_static(b"]"),
            _ => Bytes::from(vec![b' '; usize::try_from(CHUNK.min(bytes - sent)).unwrap_or(1)]),
        };
        let sent = sent + u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        Some((Ok::<_, Infallible>(chunk), (sent, bytes)))
    }))
}

/// Puts the byte behind the first quotation mark, so that it is inside a text.
fn with_invalid_byte(body: &[u8]) -> Vec<u8> {
    let place = body.iter().position(|byte| *byte == b'"').map_or(0, |mark| mark + 1);
    let mut body = body.to_vec();
    body.insert(place, 0xff);
    body
}

fn reversed(body: &Bytes, records: &str) -> Bytes {
    let Ok(mut document) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    if let Some(Value::Array(list)) = document.pointer_mut(records) {
        list.reverse();
    }
    Bytes::from(document.to_string())
}

fn with_record(body: &Bytes, records: &str, index: usize, change: RecordChange) -> Bytes {
    let Ok(mut document) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    // The answer may be one record rather than a list of them.
    let record = match document.pointer_mut(records) {
        Some(Value::Array(list)) => list.get_mut(index),
        single => single,
    };
    let Some(record) = record else {
        return body.clone();
    };
    match (change, record) {
        (RecordChange::Replace(value), record) => *record = value,
        (RecordChange::Set(field, value), Value::Object(fields)) => drop(fields.insert(field, value)),
        (RecordChange::Remove(field), Value::Object(fields)) => drop(fields.remove(&field)),
        _ => {}
    }
    Bytes::from(document.to_string())
}
