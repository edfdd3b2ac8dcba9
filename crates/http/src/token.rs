//! Where tokens outlive the process.

use std::{fmt, sync::Mutex};

use async_trait::async_trait;
use charging_sessions_core::Result;
use jiff::Timestamp;
use secrecy::SecretString;

use crate::lock;

/// What a token endpoint issued.
#[derive(Clone)]
#[non_exhaustive]
pub struct StoredToken {
    /// The token that requests carry.
    pub access_token: SecretString,
    /// The token that obtains the next one. Many providers accept each of them once.
    pub refresh_token: Option<SecretString>,
    /// When [`access_token`](Self::access_token) ends; `None` if that is not known, and then it is not reused.
    pub expires_at: Option<Timestamp>,
}

impl StoredToken {
    /// A token as it was stored.
    pub fn new(
        access_token: SecretString,
        refresh_token: Option<SecretString>,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self { access_token, refresh_token, expires_at }
    }
}

impl fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// Keeps the tokens of one account, so that a restart, or another process, can go on with them.
///
/// # Contract
///
/// - [`load`](Self::load) gives what was saved last, also by another process.
/// - When [`save`](Self::save) returns, the token survives a crash. It is called before the token is used, and
///   again later if it fails: a provider that rotates refresh tokens has already forgotten the one before.
/// - Both are expected to be quick; the time limit of an attempt covers them.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// What was saved last; `None` if nothing was.
    ///
    /// # Errors
    ///
    /// Any, if the store cannot be read. Sign-in then fails with the same kind.
    async fn load(&self) -> Result<Option<StoredToken>>;

    /// Saves `token` in place of the one before.
    ///
    /// # Errors
    ///
    /// Any, if the token may not be safe. Sign-in then fails with the same kind.
    async fn save(&self, token: &StoredToken) -> Result<()>;
}

// A store stays usable as `dyn`.
const _: fn(&dyn TokenStore) = |_| {};

/// A [`TokenStore`] that forgets with the process.
#[derive(Debug, Default)]
pub struct MemoryTokenStore(Mutex<Option<StoredToken>>);

impl MemoryTokenStore {
    /// A store that already holds `token`.
    pub fn new(token: Option<StoredToken>) -> Self {
        Self(Mutex::new(token))
    }

    /// What is in the store.
    pub fn get(&self) -> Option<StoredToken> {
        lock(&self.0).clone()
    }
}

#[async_trait]
impl TokenStore for MemoryTokenStore {
    async fn load(&self) -> Result<Option<StoredToken>> {
        Ok(self.get())
    }

    async fn save(&self, token: &StoredToken) -> Result<()> {
        *lock(&self.0) = Some(token.clone());
        Ok(())
    }
}
