//! Errors as `{"detail": …}`: a sentence, or a list with one entry per parameter.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Value,
    wait: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<Value>) -> Self {
        Self { status, detail: detail.into(), wait: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized")
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no such {what}."))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "The method does not fit the address.")
    }

    /// Parameters of the query with a reason each.
    pub(super) fn invalid(errors: Vec<Invalid>) -> Self {
        let entry =
            |it: Invalid| json!({ "loc": ["query", it.parameter], "msg": it.message, "type": it.kind });
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, errors.into_iter().map(entry).collect::<Vec<_>>())
    }

    pub(super) fn too_many_requests(wait: Duration) -> Self {
        // A client that waits for the rounded-down time comes too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { wait: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many requests.") }
    }
}

/// A parameter that cannot be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Invalid {
    pub(super) parameter: &'static str,
    pub(super) kind: &'static str,
    pub(super) message: &'static str,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(json!({ "detail": self.detail }).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
