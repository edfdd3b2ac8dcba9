//! What the client promises, over a scripted transport with a clock that stands still, and over real sockets.

mod ahead;
mod log;
mod order;
mod redirects;
mod retry;
mod script;
mod secrets;
mod sign_in;
#[cfg(feature = "reqwest")]
mod sockets;
mod tokens;
