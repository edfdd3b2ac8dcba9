//! The client of one provider account, and what a request to it is made of.

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use charging_sessions_core::{Error, ErrorKind, ProviderId, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, Span, debug_span};
use url::{Host, Url};

use crate::{
    Answer, Authenticator, Dialect, NoAuth, Policy, Request, Transport,
    ahead::Ahead,
    default_transport,
    pipeline::{Clock, Jitter, Lower, Pipeline},
    policy::Budget,
    quota::Gate,
};

/// Sends requests to one provider account.
///
/// Clones are cheap and share quota, permits, retry budget and credentials. What a request goes through, and in
/// which order, is fixed:
///
/// ```text
/// span > retry > permit > quota > sign-in > time limit > Transport::send
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    provider: ProviderId,
    base_url: Url,
    headers: HeaderMap,
    pipeline: Pipeline,
    ahead: Ahead,
}

impl Client {
    /// Begins a client for an account at `provider` whose paths lie below `base_url`.
    pub fn builder(provider: ProviderId, base_url: Url) -> ClientBuilder {
        ClientBuilder {
            provider,
            base_url,
            plain_http: None,
            transport: None,
            auth: Box::new(NoAuth),
            policy: Policy::default(),
            dialect: Dialect::default(),
            headers: HeaderMap::new(),
            unusable: None,
            identified_by: None,
            clock: Arc::new(Timestamp::now),
            jitter: Arc::new(|ceiling| ceiling.mul_f64(fastrand::f64())),
        }
    }

    /// The provider.
    pub fn provider(&self) -> ProviderId {
        self.0.provider
    }

    /// The address below which all paths lie. Ends with a slash.
    pub fn base_url(&self) -> &Url {
        &self.0.base_url
    }

    /// How requests are bounded and repeated.
    pub fn policy(&self) -> &Policy {
        &self.0.pipeline.lower.policy
    }

    /// A GET of `path`, below the base address whether or not it begins with a slash.
    ///
    /// What comes from outside goes into `path` through [`segment`]; `query` is encoded here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if `path` has a segment that is empty, `.` or `..`, which would name another resource
    /// than meant, or if the address becomes too long.
    pub fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Request> {
        self.request(Method::GET, path, query, Bytes::new())
    }

