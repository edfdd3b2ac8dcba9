//! OAuth 2.0 for machines: client credentials, and refresh tokens that rotate.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, Problem, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tracing::{Instrument as _, debug};
use url::{Url, form_urlencoded};

use crate::{
    Answer, Authenticator, Channel, MemoryTokenStore, Request, SignIn, StoredToken, TokenStore,
    auth::{basic, sensitive},
    dialect::by_status,
    lock,
    text::clean,
};

/// How long a token is taken to live if its answer does not say. Too long costs one 401, too short one request.
const ASSUMED_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Longer lifetimes are not believed. Too short costs one request.
const LONGEST_LIFETIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A token is renewed this long before its end, or a tenth of its life before it, whichever is less.
const RENEW_AHEAD: Duration = Duration::from_secs(60);
/// How many refresh tokens are tried for one renewal: that of the store, the configured one, and one that another
/// process has saved meanwhile.
const MOST_REFRESH_TOKENS: usize = 3;
/// After so many refusals in a row the token endpoint is left alone: providers lock accounts.
pub(crate) const MOST_REFUSALS: u32 = 3;

/// Where the token endpoint expects the identifier and the secret of the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialsIn {
    /// In `Authorization: Basic`, each form-encoded first, as RFC 6749 section 2.3.1 has it.
    #[default]
    Basic,
    /// As `client_id` and `client_secret` in the body.
    Body,
}

/// How the request to the token endpoint is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded`, as the standard has it.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// The address of a token endpoint: the configured one, or `path` at the origin of the API.
///
/// # Errors
///
/// [`ErrorKind::Config`] if the base address cannot carry a path.
pub fn token_url(configured: Option<Url>, base_url: &Url, path: &str) -> Result<Url> {
    let unusable = |_| Error::new(ErrorKind::Config, "the base address cannot carry a path");
    configured.map_or_else(|| base_url.join(path).map_err(unusable), Ok)
}

/// An [`Authenticator`] that obtains bearer tokens from a token endpoint.
///
/// - However many requests need a token, one exchange at a time obtains it, and all of them share its outcome.
/// - A token is renewed 60 s, or a tenth of its life, before it ends; without `expires_in` it is taken to live for
///   5 minutes, and one that is born expired is used for the requests that waited for it.
/// - A token goes to the [`TokenStore`] before it is used. The exchange and the saving run in a task of their
///   own: a caller that gives up does not lose a refresh token that the provider has just rotated.
/// - After three refusals in a row (400, 401 or 403) nothing is asked any more: every call fails with
///   [`ErrorKind::Unauthenticated`] until a new `OAuth2` is made.
///
/// Clones share the token.
#[derive(Clone)]
pub struct OAuth2 {
    config: Arc<Config>,
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct Config {
    token_url: Url,
    client_id: String,
    client_secret: Option<SecretString>,
    /// `None` for client credentials.
    refresh_token: Option<SecretString>,
    credentials_in: CredentialsIn,
    format: BodyFormat,
    params: Vec<(String, String)>,
    headers: HeaderMap,
    store: Arc<dyn TokenStore>,
}

#[derive(Default)]
struct State {
    token: Option<Token>,
    /// The last token that was answered with 401: not to be taken from the store again.
    refused: Option<SecretString>,
    /// The last refresh token heard of.
    refresh_token: Option<SecretString>,
    /// Issued, but the store could not save it yet.
    unsaved: Option<StoredToken>,
    refusals: u32,
    flight: Option<watch::Receiver<Option<Outcome>>>,
}

struct Token {
    value: SecretString,
    renew_at: Instant,
}

type Outcome = Result<Duration, Failed>;

impl OAuth2 {
    /// Signs in as the client itself. Nothing is sent before the first request.
    pub fn client_credentials(token_url: Url, id: impl Into<String>, secret: SecretString) -> Self {
        Self::new(token_url, id.into(), Some(secret), None)
    }

    /// Signs in with the refresh token that a user's consent has given. Without `secret` for a public client.
    ///
    /// A refresh token in the [`store`](Self::store) is newer than `refresh_token` and comes first.
    pub fn refresh_token(
        token_url: Url,
        id: impl Into<String>,
        secret: Option<SecretString>,
        refresh_token: SecretString,
    ) -> Self {
        Self::new(token_url, id.into(), secret, Some(refresh_token))
    }

