//! Sending one request over the wire, once.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use charging_sessions_core::Result;

/// A request with its whole body.
pub type Request = http::Request<Bytes>;
/// An answer with its whole body.
pub type Response = http::Response<Bytes>;

/// What bounds the reading of one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest body, in bytes, after decompression. 8 MiB by default: as many as four are read at the same
    /// time, and a process stays below 100 MiB.
    pub max_body: usize,
    /// The longest silence while a body is read. 10 s by default.
    ///
    /// The wait for the first byte of an answer is bounded by the time limit of the attempt instead: a provider
    /// that computes for a while is slow, one that stops in the middle of a body is broken.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body: 8 << 20, idle: Duration::from_secs(10) }
    }
}

impl Limits {
    /// Changes [`max_body`](Self::max_body).
    #[must_use]
    pub const fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Changes [`idle`](Self::idle).
    #[must_use]
    pub const fn with_idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }
}

/// Sends one request over the wire, once.
///
/// The seam for tests and for other HTTP stacks. Retry, quota, sign-in, redirects and the time limit lie above
/// it, in [`Client`](crate::Client).
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `request` and reads the whole answer.
    ///
    /// - Any status is an answer, redirects included: they are not followed.
    /// - The body is whole and decompressed. One that ends before its announced length is an error.
    /// - Nothing is sent twice and nothing is remembered: no retry, no cookies, no cache.
    /// - Dropping the future abandons the request.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Network`](charging_sessions_core::ErrorKind::Network) if no whole answer arrived.
    /// - [`ErrorKind::Untrusted`](charging_sessions_core::ErrorKind::Untrusted) if the server's certificate is not
    ///   valid. Nothing of the request was sent.
    /// - [`ErrorKind::Timeout`](charging_sessions_core::ErrorKind::Timeout) if the body fell silent for longer
    ///   than [`Limits::idle`].
    /// - [`ErrorKind::Protocol`](charging_sessions_core::ErrorKind::Protocol) if the body is longer than
    ///   [`Limits::max_body`]; reading stops there.
    ///
    /// No error names the address, because it may hold what is private.
    async fn send(&self, request: Request, limits: &Limits) -> Result<Response>;
}

// A transport stays usable as `dyn`.
const _: fn(&dyn Transport) = |_| {};

/// The transport of this build: `ReqwestTransport`, if the feature `reqwest` is on, as it is by default.
///
/// It keeps a pool of connections. Sources that share one share the pool.
///
/// # Errors
///
/// [`ErrorKind::Config`](charging_sessions_core::ErrorKind::Config) if TLS cannot be set up, or if this build has
/// no transport.
pub fn default_transport() -> Result<Arc<dyn Transport>> {
    #[cfg(feature = "reqwest")]
    return Ok(Arc::new(ReqwestTransport::new()?));
    #[cfg(not(feature = "reqwest"))]
    Err(charging_sessions_core::Error::new(
        charging_sessions_core::ErrorKind::Config,
        "this build has no HTTP transport: turn on the feature `reqwest`, or pass a `Transport`",
    ))
}

#[cfg(feature = "reqwest")]
pub use with_reqwest::ReqwestTransport;

#[cfg(feature = "reqwest")]
mod with_reqwest {
    use std::{error::Error as StdError, io};

    use bytes::BytesMut;
    use charging_sessions_core::{Error, ErrorKind};
    use http::header;
    use reqwest::redirect;
    use rustls::CertificateError;
    use rustls_platform_verifier::BuilderVerifierExt as _;
    use tokio::time::timeout;

    use super::{Arc, Bytes, Duration, Limits, Request, Response, Result, Transport, async_trait, fmt};

    /// [`Transport`] over `reqwest`: TLS by rustls, gzip, proxies from the environment.
    #[derive(Clone)]
    pub struct ReqwestTransport(reqwest::Client);

