//! Every adapter of this workspace.

use charging_sessions::{Capabilities, ProviderId};

/// What is told of an adapter in the documentation, apart from what its sources say themselves.
#[derive(Clone, Copy, Debug)]
pub struct Adapter {
    /// Its stable name; also the name of its folders, and of its feature.
    pub provider: ProviderId,
    /// What its source can do.
    pub capabilities: Capabilities,
}

macro_rules! adapters {
    ($($module:ident,)*) => {
        /// All of them, by name.
        pub const ADAPTERS: &[Adapter] = &[$(Adapter {
            provider: charging_sessions::$module::PROVIDER,
            capabilities: charging_sessions::$module::CAPABILITIES,
        },)*];
    };
}

adapters! {
    der_connect,
    ev_energy,
    evcc,
    ocpi,
    podero,
}