    fn new(
        token_url: Url,
        client_id: String,
        client_secret: Option<SecretString>,
        refresh_token: Option<SecretString>,
    ) -> Self {
        let config = Config {
            token_url,
            client_id,
            client_secret,
            refresh_token,
            credentials_in: CredentialsIn::default(),
            format: BodyFormat::default(),
            params: Vec::new(),
            headers: HeaderMap::new(),
            store: Arc::new(MemoryTokenStore::default()),
        };
        Self { config: Arc::new(config), state: Arc::default() }
    }

    /// Where the credentials of the client go. In `Authorization: Basic` by default.
    #[must_use]
    pub fn credentials_in(mut self, place: CredentialsIn) -> Self {
        self.config_mut().credentials_in = place;
        self
    }

    /// How the body is written. As a form by default.
    #[must_use]
    pub fn body_format(mut self, format: BodyFormat) -> Self {
        self.config_mut().format = format;
        self
    }

    /// Asks for a scope. None is asked for by default.
    #[must_use]
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.param("scope", scope)
    }

    /// Adds a parameter to the body, for example `audience`.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config_mut().params.push((name.into(), value.into()));
        self
    }

    /// Adds a header to the request to the token endpoint.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.config_mut().headers.insert(name, value);
        self
    }

    /// Keeps tokens in `store`. In memory by default.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.config_mut().store = store;
        self
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { token_url, client_id, refresh_token, credentials_in, format, .. } = &*self.config;
        f.debug_struct("OAuth2")
            .field("grant", &if refresh_token.is_some() { "refresh_token" } else { "client_credentials" })
            .field("host", &token_url.host_str())
            .field("client_id", client_id)
            .field("credentials_in", credentials_in)
            .field("body_format", format)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticator for OAuth2 {
    fn endpoints(&self) -> Vec<Url> {
        vec![self.config.token_url.clone()]
    }

    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn> {
        let state = lock(&self.state);
        match &state.token {
            Some(token) if renewed || token.is_fresh() => {
                let value = format!("Bearer {}", token.value.expose_secret()).into();
                request.headers_mut().insert(header::AUTHORIZATION, sensitive(&value)?);
                Ok(SignIn::Done)
            }
            _ if state.refusals >= MOST_REFUSALS => Err(no_longer_asking()),
            _ => Ok(SignIn::Needed),
        }
    }

    async fn renew(&self, channel: &Channel) -> Result<Duration> {
        let mut flight = {
            let mut state = lock(&self.state);
            if state.token.as_ref().is_some_and(Token::is_fresh) {
                return Ok(Duration::ZERO);
            }
            if state.refusals >= MOST_REFUSALS {
                return Err(no_longer_asking());
            }
            match &state.flight {
                Some(flight) => flight.clone(),
                None => {
                    let (outcome, flight) = watch::channel(None);
                    state.flight = Some(flight.clone());
                    let task = self.clone().fly(channel.clone(), outcome);
                    tokio::spawn(task.in_current_span());
                    flight
                }
            }
        };
        // The task ends without an outcome only if the store panics or the runtime shuts down.
        let cut_short = || Error::new(ErrorKind::Network, "sign-in was cut short");
        let outcome = flight.wait_for(Option::is_some).await.map_err(|_| cut_short())?.clone();
        outcome.ok_or_else(cut_short)?.map_err(Error::from)
    }

    fn refused(&self, headers: &HeaderMap) -> bool {
        let used =
            headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let mut state = lock(&self.state);
        if let Some(token) = state.token.take_if(|token| Some(token.value.expose_secret()) == used) {
            state.refused = Some(token.value);
        }
        true
    }

    fn accepted(&self, _: &HeaderMap) {}

    fn secrets(&self) -> Vec<SecretString> {
        let state = lock(&self.state);
        let unsaved = state.unsaved.iter().flat_map(|t| [Some(&t.access_token), t.refresh_token.as_ref()]);
        let all = [
            self.config.client_secret.as_ref(),
            self.config.refresh_token.as_ref(),
            state.refresh_token.as_ref(),
            state.refused.as_ref(),
            state.token.as_ref().map(|token| &token.value),
        ];
        all.into_iter().chain(unsaved).flatten().cloned().collect()
    }
}