    impl fmt::Debug for ReqwestTransport {
        // The client of a user may hold the password of a proxy, or headers.
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ReqwestTransport")
        }
    }

    impl ReqwestTransport {
        /// A transport with its own pool of connections.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::Config`] if TLS cannot be set up.
        pub fn new() -> Result<Self> {
            let failed = || Error::new(ErrorKind::Config, "TLS could not be set up");
            let client = reqwest::Client::builder()
                .tls_backend_preconfigured(tls().map_err(|e| failed().with_source(e))?)
                .redirect(redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .connect_timeout(Duration::from_secs(10))
                .build()
                .map_err(|e| failed().with_source(e.without_url()))?;
            Ok(Self(client))
        }
    }

    /// TLS 1.2 and 1.3 by ring, trusting what the machine trusts. Set up here and not as the default of the process,
    /// which is the program's to choose.
    fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_platform_verifier()?;
        Ok(config.with_no_client_auth())
    }

    /// For a client with settings of its own, such as a proxy or a private certificate authority.
    ///
    /// Build it with `redirect::Policy::none()` and `retry::never()`: redirects are followed, and requests
    /// repeated, by the [`Client`](crate::Client), under rules that `reqwest` does not know. An answer that was
    /// redirected on the way is refused. A program that turns on none of `reqwest`'s TLS features installs a rustls
    /// provider before it builds the client.
    impl From<reqwest::Client> for ReqwestTransport {
        fn from(client: reqwest::Client) -> Self {
            Self(client)
        }
    }

    #[async_trait]
    impl Transport for ReqwestTransport {
        async fn send(&self, request: Request, limits: &Limits) -> Result<Response> {
            let request = reqwest::Request::try_from(request).map_err(failed)?;
            let asked = request.url().clone();
            let mut answer = self.0.execute(request).await.map_err(failed)?;
            if *answer.url() != asked {
                let text = "the HTTP client follows redirects by itself; build it with redirects off";
                return Err(Error::new(ErrorKind::Config, text));
            }
            let body = read(&mut answer, limits).await?;
            let mut response = Response::new(body);
            *response.status_mut() = answer.status();
            *response.version_mut() = answer.version();
            std::mem::swap(response.headers_mut(), answer.headers_mut());
            Ok(response)
        }
    }

    /// How much room is made for a body that is announced, before any of it has come.
    const MOST_BEFOREHAND: usize = 1 << 20;

    async fn read(answer: &mut reqwest::Response, limits: &Limits) -> Result<Bytes> {
        let too_long = || {
            let text = format!("the answer is longer than the limit of {} bytes", limits.max_body);
            Error::new(ErrorKind::Protocol, text)
        };
        let announced =
            answer.headers().get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: usize| length > limits.max_body) {
            return Err(too_long());
        }
        let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(MOST_BEFOREHAND));
        loop {
            let chunk = timeout(limits.idle, answer.chunk()).await.map_err(|_| {
                let text = format!("the answer fell silent for {:?}", limits.idle);
                Error::new(ErrorKind::Timeout, text)
            })?;
            let Some(chunk) = chunk.map_err(failed)? else { return Ok(without_spare(body)) };
            if body.len() + chunk.len() > limits.max_body {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// The payloads of records are slices of the body, so the room beyond its end would be kept as long as they are.
    fn without_spare(body: BytesMut) -> Bytes {
        if body.capacity() - body.len() > body.len() / 8 {
            Bytes::copy_from_slice(&body)
        } else {
            body.freeze()
        }
    }

    /// What to do about a certificate. Its own names are not repeated: they may be anything.
    fn distrusted(error: &CertificateError) -> &'static str {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired: check the clock of this machine; if it is right, the certificate \
                 has to be renewed"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: check the clock of this machine"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name: check the address that is configured"
            }
            // The latter: somebody has the name of who is trusted, and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is from nobody whom this machine trusts: if the server is yours, add who signed \
                 its certificate to the certificates of the machine (on Linux, SSL_CERT_FILE can name them)"
            }
            CertificateError::Revoked => "the server's certificate was revoked: do not use this server",
            _ => {
                "the server's certificate is not one for a server, or cannot be checked: whoever runs the server has to \
                 replace it"
            }
        }
    }

    /// What is wrong with the certificate, if that is what an error comes from.
    fn certificate_error<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e CertificateError> {
        if let Some(rustls::Error::InvalidCertificate(error)) = error.downcast_ref() {
            return Some(error);
        }
        // What an I/O error holds is not its source.
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => certificate_error(held),
            None => certificate_error(error.source()?),
        }
    }

    fn failed(error: reqwest::Error) -> Error {
        if let Some(certificate) = certificate_error(&error) {
            // Trying again changes nothing.
            return Error::new(ErrorKind::Untrusted, distrusted(certificate));
        }
        let (kind, text) = if error.is_builder() {
            (ErrorKind::Config, "the request could not be built")
        } else if error.is_timeout() {
            (ErrorKind::Timeout, "the connection timed out")
        } else if error.is_connect() {
            (ErrorKind::Network, "no connection could be made")
        } else if broke_off(&error) {
            (ErrorKind::Network, "the answer broke off")
        } else {
            (ErrorKind::Network, "the connection failed before a whole answer arrived")
        };
        // The address may hold an account, and its query anything.
        Error::new(kind, text).with_source(error.without_url())
    }

    fn broke_off(error: &reqwest::Error) -> bool {
        let mut cause = error.source();
        while let Some(error) = cause {
            if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
                return true;
            }
            cause = error.source();
        }
        error.is_body() || error.is_decode()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn no_room_beyond_the_end_of_a_body_is_kept() {
            for (room, kept) in [(1 << 20, 1000), (1010, 1010)] {
                let mut body = BytesMut::with_capacity(room);
                body.extend_from_slice(&[7; 1000]);
                let body = without_spare(body).try_into_mut().unwrap();
                assert_eq!((&body[..], body.capacity()), (&[7; 1000][..], kept));
            }
        }
    }
}
