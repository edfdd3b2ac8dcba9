//! Answers from files, for tests of a mapping that need no server.
//!
//! A fixture is an HTTP answer as it would be read off the wire, named after its case:
//!
//! ```text
//! HTTP/1.1 200 OK
//! content-type: application/json
//! link: <about:blank>; rel="next"
//!
//! []
//! ```

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, Result, SessionPage};
use charging_sessions_http::{Limits, Request, Response, Transport};
use serde_json::{Value, json};

/// Reads an answer from text in the form of a fixture.
///
/// # Errors
///
/// A sentence that says which line is not as it should be.
pub fn parse(text: &str) -> Result<Response, String> {
    let (head, body) = text.split_once("\n\n").ok_or("no empty line between the headers and the body")?;
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let mut answer = http::Response::builder()
        .status(status.ok_or_else(|| format!("`{first}` is not a line such as `HTTP/1.1 200 OK`"))?);
    for line in lines {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("`{line}` is not a header"))?;
        answer = answer.header(name, value);
    }
    let body = body.strip_suffix('\n').unwrap_or(body);
    answer.body(Bytes::copy_from_slice(body.as_bytes())).map_err(|error| error.to_string())
}

/// Reads every `*.http` file of a folder, by name.
///
/// # Errors
///
/// A sentence that names the file.
pub fn read_folder(folder: impl AsRef<Path>) -> Result<Vec<(String, Response)>, String> {
    let folder = folder.as_ref();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "http"));
    files.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let answer = parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, answer))
    };
    files.into_iter().map(read).collect()
}

/// A transport that answers by rules and remembers what it was asked.
#[derive(Default)]
pub struct FixtureTransport {
    rules: Vec<(String, Response)>,
    sent: Mutex<Vec<String>>,
}

impl FixtureTransport {
    /// Answers nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers requests whose path and query contain `part`, unless an earlier rule does.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>, answer: Response) -> Self {
        self.rules.push((part.into(), answer));
        self
    }

    /// Every request so far: method, path with query, and the headers that are not everybody's, sorted.
    pub fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for FixtureTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixtureTransport").field("rules", &self.rules.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for FixtureTransport {
    async fn send(&self, request: Request, _: &Limits) -> Result<Response> {
        let asked = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut headers: Vec<_> = request
            .headers()
            .iter()
            .map(|(name, value)| {
                let shown =
                    if value.is_sensitive() { "[sensitive]" } else { value.to_str().unwrap_or("[bytes]") };
                format!("\n  {name}: {shown}")
            })
            .collect();
        headers.sort();
        let line = format!("{} {asked}{}", request.method(), headers.concat());
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        let answer = self.rules.iter().find(|(part, _)| asked.contains(part));
        match answer {
            Some((_, answer)) => Ok(answer.clone()),
            None => Err(Error::new(ErrorKind::Network, format!("no fixture answers {asked}"))),
        }
    }
}

/// A page as JSON, for snapshots. Payloads are shown by their length.
pub fn page_as_json(page: &SessionPage) -> Value {
    let rejected: Vec<Value> = page
        .rejected
        .iter()
        .map(|record| {
            json!({
                "id": record.id,
                "code": record.code,
                "path": record.path,
                "reason": record.reason,
                "payload": String::from_utf8_lossy(record.payload.as_bytes()),
            })
        })
        .collect();
    json!({
        "sessions": page.sessions,
        "rejected": rejected,
        "next": page.next,
        "total": page.total,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixture_is_a_status_headers_and_a_body() {
        let answer = parse("HTTP/1.1 429 Too Many Requests\nretry-after: 7\n\n{}\n").unwrap();
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "7");
        assert_eq!(&answer.body()[..], b"{}");
    }

    #[test]
    fn a_bad_fixture_says_what_is_wrong() {
        assert_eq!(
            parse("HTTP/1.1 200 OK\n{}").unwrap_err(),
            "no empty line between the headers and the body"
        );
        assert_eq!(parse("hello\n\n").unwrap_err(), "`hello` is not a line such as `HTTP/1.1 200 OK`");
        assert_eq!(parse("HTTP/1.1 200 OK\nx\n\n").unwrap_err(), "`x` is not a header");
    }
}
