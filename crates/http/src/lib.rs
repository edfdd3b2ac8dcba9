//! What HTTP adapters for EV charging sessions share.
//!
//! A [`Client`] sends requests to one provider account. Whatever it sends goes through one fixed order, so that there
//! is nothing to put in the wrong one:
//!
//! ```text
//! span > retry > permit > quota > sign-in > time limit > Transport::send
//! ```
//!
//! | part | what it is |
//! |---|---|
//! | [`Transport`] | sends one request, once; the seam for tests and other HTTP stacks |
//! | [`Policy`], [`Quota`] | attempts, pauses, time limits, requests per time: plain values |
//! | [`Dialect`] | how a provider deviates from plain HTTP |
//! | [`Authenticator`] | [`NoAuth`], [`StaticHeader`], [`EitherHeader`], [`OAuth2`]; tokens outlive the process in a [`TokenStore`] |
//! | [`json`], [`array`](fn@array), [`records`], [`record`] | from bytes to typed records, one bad field at a time |
//! | [`link::next`], [`LinkPlace`], [`OffsetPlace`], [`SlidingPlace`] | the next page, by `Link` headers or by offset |
//! | `webhook` (a feature) | signatures of what a provider sends by itself |
//! | [`Link`], [`OneOrMany`] | shapes for generated types |
//! | [`PlainHttp`] | what may be asked without `https`, for servers in a network of one's own |
//!
//! ```rust
//! use std::sync::Arc;
//!
//! use charging_sessions_core::{ProviderId, Result};
//! use charging_sessions_http::{
//!     Client, Limits, Policy, Quota, Request, Response, StaticHeader, Transport, array, link, records,
//! };
//!
//! # #[derive(Debug)]
//! # struct Canned;
//! # #[async_trait::async_trait]
//! # impl Transport for Canned {
//! #     async fn send(&self, request: Request, _: &Limits) -> Result<Response> {
//! #         assert_eq!(request.uri(), "https://api.example/v2/sessions?page_size=100");
//! #         assert_eq!(request.headers()["x-api-key"], "t0ken");
//! #         let mut response = Response::new(r#"[{"id":"a","kwh":1.5},{"id":"b","kwh":"?"}]"#.into());
//! #         response.headers_mut().insert("link", r#"<https://api.example/x?page=2>; rel="next""#.parse().unwrap());
//! #         Ok(response)
//! #     }
//! # }
//! #[derive(Debug, serde::Deserialize)]
//! struct Session {
//!     id: String,
//!     kwh: Option<f64>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<()> {
//! # let transport: Arc<dyn Transport> = Arc::new(Canned);
//! let client = Client::builder(ProviderId::new("example"), "https://api.example/v2".parse().unwrap())
//!     .auth(StaticHeader::new("x-api-key".parse().unwrap(), "t0ken".into()))
//!     .policy(Policy::default().with_quota(Some(Quota::new(1000, std::time::Duration::from_secs(3600)))))
//!     .transport(transport)
//!     .build()?;
//!
//! let request = client.get("sessions", &[("page_size", "100".to_owned())])?;
//! let (page, next) = client
//!     .send(request, |answer| {
//!         // Inside the attempt: a 200 that is not an array is retried.
//!         let page = records::<Session>(&answer.body, &array(&answer.body)?, "");
//!         Ok((page, link::next(&answer.headers)?))
//!     })
//!     .await?;
//!
//! assert_eq!(page.records[0].value.kwh, Some(1.5));
//! assert_eq!(page.records[1].value.kwh, None); // left out, and said so:
//! assert_eq!(page.records[1].issues[0].to_string(), "warning field.unreadable at /kwh: string");
//! assert_eq!(next.as_deref(), Some("page=2"));
//! # Ok(())
//! # }
//! ```
//!
//! What is not here: anything a provider documents (that is in its adapter), paging (fifteen lines of each adapter),
//! caches, and cookies.

mod ahead;
mod auth;
mod client;
mod decode;
mod dialect;
mod instant;
pub mod link;
mod oauth;
mod paging;
mod pipeline;
mod policy;
mod quota;
mod sliding;
mod text;
mod token;
mod transport;
#[cfg(feature = "webhook")]
pub mod webhook;
mod wire;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use auth::{Authenticator, EitherHeader, NoAuth, SignIn, StaticHeader};
pub use client::{Client, ClientBuilder, PlainHttp, segment, unique_id};
pub use decode::{
    Decodable, Decoded, RawRecords, array, complete, items, json, list_in, member, raw, record, records,
    text, unknown,
};
pub use dialect::{Dialect, problem};
pub use instant::utc;
pub use oauth::{BodyFormat, CredentialsIn, OAuth2, token_url};
pub use paging::{LinkPlace, OffsetPlace};
pub use pipeline::{Answer, Channel};
pub use policy::{Policy, RetryBudget};
pub use quota::Quota;
pub use sliding::{NextPage, SlidingPlace};
pub use token::{MemoryTokenStore, StoredToken, TokenStore};
#[cfg(feature = "reqwest")]
pub use transport::ReqwestTransport;
pub use transport::{Limits, Request, Response, Transport, default_transport};
pub use wire::{Link, OneOrMany};

// The types of others that appear in our signatures, so that an adapter need not name their versions.
pub use {bytes::Bytes, http, secrecy::SecretString, serde_json::value::RawValue, url::Url};

/// Locks `mutex`. A panic while it was held leaves state that is stale at worst, so poison is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
