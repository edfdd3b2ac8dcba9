//! What every answer is wrapped in, and what its status says: success in HTTP is none yet.

use charging_sessions_core::{Error, ErrorKind, Problem, Result};
use charging_sessions_http::{self as http, Bytes, Dialect, RawRecords, RawValue, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

pub(crate) const DIALECT: Dialect = Dialect::new().with_classify(classify).with_problem(problem);

/// All but the data.
#[derive(Deserialize)]
struct Status {
    status_code: Option<Value>,
    status_message: Option<Value>,
    /// Not of OCPI: what frameworks answer with of their own accord.
    detail: Option<Value>,
}

#[derive(Deserialize)]
struct Data<T> {
    data: Option<T>,
}

#[derive(Deserialize)]
struct Records<'a> {
    // Null is an empty list. An answer without it is something else.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    data: Option<RawRecords<'a>>,
}

/// The records of a list.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] if the body is no such list, or what its status stands for if that is no success.
pub(crate) fn records(body: &Bytes) -> Result<Vec<&RawValue>> {
    check(body)?;
    http::json(body).map(|Records { data }| data.unwrap_or_default().into())
}

/// The longest answer that is no list of records, in bytes. What is made of it is many times as large.
const LONGEST: usize = 1 << 20;

/// What the answer holds; nothing, if there are no data in it.
///
/// # Errors
///
/// As for [`records`].
pub(crate) fn data<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T> {
    if body.len() > LONGEST {
        let text = format!("the answer is longer than {LONGEST} bytes, which no list of versions is");
        return Err(Error::new(ErrorKind::Protocol, text));
    }
    check(body)?;
    http::json(body).map(|Data { data }| data.unwrap_or_default())
}

fn check(body: &Bytes) -> Result<()> {
    let status: Status = http::json(body)?;
    let kind = match status.status_code.as_ref().and_then(Value::as_i64) {
        Some(code) => by_code(code),
        None => Some(ErrorKind::Protocol),
    };
    let Some(kind) = kind else { return Ok(()) };
    Err(Error::new(kind, said(&status).unwrap_or_else(|| "the answer has no `status_code`".to_owned())))
}

/// What a status stands for; `None` for success.
fn by_code(code: i64) -> Option<ErrorKind> {
    Some(match code {
        1000..=1999 => return None,
        2003 | 2004 => ErrorKind::NotFound,
        3001 => ErrorKind::Rejected,
        // No version in common, no module that both have, nobody behind the hub of that name.
        3002 | 3003 | 4001 => ErrorKind::Config,
        4002 => ErrorKind::Timeout,
        2000..=2999 => ErrorKind::Rejected,
        3000..=4999 => ErrorKind::Unavailable,
        _ => ErrorKind::Protocol,
    })
}

fn classify(response: &Response) -> Option<ErrorKind> {
    let status = || serde_json::from_slice::<Status>(response.body()).ok();
    match response.status().as_u16() {
        200..=299 => by_code(status()?.status_code?.as_i64()?),
        // Frameworks refuse a token with 403 and a word of their own. Whoever speaks OCPI means 403 as it is.
        403 => status()
            .filter(|status| status.status_code.is_none() && status.detail.is_some())
            .map(|_| ErrorKind::Unauthenticated),
        _ => None,
    }
}

fn problem(response: &Response) -> Option<Problem> {
    let status = serde_json::from_slice::<Status>(response.body()).ok();
    let Some(detail) = status.as_ref().filter(|status| status.status_code.is_some()).and_then(said) else {
        return http::problem(response);
    };
    let mut problem = Problem::default();
    problem.detail = Some(detail);
    Some(problem)
}

fn said(status: &Status) -> Option<String> {
    let code = status.status_code.as_ref()?;
    let meaning = match code.as_i64() {
        Some(2001) => "parameters are missing or wrong",
        Some(2003) => "the location is not known",
        Some(2004) => "the token is not known",
        Some(2000..=2999) => "the request is wrong",
        Some(3002) => "the version is not supported",
        Some(3003) => "modules that both sides need are missing",
        Some(3000..=3999) => "the server failed",
        Some(4001) => "the hub does not know the receiver",
        Some(4002) => "the receiver behind the hub did not answer in time",
        Some(4003) => "the receiver behind the hub is not connected",
        Some(4000..=4999) => "the hub failed",
        _ => "a status that OCPI does not know",
    };
    let message = status.status_message.as_ref().and_then(Value::as_str).filter(|text| !text.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("status {code}, {meaning}{message}"))
}
