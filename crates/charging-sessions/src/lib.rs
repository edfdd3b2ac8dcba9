//! Read EV charging sessions from many providers into one exact model.
//!
//! This crate only gathers: the contract and the record come from `charging-sessions-core`, each provider from
//! a crate of its own behind a feature. Nothing is on by default.
//!
//! | feature | provider |
//! |---|---|
//! | `der-connect` | [DER-Connect](https://docs.der-connect.dev) |
//! | `ev-energy` | [ev.energy](https://developers.ev.energy) |
//! | `evcc` | [evcc](https://evcc.io) |
//! | `ocpi` | any party that speaks [OCPI](https://evroaming.org/ocpi) 2.1.1, 2.2.1 or 2.3.0 |
//! | `podero` | [Podero](https://developers.podero.com) |
//!
//! ```no_run
//! # #[cfg(feature = "ev-energy")]
//! # async fn read() -> charging_sessions::Result<()> {
//! use charging_sessions::{ChargingSessionSourceExt as _, SessionQuery, ev_energy};
//! use futures_util::TryStreamExt as _;
//!
//! let config = ev_energy::Config::new("client-id", "client-secret".into());
//! let source = ev_energy::EvEnergy::new(config)?;
//! let mut sessions = source.sessions(SessionQuery::all());
//! while let Some(session) = sessions.try_next().await? {
//!     println!("{}: {:?}", session.key(), session.energy.headline());
//! }
//! # Ok(())
//! # }
//! ```

pub use charging_sessions_core::*;

#[cfg(feature = "der-connect")]
pub use charging_sessions_der_connect as der_connect;
#[cfg(feature = "ev-energy")]
pub use charging_sessions_ev_energy as ev_energy;
#[cfg(feature = "evcc")]
pub use charging_sessions_evcc as evcc;
#[cfg(feature = "ocpi")]
pub use charging_sessions_ocpi as ocpi;
#[cfg(feature = "podero")]
pub use charging_sessions_podero as podero;
