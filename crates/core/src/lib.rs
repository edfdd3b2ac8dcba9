//! The contract for reading EV charging sessions: one trait, one record, one error.
//!
//! [`ChargingSessionSource`] is what a provider's adapter implements and what programs are written against;
//! [`ChargingSession`] is the record that every adapter maps to. This crate performs no I/O and depends on no
//! runtime and no HTTP library.
//!
//! ```
//! use charging_sessions_core::{ChargingSessionSource, ChargingSessionSourceExt as _, Energy, Result, SessionQuery};
//! use futures_util::TryStreamExt as _;
//!
//! /// Works for every provider, also through `dyn`.
//! async fn total(source: &dyn ChargingSessionSource) -> Result<Energy> {
//!     let mut total = Energy::ZERO;
//!     let mut pages = source.pages(SessionQuery::all());
//!     while let Some(page) = pages.try_next().await? {
//!         total = page.sessions.iter().filter_map(|s| s.energy.headline()).chain([total]).sum();
//!         for record in &page.rejected {
//!             eprintln!("left out: {record}");
//!         }
//!     }
//!     Ok(total)
//! }
//! ```

// A library that panics on data takes its user's program down with it.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod asset;
mod capabilities;
pub mod checks;
mod cursor;
mod error;
mod issue;
mod payload;
mod provider;
mod quantity;
mod query;
mod sensitive;
mod session;
mod source;

pub use asset::{Asset, AssetKind, AssetPage, AssetRef};
pub use capabilities::Capabilities;
pub use cursor::Cursor;
pub use error::{Error, ErrorKind, Notification, Problem, Result};
pub use issue::{Issue, IssueCode, Severity};
pub use payload::Payload;
pub use provider::{InvalidProviderId, ProviderId};
pub use quantity::{
    Currency, Distance, Energy, Grams, Money, Percent, Power, decimal_from_f64, decimal_from_str,
};
pub use query::{SessionQuery, TimeWindow};
pub use sensitive::Sensitive;
pub use session::*;
pub use source::{
    AssetSource, AssetSourceExt, ChargingSessionSource, ChargingSessionSourceExt, IntervalSource,
    RecordContext, RejectedRecord, SessionIntervals, SessionPage, pages,
};
