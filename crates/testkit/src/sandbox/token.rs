//! An OAuth 2.0 token endpoint.
//!
//! Client credentials as HTTP Basic or in the form, refresh tokens that are replaced at each use, and
//! authorization codes. Tokens are opaque words.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded;

use super::{query::Query, random::Random};

/// How long an authorization code may be exchanged.
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// Issues tokens and knows which are valid.
pub(crate) struct TokenEndpoint {
    client_id: String,
    client_secret: String,
    lifetime: Duration,
    scope: &'static str,
    issued: Mutex<Issued>,
}

struct Issued {
    random: Random,
    requests: usize,
    given: Vec<String>,
    access: HashMap<String, Grant>,
    // A refresh token has no end of its own; a code has one.
    refresh: HashMap<String, Option<String>>,
    codes: HashMap<String, Grant>,
}

/// What a token stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The person who signed in; `None` is the application itself.
    pub(crate) user: Option<String>,
    expires: Instant,
}

/// Secrets stay out.
impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl TokenEndpoint {
    pub(crate) fn new(
        client_id: String,
        client_secret: String,
        lifetime: Duration,
        scope: &'static str,
        seed: u64,
    ) -> Self {
        let issued = Issued {
            random: Random::new(&[seed, u64::from_be_bytes(*b"the_keys")]),
            requests: 0,
            given: Vec::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
        };
        Self { client_id, client_secret, lifetime, scope, issued: Mutex::new(issued) }
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    pub(crate) fn client_secret(&self) -> &str {
        &self.client_secret
    }

    /// How often a token was asked for, with or without success.
    pub(crate) fn requests(&self) -> usize {
        self.issued().requests
    }

    /// Every access token that was ever given out.
    pub(crate) fn given(&self) -> Vec<String> {
        self.issued().given.clone()
    }

    /// Counts a request. Apart from [`answer`](Self::answer), because a fault may answer in its place.
    pub(crate) fn count(&self) {
        self.issued().requests += 1;
    }

    /// Answers a request for a token.
    pub(crate) fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        self.grant(headers, body).unwrap_or_else(Refusal::into_response)
    }

    fn grant(&self, headers: &HeaderMap, body: &[u8]) -> Result<Response, Refusal> {
        let form = form(headers, body)?;
        self.authenticate(headers, &form)?;
        let mut issued = self.issued();
        let (user, renewable) = match form.get("grant_type") {
            Some("client_credentials") => (None, false),
            Some("refresh_token") => {
                let token = form.get("refresh_token").ok_or(Refusal::bad("invalid_request"))?;
                (issued.refresh.remove(token).ok_or(Refusal::bad("invalid_grant"))?, true)
            }
            Some("authorization_code") => {
                let code = form.get("code").ok_or(Refusal::bad("invalid_request"))?;
                let grant = issued.codes.remove(code).filter(|grant| Instant::now() < grant.expires);
                (grant.ok_or(Refusal::bad("invalid_grant"))?.user, true)
            }
            _ => return Err(Refusal::bad("unsupported_grant_type")),
        };
        let access_token = issued.random.word(30);
        let expires = Instant::now() + self.lifetime;
        issued.given.push(access_token.clone());
        issued.access.insert(access_token.clone(), Grant { user: user.clone(), expires });
        let mut answer = json!({
            "access_token": access_token,
            "expires_in": self.lifetime.as_secs(),
            "token_type": "Bearer",
            "scope": self.scope,
        });
        if renewable {
            answer["refresh_token"] = issued.refresh_token(user).into();
        }
        Ok(json_response(StatusCode::OK, &answer.to_string()))
    }

    /// Answers a request to take back a token. One that is unknown is taken back already.
    pub(crate) fn revoke(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let revoked = form(headers, body).and_then(|form| {
            self.authenticate(headers, &form)?;
            let token = form.get("token").ok_or(Refusal::bad("invalid_request"))?;
            let mut issued = self.issued();
            issued.access.remove(token);
            issued.refresh.remove(token);
            Ok(Response::new(Body::empty()))
        });
        revoked.unwrap_or_else(Refusal::into_response)
    }

    /// What a bearer token stands for, unless it is unknown or too old.
    pub(crate) fn check(&self, token: &str) -> Option<Grant> {
        let issued = self.issued();
        issued.access.get(token).filter(|grant| Instant::now() < grant.expires).cloned()
    }

    /// Whether the headers carry a bearer token that stands for something.
    pub(crate) fn is_known(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let (scheme, token) = value.and_then(|value| value.split_once(' ')).unwrap_or_default();
        scheme.eq_ignore_ascii_case("bearer") && self.check(token.trim()).is_some()
    }

    /// Makes every access token useless. Refresh tokens stay.
    pub(crate) fn revoke_all(&self) {
        self.issued().access.clear();
    }

    /// A refresh token, as if `user` had signed in.
    pub(crate) fn issue_refresh_token(&self, user: Option<String>) -> String {
        self.issued().refresh_token(user)
    }

    /// A code, as if `user` had just agreed in a browser.
    pub(crate) fn issue_code(&self, user: Option<String>) -> String {
        let mut issued = self.issued();
        let code = issued.random.word(30);
        issued.codes.insert(code.clone(), Grant { user, expires: Instant::now() + CODE_LIFETIME });
        code
    }

    fn authenticate(&self, headers: &HeaderMap, form: &Query) -> Result<(), Refusal> {
        let (id, secret) = match headers.get(header::AUTHORIZATION) {
            Some(value) => basic(value).ok_or(Refusal::client())?,
            None => {
                let id = form.get("client_id").ok_or(Refusal::client())?;
                (id.to_owned(), form.get("client_secret").unwrap_or_default().to_owned())
            }
        };
        // The standard wants both written as in a form before they are joined, and few do that.
        let is = |sent: &str, own: &str| sent == own || from_form(sent) == own;
        if is(&id, &self.client_id) && is(&secret, &self.client_secret) {
            Ok(())
        } else {
            Err(Refusal::client())
        }
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issued {
    fn refresh_token(&mut self, user: Option<String>) -> String {
        let token = self.random.word(30);
        self.refresh.insert(token.clone(), user);
        token
    }
}

fn form(headers: &HeaderMap, body: &[u8]) -> Result<Query, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Ok(Query::parse(body))
    } else {
        Err(Refusal::bad("invalid_request"))
    }
}

fn basic(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (id.to_owned(), secret.to_owned()))
}

fn from_form(text: &str) -> String {
    form_urlencoded::parse(text.as_bytes()).next().map(|(text, _)| text.into_owned()).unwrap_or_default()
}

/// Why no token is given, in the words of RFC 6749.
struct Refusal {
    status: StatusCode,
    error: &'static str,
}

impl Refusal {
    fn bad(error: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }

    fn client() -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client" }
    }

    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &json!({ "error": self.error }).to_string());
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic"));
        }
        response
    }
}

fn json_response(status: StatusCode, body: &str) -> Response {
    let mut response = Response::new(Body::from(body.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