impl OAuth2 {
    /// One exchange, in a task of its own.
    async fn fly(self, channel: Channel, outcome: watch::Sender<Option<Outcome>>) {
        /// Lets the next one start, also if this one panics.
        struct Landing(Arc<Mutex<State>>);
        impl Drop for Landing {
            fn drop(&mut self) {
                lock(&self.0).flight = None;
            }
        }
        let landing = Landing(self.state.clone());
        let mut result = self.obtain(&channel).await;
        if let Err(failed) = &mut result {
            // Causes come from outside, for example from a store of the user.
            failed.text = clean(&failed.text, &self.secrets()).unwrap_or_default();
        }
        {
            let mut state = lock(&self.state);
            match &result {
                Ok(_) => state.refusals = 0,
                Err(failed) if failed.is_refusal => state.refusals += 1,
                Err(_) => {}
            }
        }
        drop(landing);
        outcome.send_replace(Some(result));
    }

    async fn obtain(&self, channel: &Channel) -> Outcome {
        let Config { store, refresh_token: configured, .. } = &*self.config;
        let limit = channel.time_limit();
        let began = Instant::now();
        let unsaved = lock(&self.state).unsaved.clone();
        if let Some(token) = unsaved {
            self.keep(channel, token, limit).await?;
            return Ok(began.elapsed());
        }
        let mut left = limit;
        let mut tried: Vec<SecretString> = Vec::new();
        let mut refusal = None;
        loop {
            let began = Instant::now();
            // Anew after each refusal: another process may have been quicker with the same refresh token.
            let stored = timeout(left, store.load()).await.map_err(|_| slow("the token store"))??;
            left = left.saturating_sub(began.elapsed());
            if let Some(token) = &stored
                && self.is_usable(token, channel.now())
            {
                self.install(token, channel.now());
                return Ok(limit - left);
            }
            let Some(configured) = configured else {
                return self.exchange(channel, None, &mut left).await.map(|()| limit - left);
            };
            // The store is newer than the configuration, unless the user has consented anew.
            let candidates =
                stored.and_then(|token| token.refresh_token).into_iter().chain([configured.clone()]);
            let is_new = |token: &SecretString| {
                tried.len() < MOST_REFRESH_TOKENS
                    && tried.iter().all(|tried| tried.expose_secret() != token.expose_secret())
            };
            let next = candidates.into_iter().find(is_new);
            let token = match (next, refusal.take()) {
                (Some(token), _) => token,
                (None, Some(refusal)) => return Err(refusal),
                (None, None) => configured.clone(),
            };
            match self.exchange(channel, Some(&token), &mut left).await {
                Err(failed) if failed.is_refusal => {
                    debug!("a refresh token was refused");
                    tried.push(token);
                    refusal = Some(failed);
                }
                outcome => return outcome.map(|()| limit - left),
            }
        }
    }

    /// Asks with `refresh_token`, or as the client itself, and uses what is issued. `left` is what remains of the
    /// time limit.
    async fn exchange(
        &self,
        channel: &Channel,
        refresh_token: Option<&SecretString>,
        left: &mut Duration,
    ) -> Result<(), Failed> {
        if let Some(token) = refresh_token {
            lock(&self.state).refresh_token = Some(token.clone());
        }
        let (request, secrets) = self.request(refresh_token)?;
        let answer = channel.send(request).await?;
        *left = left.saturating_sub(answer.took);
        let token = self.read(channel, &answer, refresh_token, &secrets)?;
        let began = Instant::now();
        self.keep(channel, token, *left).await?;
        *left = left.saturating_sub(began.elapsed());
        Ok(())
    }