    /// A GET of `path` with a query that is encoded already, such as that of a [next link](crate::link::next).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_with_query(&self, path: &str, query: &str) -> Result<Request> {
        let mut url = self.url(path)?;
        url.set_query((!query.is_empty()).then_some(query));
        build(Method::GET, &url, Bytes::new())
    }

    /// A request of any method, for a provider's own verbs. Only a GET is ever repeated.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Bytes,
    ) -> Result<Request> {
        let mut url = self.url(path)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        build(method, &url, body)
    }

    fn url(&self, path: &str) -> Result<Url> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let segments = path.strip_suffix('/').unwrap_or(path);
        // A URL parser takes an encoded dot for a dot.
        let is_lost =
            |segment: &str| matches!(&*segment.replace("%2e", ".").replace("%2E", "."), "" | "." | "..");
        if (!segments.is_empty() && segments.split('/').any(is_lost)) || path.contains(['?', '#', '\\']) {
            let text = "a path has a segment that is empty, `.` or `..`, or a character that ends a path";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let mut url = self.0.base_url.clone();
        url.set_path(&format!("{}{path}", self.0.base_url.path()));
        Ok(url)
    }

    /// Sends `request` and gives what `read` makes of the first answer with a success status.
    ///
    /// `read` is part of the attempt: if it reports [`ErrorKind::Protocol`], because a 200 was not what is
    /// promised, the request is repeated as after a 5xx. Its other errors are final. It also gets answers without
    /// a body, such as 204.
    ///
    /// Dropping the future abandons the request; permits and quota are given back.
    ///
    /// # Errors
    ///
    /// All name the provider, and the status and what was said about it if an answer arrived. What could have
    /// passed by itself but did not is [exhausted](Error::is_exhausted).
    ///
    /// - [`ErrorKind::Config`] if the request leaves the origin of the base address; nothing is sent.
    /// - [`ErrorKind::Unauthenticated`] after 401, also with renewed credentials. After three in a row nothing is
    ///   sent any more.
    /// - [`ErrorKind::PermissionDenied`] after 403, [`ErrorKind::NotFound`] after 404 and 410.
    /// - [`ErrorKind::RateLimited`] after 429; [`Error::retry_after`] says when to come back, if the provider does.
    /// - [`ErrorKind::Unavailable`] after 5xx and 425, [`ErrorKind::Timeout`] after 408 or too much time,
    ///   [`ErrorKind::Network`] if no whole answer arrived.
    /// - [`ErrorKind::Protocol`] after a redirect that is not followed, a body above the limit, or from `read`.
    /// - [`ErrorKind::Rejected`] after any other 4xx.
    pub async fn send<T>(&self, request: Request, read: impl Fn(&Answer) -> Result<T>) -> Result<T> {
        let Inner { provider, pipeline, ahead, .. } = &*self.0;
        let request = self.completed(request);
        let span = self.span(&request);
        let read = |answer: &Answer| {
            ahead.learn(answer);
            read(answer)
        };
        let sent = pipeline.run(&request, ahead.take(&request), read).instrument(span);
        sent.await.map_err(|error| error.with_provider(*provider))
    }

    /// Begins to send `requests`, which are likely to be asked for next, in this order: the pages of a `listing` after
    /// the one that was read. [`send`](Self::send) then takes what came of them as its first attempt.
    ///
    /// As many are under way, or kept, as [may be in flight](Policy::concurrency), each for half a minute, and none
    /// while answers are larger than 1 MiB. What was expected of the same listing before, and is not any more, is given
    /// up; with no requests, all of it. A request that nobody asks for has cost the provider an answer, so what is not
    /// almost certain should not be expected. It ends at the first that could not be made or is no GET. Outside of a
    /// Tokio runtime nothing is sent.
    pub fn expect(&self, listing: &str, requests: impl IntoIterator<Item = Result<Request>>) {
        let gets =
            requests.into_iter().map_while(Result::ok).take_while(|request| request.method() == Method::GET);
        let requests = gets.map(|request| self.completed(request));
        self.0.ahead.expect(listing, requests, |request| {
            let (span, client) = (self.span(&request), self.clone());
            async move { client.0.pipeline.early(&request).await }.instrument(span)
        });
    }

    fn completed(&self, mut request: Request) -> Request {
        for (name, value) in &self.0.headers {
            request.headers_mut().entry(name).or_insert_with(|| value.clone());
        }
        request
    }

    fn span(&self, request: &Request) -> Span {
        debug_span!(
            "request",
            provider = self.0.provider.as_str(),
            method = request.method().as_str(),
            path = request.uri().path()
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { provider, base_url, pipeline, .. } = &*self.0;
        f.debug_struct("Client")
            .field("provider", provider)
            .field("base_url", &base_url.as_str())
            .field("auth", &pipeline.auth)
            .field("policy", &pipeline.lower.policy)
            .field("transport", &pipeline.lower.transport)
            .finish_non_exhaustive()
    }
}

fn build(method: Method, url: &Url, body: Bytes) -> Result<Request> {
    let request = http::Request::builder().method(method).uri(url.as_str()).body(body);
    request.map_err(|_| Error::new(ErrorKind::Config, "the address of a request is too long or not valid"))
}

/// `text` as one segment of a path, whatever characters it has: everything but letters, digits, `-`, `_`, `.` and
/// `~` is percent-encoded.
pub fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => segment.push(byte.into()),
            _ => segment += &format!("%{byte:02X}"),
        }
    }
    segment
}

/// An identifier for a request, or for several that belong together, in the form of a random UUID.
pub fn unique_id() -> String {
    let digits = format!("{:032x}", fastrand::u128(..));
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// What may be asked at a base address of plain `http` on another machine, where whoever is on the way can read and
/// change everything. `https`, and `http` on this machine, are always fine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlainHttp {
    /// Nothing.
    #[default]
    Refused,
    /// What needs no credentials. For servers without a certificate in a network of one's own.
    WithoutCredentials,
    /// Everything, credentials included: who listens can use them from then on.
    WithCredentials,
}

