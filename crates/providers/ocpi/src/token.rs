//! The token, as it is or in Base64.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use charging_sessions_core::Result;
use charging_sessions_http::{Authenticator, Channel, Request, SignIn, StaticHeader};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::TokenForm;

/// How the token is written in a header.
///
/// Which way the other side reads it is not always what its version says, and may differ between its list of versions
/// and its modules. [`TokenForm::Auto`] therefore tries the other way when it is refused, and stays with it.
pub(crate) struct Token {
    raw: StaticHeader,
    encoded: StaticHeader,
    secrets: [SecretString; 2],
    tries_both: bool,
    is_encoded: AtomicBool,
}

impl Token {
    pub(crate) fn new(token: &SecretString, form: TokenForm) -> Self {
        // The worked example of the standard encodes a line end, which servers refuse.
        let raw = token.expose_secret().trim_end_matches(['\r', '\n']);
        let encoded = BASE64_STANDARD.encode(raw);
        let written = |token: &str| StaticHeader::new(header::AUTHORIZATION, format!("Token {token}").into());
        Self {
            raw: written(raw),
            encoded: written(&encoded),
            secrets: [raw.into(), encoded.into()],
            tries_both: form == TokenForm::Auto,
            // A server that expects the token as it is says no to Base64. One that expects Base64 may fail in odd ways.
            is_encoded: AtomicBool::new(form != TokenForm::Raw),
        }
    }

    fn header(&self) -> &StaticHeader {
        if self.is_encoded.load(Ordering::Relaxed) { &self.encoded } else { &self.raw }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("is_encoded", &self.is_encoded).finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticator for Token {
    fn endpoints(&self) -> Vec<Url> {
        Vec::new()
    }

    fn sign(&self, request: &mut Request, renewed: bool) -> Result<SignIn> {
        // Each attempt is a request of its own.
        if let Ok(id) = HeaderValue::from_str(&unique()) {
            request.headers_mut().insert("x-request-id", id);
        }
        self.header().sign(request, renewed)
    }

    async fn renew(&self, _: &Channel) -> Result<Duration> {
        Ok(Duration::ZERO)
    }

    fn refused(&self, headers: &HeaderMap) -> bool {
        if !self.tries_both {
            return false;
        }
        let sent = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let was_encoded = sent.strip_prefix(b"Token ") == Some(self.secrets[1].expose_secret().as_bytes());
        // Another request may have turned it over already.
        let turned =
            self.is_encoded.compare_exchange(was_encoded, !was_encoded, Ordering::Relaxed, Ordering::Relaxed);
        turned.is_ok() || self.is_encoded.load(Ordering::Relaxed) != was_encoded
    }

    fn secrets(&self) -> Vec<SecretString> {
        self.secrets.to_vec()
    }
}

/// An identifier in the form of a random UUID.
pub(crate) fn unique() -> String {
    let bits = fastrand::u128(..);
    let digits = format!("{bits:032x}");
    let part = |from, to| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-a{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
