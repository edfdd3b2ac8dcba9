//! Signing in: what puts credentials on a request.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use charging_sessions_core::{Error, ErrorKind, Result};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{Channel, Request};

/// Whether [`Authenticator::sign`] could sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// The credentials are on the request.
    Done,
    /// There are none at hand: [`Authenticator::renew`] them first.
    Needed,
}

/// Puts credentials on requests.
///
/// Signing is apart from renewing, so that a request is signed at the very moment it starts, and so that what
/// goes to the token endpoint is paid for from the same quota.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// The addresses that [`renew`](Self::renew) talks to. They are held to the same rules as the base address
    /// of the client, and the channel reaches no other.
    fn endpoints(&self) -> Vec<Url>;

    /// Puts the credentials at hand on `request`, marked as sensitive. Sends nothing.
    ///
    /// `renewed` says that [`renew`](Self::renew) has just succeeded for this request: its result is to be used
    /// even if it is already out of date by the clock, because some live for no longer than one use.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if it is known that the credentials are refused, [`ErrorKind::Config`] if
    /// they do not fit into a header.
    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn>;

    /// Obtains fresh credentials and returns how long that took without waiting for the quota; this counts
    /// against the time limit of the attempt. Concurrent calls share one exchange.
    ///
    /// Dropping the future loses nothing that the provider has issued.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if the credentials were refused. A transient kind, or
    /// [`ErrorKind::Protocol`], is tried again by the client.
    async fn renew(&self, channel: &Channel) -> Result<Duration>;

    /// Takes note that a request with these `headers` was answered with 401, and says whether signing anew can
    /// help. Credentials that were renewed meanwhile, for another request, are kept.
    fn refused(&self, headers: &HeaderMap) -> bool;

    /// Takes note that a request with these `headers` was answered with success.
    fn accepted(&self, headers: &HeaderMap);

    /// All secrets at hand, so that they can be kept out of texts.
    fn secrets(&self) -> Vec<SecretString>;
}

// An authenticator stays usable as `dyn`.
const _: fn(&dyn Authenticator) = |_| {};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<A: Authenticator + ?Sized> Authenticator for Arc<A> {
    fn endpoints(&self) -> Vec<Url> {
        (**self).endpoints()
    }
    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn> {
        (**self).sign(request, renewed)
    }
    async fn renew(&self, channel: &Channel) -> Result<Duration> {
        (**self).renew(channel).await
    }
    fn refused(&self, headers: &HeaderMap) -> bool {
        (**self).refused(headers)
    }
    fn accepted(&self, headers: &HeaderMap) {
        (**self).accepted(headers);
    }
    fn secrets(&self) -> Vec<SecretString> {
        (**self).secrets()
    }
}

/// No credentials.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAuth;

#[async_trait]
impl Authenticator for NoAuth {
    fn endpoints(&self) -> Vec<Url> {
        Vec::new()
    }
    fn sign(&self, _: &mut Request, _: bool) -> Result<SignIn> {
        Ok(SignIn::Done)
    }
    async fn renew(&self, _: &Channel) -> Result<Duration> {
        Ok(Duration::ZERO)
    }
    fn refused(&self, _: &HeaderMap) -> bool {
        false
    }
    fn accepted(&self, _: &HeaderMap) {}
    fn secrets(&self) -> Vec<SecretString> {
        Vec::new()
    }
}

/// The same secret header on every request, for example an API key.
#[derive(Clone)]
pub struct StaticHeader {
    name: HeaderName,
    value: SecretString,
}

impl StaticHeader {
    /// A header of any name.
    pub fn new(name: HeaderName, value: SecretString) -> Self {
        Self { name, value }
    }

    /// `Authorization: Bearer …`.
    pub fn bearer(token: &SecretString) -> Self {
        Self::new(header::AUTHORIZATION, format!("Bearer {}", token.expose_secret()).into())
    }

    /// `Authorization: Basic …`.
    pub fn basic(user: &str, password: &SecretString) -> Self {
        Self::new(header::AUTHORIZATION, basic(user, password.expose_secret()))
    }
}

impl fmt::Debug for StaticHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticHeader").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticator for StaticHeader {
    fn endpoints(&self) -> Vec<Url> {
        Vec::new()
    }
    fn sign(&self, request: &mut Request, _: bool) -> Result<SignIn> {
        request.headers_mut().insert(&self.name, sensitive(&self.value)?);
        Ok(SignIn::Done)
    }
    async fn renew(&self, _: &Channel) -> Result<Duration> {
        Ok(Duration::ZERO)
    }
    fn refused(&self, _: &HeaderMap) -> bool {
        false
    }
    fn accepted(&self, _: &HeaderMap) {}
    fn secrets(&self) -> Vec<SecretString> {
        vec![self.value.clone()]
    }
}

/// The headers that a request was refused with, among its extensions when it is sent again.
#[derive(Clone)]
pub(crate) struct Refused(pub(crate) HeaderMap);

/// One of two secret headers of the same name, where it is not known which the provider takes: the one that was taken
/// last, at the beginning the first. A request that is refused with one is sent once more with the other.
#[derive(Debug)]
pub struct EitherHeader {
    headers: [StaticHeader; 2],
    is_second: AtomicBool,
}

impl EitherHeader {
    /// Begins with the first.
    pub fn new(first: StaticHeader, second: StaticHeader) -> Self {
        Self { headers: [first, second], is_second: AtomicBool::new(false) }
    }

    /// Whether it is the second one that is in `headers`.
    fn has_second(&self, headers: &HeaderMap) -> bool {
        let second = &self.headers[1];
        headers.get(&second.name).map(HeaderValue::as_bytes) == Some(second.value.expose_secret().as_bytes())
    }
}

#[async_trait]
impl Authenticator for EitherHeader {
    fn endpoints(&self) -> Vec<Url> {
        Vec::new()
    }
    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn> {
        let is_second = match request.extensions().get::<Refused>() {
            Some(Refused(headers)) => !self.has_second(headers),
            None => self.is_second.load(Ordering::Relaxed),
        };
        self.headers[usize::from(is_second)].sign(request, renewed)
    }
    async fn renew(&self, _: &Channel) -> Result<Duration> {
        Ok(Duration::ZERO)
    }
    fn refused(&self, _: &HeaderMap) -> bool {
        true
    }
    fn accepted(&self, headers: &HeaderMap) {
        self.is_second.store(self.has_second(headers), Ordering::Relaxed);
    }
    fn secrets(&self) -> Vec<SecretString> {
        // A server may repeat what it has decoded, without the scheme.
        let values = self.headers.iter().map(|header| header.value.expose_secret());
        values
            .flat_map(|value| [value, value.split_once(' ').map_or(value, |(_, rest)| rest)])
            .map(Into::into)
            .collect()
    }
}

pub(crate) fn basic(user: &str, password: &str) -> SecretString {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))).into()
}

pub(crate) fn sensitive(value: &SecretString) -> Result<HeaderValue> {
    let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| {
        Error::new(ErrorKind::Config, "a credential has characters that a header cannot carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The values of the sensitive `headers`, with and without their scheme.
pub(crate) fn secrets_in(headers: &HeaderMap) -> Vec<SecretString> {
    let values =
        headers.values().filter(|value| value.is_sensitive()).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| [value, value.split_once(' ').map_or(value, |(_, rest)| rest)])
        .map(Into::into)
        .collect()
}
