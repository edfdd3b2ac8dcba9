//! Errors as `{"code": …, "message": …}`.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    wait: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), wait: None }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Unauthorized",
            "The access token is missing, unknown or too old.",
        )
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", format!("There is no such {what}."))
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "The method does not fit the address.")
    }

    pub(super) fn parameter(name: &str, reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParameter", format!("{name}: {reason}"))
    }

    pub(super) fn body(reason: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidBody", reason)
    }

    pub(super) fn capacity_missing() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "BatteryCapacityMissing",
            "The feature needs the capacity of the battery.",
        )
    }

    pub(super) fn not_supported(what: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NotSupported", format!("This entity cannot have {what}."))
    }

    pub(super) fn too_many_requests(wait: Duration) -> Self {
        // A client that waits for the rounded-down time comes too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", "Too many requests.");
        Self { wait: Some(seconds), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({ "code": self.code, "message": self.message });
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.wait {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
