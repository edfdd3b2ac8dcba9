//! Counts what goes over the wire.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use charging_sessions::Result;
use charging_sessions_http::{Limits, Request, Response, Transport};

/// A transport that counts: every sending is one request, retries and sign-ins included.
#[derive(Debug)]
pub(crate) struct Counted {
    below: Arc<dyn Transport>,
    requests: AtomicU64,
}

impl Counted {
    pub(crate) fn new(below: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { below, requests: AtomicU64::new(0) })
    }

    /// How many requests were sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Transport for Counted {
    async fn send(&self, request: Request, limits: &Limits) -> Result<Response> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.below.send(request, limits).await
    }
}