    fn request(&self, refresh_token: Option<&SecretString>) -> Result<(Request, Vec<SecretString>)> {
        let Config { token_url, client_id, client_secret, credentials_in, format, params, headers, .. } =
            &*self.config;
        let grant = if refresh_token.is_some() { "refresh_token" } else { "client_credentials" };
        let mut pairs = vec![("grant_type", grant)];
        pairs.extend(refresh_token.map(|token| ("refresh_token", token.expose_secret())));
        pairs.extend(params.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut request = Request::default();
        *request.headers_mut() = headers.clone();
        let mut secrets = self.secrets();
        match (credentials_in, client_secret) {
            (CredentialsIn::Basic, Some(secret)) => {
                let encoded =
                    |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let value = basic(&encoded(client_id), &encoded(secret.expose_secret()));
                request.headers_mut().insert(header::AUTHORIZATION, sensitive(&value)?);
                secrets.push(value.expose_secret().trim_start_matches("Basic ").into());
            }
            (_, secret) => {
                pairs.push(("client_id", client_id));
                pairs.extend(secret.as_ref().map(|secret| ("client_secret", secret.expose_secret())));
            }
        }
        let (body, content_type) = match format {
            BodyFormat::Form => {
                let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
                (form, "application/x-www-form-urlencoded")
            }
            BodyFormat::Json => {
                let members: Map<String, Value> =
                    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
                (Value::Object(members).to_string(), "application/json")
            }
        };
        *request.method_mut() = Method::POST;
        *request.uri_mut() = token_url.as_str().parse().map_err(|_| {
            Error::new(ErrorKind::Config, "the token URL has characters that a request cannot carry")
        })?;
        *request.body_mut() = Bytes::from(body);
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        Ok((request, secrets))
    }

    fn read(
        &self,
        channel: &Channel,
        answer: &Answer,
        refresh_token: Option<&SecretString>,
        secrets: &[SecretString],
    ) -> Result<StoredToken, Failed> {
        let refused = |kind, text| Failed::from(channel.refusal(kind, text, answer, secrets));
        let refusal = || Failed {
            is_refusal: true,
            ..refused(ErrorKind::Unauthenticated, "the token endpoint refused the credentials")
        };
        match answer.status {
            status if status.is_success() => {}
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(refusal());
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                return Err(refused(ErrorKind::Config, "there is no token endpoint at the token URL"));
            }
            status if status.is_redirection() => {
                return Err(refused(
                    ErrorKind::Config,
                    "the token endpoint redirects, which is not followed",
                ));
            }
            status => {
                let kind = by_status(status).unwrap_or(ErrorKind::Protocol);
                return Err(refused(kind, "the token endpoint could not answer"));
            }
        }
        let unexpected =
            |text| Failed::from(Error::new(ErrorKind::Protocol, text).with_status(answer.status.as_u16()));
        let grant: Map<String, Value> =
            crate::decode::json(&answer.body).map_err(|e| unexpected(format!("the token endpoint: {e}")))?;
        let text = |name: &str| grant.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(access_token) = text("access_token") else {
            // Some say with 200 that they refuse.
            return Err(match text("error") {
                Some(_) => refusal(),
                None => unexpected("the token endpoint answered without an access token".to_owned()),
            });
        };
        let refresh_token = text("refresh_token").map(SecretString::from).or_else(|| refresh_token.cloned());
        let expires_at = answer.received_at.checked_add(lifetime(grant.get("expires_in"))).ok();
        Ok(StoredToken::new(access_token.into(), refresh_token, expires_at))
    }

    /// Saves `token`, and only then uses it. What cannot be saved is remembered, so that the next attempt saves it
    /// instead of asking with a refresh token that the provider has already replaced.
    async fn keep(&self, channel: &Channel, token: StoredToken, limit: Duration) -> Result<(), Failed> {
        lock(&self.state).unsaved = Some(token.clone());
        timeout(limit, self.config.store.save(&token)).await.map_err(|_| slow("the token store"))??;
        lock(&self.state).unsaved = None;
        self.install(&token, channel.now());
        Ok(())
    }

    fn is_usable(&self, token: &StoredToken, now: Timestamp) -> bool {
        let left = token.expires_at.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
        let refused = lock(&self.state).refused.as_ref().map(|t| t.expose_secret().to_owned());
        left.is_some_and(|left| left > RENEW_AHEAD)
            && refused.as_deref() != Some(token.access_token.expose_secret())
    }

    fn install(&self, token: &StoredToken, now: Timestamp) {
        let left = token.expires_at.and_then(|end| Duration::try_from(end.duration_since(now)).ok());
        let left = left.unwrap_or_default().min(LONGEST_LIFETIME);
        let renew_at = Instant::now() + left.saturating_sub(RENEW_AHEAD.min(left / 10));
        let mut state = lock(&self.state);
        state.token = Some(Token { value: token.access_token.clone(), renew_at });
        state.refresh_token.clone_from(&token.refresh_token);
    }
}

