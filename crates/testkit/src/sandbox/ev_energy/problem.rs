//! Errors as problem documents (RFC 9457).

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use super::RetryAfter;

/// The address that the API gives to two different problems, which is why nobody may tell them apart by it.
const PAGINATION: &str = "https://api.ev.energy/v2/problems/pagination-parameters/";
const VALIDATION: &str = "https://api.ev.energy/v2/problems/validation-failed/";
const RATE_LIMIT: &str = "https://api.ev.energy/v2/problems/rate-limit-exceeded/";

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    kind: Option<&'static str>,
    title: &'static str,
    detail: String,
    field_errors: Map<String, Value>,
    wait: Option<(RetryAfter, u64)>,
}

impl Problem {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, kind: None, title, detail: detail.into(), field_errors: Map::new(), wait: None }
    }

    /// A `page_…` parameter that cannot be used.
    pub(super) fn pagination(parameter: &str) -> Self {
        let detail = format!("The value of {parameter} cannot be used.");
        let problem = Self::new(StatusCode::BAD_REQUEST, "Invalid pagination parameter", detail);
        Self { kind: Some(PAGINATION), ..problem }
    }

    pub(super) fn version(requested: &str) -> Self {
        let detail = format!("There is no version {requested}.");
        Self { kind: Some(PAGINATION), ..Self::new(StatusCode::BAD_REQUEST, "Unsupported version", detail) }
    }

    /// Parameters with a reason each.
    pub(super) fn fields(errors: Vec<(&'static str, &'static str)>) -> Self {
        let field_errors =
            errors.into_iter().map(|(field, reason)| (field.to_owned(), json!([reason]))).collect();
        let problem = Self::new(StatusCode::BAD_REQUEST, "Validation failed", "Some parameters are wrong.");
        Self { kind: Some(VALIDATION), field_errors, ..problem }
    }

    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "The token is unknown or has expired.")
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", "Nothing here, or nothing this client may see.")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "The method does not fit the address.",
        )
    }

    pub(super) fn not_acceptable() -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "Not Acceptable", "Answers are JSON, which Accept rules out.")
    }

    pub(super) fn too_many_requests(wait: Duration, spelling: RetryAfter) -> Self {
        // A client that waits for the rounded-down time comes too early.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let detail = format!("The limit is used up. Another request is allowed in {seconds} seconds.");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests", detail);
        Self { kind: Some(RATE_LIMIT), wait: Some((spelling, seconds)), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut document = json!({
            "status": self.status.as_u16(),
            "title": self.title,
            "detail": self.detail,
        });
        if let Some(kind) = self.kind {
            document["type"] = kind.into();
        }
        if !self.field_errors.is_empty() {
            document["field_errors"] = self.field_errors.into();
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some((spelling, seconds)) = self.wait {
            headers.insert(spelling.header(), HeaderValue::from(seconds));
        }
        response
    }
}
