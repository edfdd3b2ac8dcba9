//! What every request to a sandbox passes: it is recorded, waits, and meets the fault that is meant for it.

use std::{future::Future, time::Duration};

use axum::{extract::Request, response::Response};
use http::Method;

use super::{
    fault::{Effect, FaultQueue, Target, echo},
    record::Recorder,
    token::TokenEndpoint,
};

/// What a request passes before and after its answer.
pub(crate) struct Gate<'a> {
    pub(crate) recorder: &'a Recorder,
    pub(crate) tokens: &'a TokenEndpoint,
    pub(crate) faults: &'a FaultQueue,
    /// Of requests for data.
    pub(crate) latency: Duration,
    /// What lies below this path is about tokens, all else is data.
    pub(crate) sign_in: &'static str,
    /// The path of the token endpoint.
    pub(crate) token: &'static str,
}

impl Gate<'_> {
    /// Lets a request pass to `answer`, unless a fault answers in its place. `records` is the JSON pointer of the
    /// records in the answer, so that a fault finds them.
    pub(crate) async fn pass<F: Future<Output = Response>>(
        self,
        mut request: Request,
        records: &str,
        answer: impl FnOnce(Target, Request) -> F,
    ) -> Response {
        let place = self.recorder.begin(&request);
        let path = request.uri().path();
        let target = if path.starts_with(self.sign_in) { Target::Token } else { Target::Data };
        if path == self.token && request.method() == Method::POST {
            self.tokens.count();
        }
        let effect = self.faults.take(target, path);
        if target == Target::Data {
            wait(self.latency).await;
        }
        match &effect {
            Some(Effect::Latency(by)) => wait(*by).await,
            Some(Effect::RevokeTokens) => self.tokens.revoke_all(),
            Some(Effect::Page(fault)) => drop(request.extensions_mut().insert(*fault)),
            _ => {}
        }
        let response = match (effect.as_ref().and_then(Effect::answer), &effect) {
            (Some(response), _) => response,
            (None, Some(Effect::Echo { status })) => echo(*status, request).await,
            (None, _) => answer(target, request).await,
        };
        let response = match effect {
            Some(effect) => effect.spoil(response, records).await,
            None => response,
        };
        self.recorder.finish(place, response.status());
        response
    }
}

async fn wait(by: Duration) {
    // Even a wait of nothing would let a paused clock run to the next timer.
    if !by.is_zero() {
        tokio::time::sleep(by).await;
    }
}