/// Makes a [`Client`]. Begin with [`Client::builder`].
#[must_use]
pub struct ClientBuilder {
    provider: ProviderId,
    base_url: Url,
    plain_http: Option<PlainHttp>,
    transport: Option<Arc<dyn Transport>>,
    auth: Box<dyn Authenticator>,
    policy: Policy,
    dialect: Dialect,
    headers: HeaderMap,
    /// A header that was given a value which cannot stand in one.
    unusable: Option<HeaderName>,
    identified_by: Option<HeaderName>,
    clock: Clock,
    jitter: Jitter,
}

impl ClientBuilder {
    /// What sends the requests. [`default_transport`] by default; sources that share one share its connections.
    pub fn transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// What may be asked at a base address of plain `http` on another machine. Nothing by default. Addresses of sign-in
    /// are `https` in any case.
    pub fn plain_http(mut self, allowed: PlainHttp) -> Self {
        self.plain_http = Some(allowed);
        self
    }

    /// What signs the requests. Nothing by default.
    pub fn auth(mut self, auth: impl Authenticator + 'static) -> Self {
        self.auth = Box::new(auth);
        self
    }

    /// How requests are bounded and repeated.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How the provider deviates from plain HTTP.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// A header for every request that does not set it itself. `Accept: application/json` and a `User-Agent` are
    /// there already.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// As [`header`](Self::header), of text that is not secret; none if there is no text. That it can stand in a header
    /// is checked by [`build`](Self::build).
    pub fn header_text<'a>(mut self, name: HeaderName, text: impl Into<Option<&'a str>>) -> Self {
        match text.into().map(HeaderValue::from_str) {
            Some(Ok(value)) => self.header(name, value),
            Some(Err(_)) => {
                self.unusable = Some(name);
                self
            }
            None => self,
        }
    }

    /// A header that identifies each sending of a request, as some providers want it: another one for each attempt.
    pub fn identified_by(mut self, name: HeaderName) -> Self {
        self.identified_by = Some(name);
        self
    }

    /// The clock that says when an answer arrived, and what the time is if the provider does not say. The system's
    /// by default.
    pub fn clock(mut self, clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        self.clock = clock;
        self
    }

    /// Draws the pause before another attempt, given its ceiling; a longer pause is cut to it. Evenly by default.
    pub fn jitter(mut self, jitter: Arc<dyn Fn(Duration) -> Duration + Send + Sync>) -> Self {
        self.jitter = jitter;
        self
    }

    /// The client. Sends nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`], with a sentence that says what to change, if the base address or that of sign-in is
    /// neither `https` nor `http` on this machine, unless that is [allowed](Self::plain_http), or has a name, a password
    /// or a fragment in it, or the base address a query; if the policy could never send; or if there is no transport.
    pub fn build(self) -> Result<Client> {
        let provider = self.provider;
        self.try_build().map_err(|error| error.with_provider(provider))
    }

    fn try_build(self) -> Result<Client> {
        let Self {
            provider,
            mut base_url,
            plain_http,
            transport,
            auth,
            policy,
            dialect,
            mut headers,
            unusable,
            identified_by,
            clock,
            jitter,
        } = self;
        policy.check()?;
        if let Some(name) = unusable {
            let text = format!("the value for the header `{name}` has a character that no header can hold");
            return Err(Error::new(ErrorKind::Config, text));
        }
        check_plain_http(&base_url, plain_http, &*auth)?;
        check_address("the base URL", &base_url, plain_http.is_some())?;
        if base_url.query().is_some() {
            return Err(Error::new(ErrorKind::Config, "the base URL has a query; give it without"));
        }
        if !base_url.path().ends_with('/') {
            base_url.set_path(&format!("{}/", base_url.path()));
        }
        let endpoints = auth.endpoints();
        for endpoint in &endpoints {
            check_address("the token URL", endpoint, false)?;
        }
        headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        let agent = HeaderValue::from_static(concat!("charging-sessions/", env!("CARGO_PKG_VERSION")));
        let user_agent = headers.remove(header::USER_AGENT).unwrap_or(agent);
        let lower = Lower {
            transport: transport.map_or_else(default_transport, Ok)?,
            policy,
            dialect,
            gate: Gate::new(policy.quota, policy.max_retry_after),
            clock,
            sign_in_origins: endpoints.iter().map(Url::origin).collect(),
            user_agent,
            identified_by,
        };
        let pipeline = Pipeline {
            lower: Arc::new(lower),
            auth,
            origin: base_url.origin(),
            permits: Semaphore::new(policy.concurrency.min(Semaphore::MAX_PERMITS)),
            budget: Budget::new(policy.retry_budget),
            jitter,
            refusals: Default::default(),
        };
        let ahead = Ahead::new(policy.concurrency);
        Ok(Client(Arc::new(Inner { provider, base_url, headers, pipeline, ahead })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Refuses plain `http` to another machine as far as it is not allowed, for sources that offer to allow it.
fn check_plain_http(url: &Url, allowed: Option<PlainHttp>, auth: &dyn Authenticator) -> Result<()> {
    if url.scheme() != "http" || is_loopback(url) {
        return Ok(());
    }
    let wrong = match allowed {
        Some(PlainHttp::Refused) => {
            "the base URL is plain `http` to another machine; use `https`, or allow it with `plain_http`"
        }
        Some(PlainHttp::WithoutCredentials) if !auth.secrets().is_empty() => {
            "the base URL is plain `http` to another machine; `plain_http` does not allow it with credentials"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::Config, wrong))
}

/// Refuses an address over which credentials would be readable, or that holds some.
fn check_address(what: &str, url: &Url, is_plain_http_allowed: bool) -> Result<()> {
    let is_safe = match url.scheme() {
        "https" => url.has_host(),
        "http" => url.has_host() && (is_plain_http_allowed || is_loopback(url)),
        _ => false,
    };
    let wrong = if !is_safe {
        "is not `https`; `http` is for addresses of this machine only"
    } else if !url.username().is_empty() || url.password().is_some() {
        "has a name or a password in it; give credentials to the sign-in instead"
    } else if url.fragment().is_some() {
        "has a fragment (`#…`); give it without"
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Config, format!("{what} {wrong}")))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, OAuth2, Response, StaticHeader};

    #[derive(Debug)]
    struct Nowhere;

    #[async_trait::async_trait]
    impl Transport for Nowhere {
        async fn send(&self, _: Request, _: &Limits) -> Result<Response> {
            Err(Error::new(ErrorKind::Network, "nothing is sent here"))
        }
    }

    fn builder(base_url: &str) -> ClientBuilder {
        Client::builder(ProviderId::new("test"), base_url.parse().unwrap()).transport(Arc::new(Nowhere))
    }

    fn client() -> Client {
        builder("https://a.example/api").build().unwrap()
    }

    #[test]
    fn addresses_over_which_secrets_could_be_read_are_refused() {
        for url in ["https://a.example", "http://localhost:8080/x", "http://127.0.0.9", "http://[::1]:1/"] {
            assert!(builder(url).build().is_ok(), "{url}");
            let auth = OAuth2::client_credentials(url.parse().unwrap(), "id", "secret".into());
            assert!(builder("https://a.example").auth(auth).build().is_ok(), "{url}");
        }
        for url in [
            "http://a.example",
            "http://localhost.example",
            "http://128.0.0.1",
            "http://[::2]",
            "ftp://localhost",
            "data:text/plain,x",
            "https://user@a.example",
            "https://:pass@a.example",
            "https://a.example/#x",
        ] {
            let error = builder(url).build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().starts_with("test: the base URL"), "{error}");
            let auth = OAuth2::client_credentials(url.parse().unwrap(), "id", "secret".into());
            let error = builder("https://a.example").auth(auth).build().unwrap_err();
            assert!(error.to_string().starts_with("test: the token URL"), "{error}");
        }
        let error = builder("https://a.example/?key=s3cret").build().unwrap_err();
        assert_eq!(error.to_string(), "test: the base URL has a query; give it without");
    }

    #[test]
    fn plain_http_to_another_machine_is_allowed_step_by_step() {
        let home = || builder("http://evcc.local:7070");
        let token = || StaticHeader::bearer(&"s3cret".into());
        home().plain_http(PlainHttp::WithoutCredentials).build().unwrap();
        home().plain_http(PlainHttp::WithCredentials).auth(token()).build().unwrap();
        for safe in ["https://a.example", "http://127.0.0.1:7070"] {
            builder(safe).plain_http(PlainHttp::Refused).auth(token()).build().unwrap();
        }
        let wrong = |builder: ClientBuilder| builder.build().unwrap_err().to_string();
        assert_eq!(
            wrong(home().plain_http(PlainHttp::Refused)),
            "test: the base URL is plain `http` to another machine; use `https`, or allow it with `plain_http`"
        );
        assert_eq!(
            wrong(home().plain_http(PlainHttp::WithoutCredentials).auth(token())),
            "test: the base URL is plain `http` to another machine; `plain_http` does not allow it with credentials"
        );
        let url = "http://a.example/token".parse().unwrap();
        let sign_in = OAuth2::client_credentials(url, "id", "secret".into());
        let elsewhere = wrong(home().plain_http(PlainHttp::WithCredentials).auth(sign_in));
        assert!(elsewhere.starts_with("test: the token URL is not `https`"), "{elsewhere}");
        for never in ["ftp://a.example", "http://name@a.example"] {
            let error = wrong(builder(never).plain_http(PlainHttp::WithCredentials));
            assert!(error.starts_with("test: the base URL"), "{error}");
        }
    }

    #[test]
    fn paths_lie_below_the_base_address() {
        let uri = |path| client().get(path, &[]).unwrap().uri().to_string();
        assert_eq!(uri("v2/sessions"), "https://a.example/api/v2/sessions");
        assert_eq!(uri("/v2/sessions/"), "https://a.example/api/v2/sessions/");
        assert_eq!(uri(""), "https://a.example/api/");
        assert_eq!(uri("/"), "https://a.example/api/");
        assert_eq!(
            uri(&format!("users/{}", segment("a/b?c#d e%é"))),
            "https://a.example/api/users/a%2Fb%3Fc%23d%20e%25%C3%A9"
        );
    }

    #[test]
    fn a_path_that_would_name_something_else_is_refused() {
        for path in [
            "users//x",
            "users/../x",
            "..",
            "a/./b",
            "a/%2e%2E/b",
            "users/?a=b",
            "a#b",
            "a\\b",
            "//b.example/x",
        ] {
            assert_eq!(client().get(path, &[]).unwrap_err().kind(), ErrorKind::Config, "{path}");
        }
        for id in ["", ".", ".."] {
            assert!(client().get(&format!("users/{}/sessions", segment(id)), &[]).is_err(), "{id:?}");
        }
        assert!(client().get("x", &[("q", "x".repeat(70_000))]).is_err());
    }

    #[test]
    fn a_query_is_encoded_once() {
        let request = client()
            .get("x", &[("start__gt", "2026-09-01T00:00:00+02:00".into()), ("a", "b c&d".into())])
            .unwrap();
        assert_eq!(request.uri().query(), Some("start__gt=2026-09-01T00%3A00%3A00%2B02%3A00&a=b+c%26d"));
        let request = client().get_with_query("x", "page=2&q=%C3%A9 #").unwrap();
        assert_eq!(request.uri().query(), Some("page=2&q=%C3%A9%20%23"));
        assert_eq!(client().get_with_query("x", "").unwrap().uri().query(), None);
    }

    #[test]
    fn a_policy_that_could_never_send_is_refused() {
        let error =
            builder("https://a.example").policy(Policy::default().with_concurrency(0)).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    // Futures go to `tokio::spawn`.
    const _: fn(&Client, Request) = |client, request| {
        fn is_send(_: impl Send) {}
        is_send(client.send(request, |answer| Ok(answer.status)));
    };
}
