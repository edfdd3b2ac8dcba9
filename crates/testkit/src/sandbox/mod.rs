//! Servers that answer like a provider, inside the process that asks.
//!
//! A sandbox speaks real HTTP on a loopback port which the system chooses. Its data is invented, follows the
//! shape of real charging, and depends on nothing but a seed and a moment: the same two give the same bytes on
//! every machine. Nothing in a sandbox reads the wall clock; tokens and rate limits run on tokio's clock, so a
//! test with a paused clock can let ten hours pass in no time.
//!
//! | module | provider |
//! |---|---|
//! | [`bulk`] | any number of sessions in the form of ev.energy, for measuring |
//! | [`crowd`] | any number of accounts in the form of ev.energy, each counted by its credential |
//! | [`der_connect`] | DER-Connect, charge sessions |
//! | [`ev_energy`] | ev.energy API v2 |
//! | [`evcc`] | evcc |
//! | [`ocpi`] | a party that speaks OCPI 2.1.1, 2.2.1 and 2.3.0 |
//! | [`podero`] | Podero Partner API v2.0 |
//!
//! What every sandbox offers, whoever it imitates:
//!
//! - [`Running`]: the server in the background; it stops when it is dropped.
//! - [`Fault`]: something that goes wrong with one of the next requests.
//! - [`RecordedRequest`]: what was asked, without its secrets.
//!
//! A clock that is paused jumps to the next timer whenever all tasks wait, also when they wait for a socket.
//! A client with a time limit then gives up at once. Such tests call the sandbox without a socket, see
//! [`ev_energy::EvEnergySandbox::call`].

pub mod bulk;
pub mod crowd;
pub mod der_connect;
pub mod ev_energy;
pub mod evcc;
mod fault;
mod gate;
mod limit;
pub mod ocpi;
mod offer;
pub mod podero;
mod query;
mod random;
mod record;
mod server;
mod token;

pub use fault::Fault;
pub use record::RecordedRequest;
pub use server::Running;
