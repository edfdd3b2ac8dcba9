//! Sandbox servers, fixtures and the conformance suite for adapters of EV charging session providers.
//!
//! An adapter's tests call [`conformance`](conformance::conformance) once, and add their own cases as
//! [fixtures](fixture). A [sandbox] is a server on loopback that behaves as the provider's public
//! documentation says, with data that is realistic and dirty. A [gateway](hostile) in front of it breaks what HTTP itself
//! promises.

pub mod conformance;
pub mod fixture;
pub mod hostile;
pub mod sandbox;