impl Token {
    fn is_fresh(&self) -> bool {
        Instant::now() < self.renew_at
    }
}

/// The lifetime that an answer gives. Numbers also as text; never negative and never absurd.
fn lifetime(expires_in: Option<&Value>) -> Duration {
    let seconds = match expires_in {
        Some(Value::Number(seconds)) => seconds.as_f64(),
        Some(Value::String(seconds)) => seconds.trim().parse().ok(),
        _ => None,
    };
    match seconds.filter(|seconds| !seconds.is_nan()) {
        Some(seconds) => {
            Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(LONGEST_LIFETIME).min(LONGEST_LIFETIME)
        }
        None => ASSUMED_LIFETIME,
    }
}

fn no_longer_asking() -> Error {
    let text = format!(
        "the token endpoint refused these credentials {MOST_REFUSALS} times in a row and is no longer asked; \
         correct them and start anew"
    );
    Error::new(ErrorKind::Unauthenticated, text)
}

fn slow(what: &str) -> Failed {
    Error::new(ErrorKind::Timeout, format!("{what} did not answer in time")).into()
}

/// An error that every request waiting for the same exchange can have.
#[derive(Clone, Debug)]
struct Failed {
    kind: ErrorKind,
    text: String,
    status: Option<u16>,
    retry_after: Option<Duration>,
    exhausted: bool,
    problem: Option<Box<Problem>>,
    is_refusal: bool,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self {
            kind: error.kind(),
            text: text_of(&error),
            status: error.status(),
            retry_after: error.retry_after(),
            exhausted: error.is_exhausted(),
            problem: error.problem().cloned().map(Box::new),
            is_refusal: false,
        }
    }
}

/// The message with its causes. Status and problem are carried apart.
fn text_of(error: &Error) -> String {
    let mut text = error.to_string();
    let problem = error.problem().map(|problem| format!(": {problem}"));
    let status = error.status().map(|status| format!(" (HTTP {status})"));
    for apart in [problem, status].into_iter().flatten() {
        if text.ends_with(&apart) {
            text.truncate(text.len() - apart.len());
        }
    }
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let mut error = Self::new(failed.kind, format!("sign-in failed: {}", failed.text));
        if let Some(status) = failed.status {
            error = error.with_status(status);
        }
        if let Some(wait) = failed.retry_after {
            error = error.with_retry_after(wait);
        }
        if let Some(problem) = failed.problem {
            error = error.with_problem(*problem);
        }
        if failed.exhausted { error.exhausted() } else { error }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lifetime_is_read_however_it_is_written() {
        for (value, seconds) in [
            (json!(36000), 36_000),
            (json!("3600"), 3_600),
            (json!(3599.9), 3_599),
            (json!(0), 0),
            (json!(-1), 0),
            (json!("-5"), 0),
            (json!(1e300), LONGEST_LIFETIME.as_secs()),
            (json!("inf"), LONGEST_LIFETIME.as_secs()),
            (json!("NaN"), ASSUMED_LIFETIME.as_secs()),
            (json!("soon"), ASSUMED_LIFETIME.as_secs()),
            (json!(null), ASSUMED_LIFETIME.as_secs()),
        ] {
            assert_eq!(lifetime(Some(&value)).as_secs(), seconds, "{value}");
        }
        assert_eq!(lifetime(None), ASSUMED_LIFETIME);
    }

    #[test]
    fn a_shared_failure_says_the_same_as_the_error_it_came_from() {
        let error = || Error::new(ErrorKind::RateLimited, "too fast").with_status(429);
        let copy = Error::from(Failed::from(error().with_retry_after(Duration::from_secs(3)).exhausted()));
        assert_eq!(copy.to_string(), "sign-in failed: too fast (HTTP 429)");
        assert_eq!((copy.retry_after(), copy.is_exhausted()), (Some(Duration::from_secs(3)), true));
        let mut problem = Problem::default();
        problem.title = Some("Slow down".into());
        let copy = Error::from(Failed::from(error().with_problem(problem).with_source("cause")));
        assert_eq!(copy.to_string(), "sign-in failed: too fast: cause (HTTP 429): Slow down");
    }
}
