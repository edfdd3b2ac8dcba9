//! One error for the whole workspace.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::ProviderId;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarse enough to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The source was configured wrongly. Correct the configuration.
    Config,
    /// The credentials were refused. Ask the user to sign in again.
    Unauthenticated,
    /// The credentials are valid but may not read this.
    PermissionDenied,
    /// What was asked for does not exist, or is not visible to these credentials.
    NotFound,
    /// The query needs a capability that the source does not declare.
    Unsupported,
    /// The cursor is damaged, outdated, or belongs to another source or query. Start the listing again.
    InvalidCursor,
    /// The provider asked to slow down.
    RateLimited,
    /// No complete answer within the time limit.
    Timeout,
    /// The connection failed before a complete answer arrived.
    Network,
    /// The provider reported a failure of its own (5xx).
    Unavailable,
    /// The provider refused the request as wrong (other 4xx): a bug here, or a changed API.
    Rejected,
    /// The answer did not have the documented shape.
    Protocol,
    /// A single record did not fit the core model.
    InvalidRecord,
    /// The store of sessions cannot be used: not found, not ours, full, damaged or made by a newer release.
    Storage,
    /// Somebody else is writing to the same account in the store, or has taken over.
    Conflict,
    /// A message is not signed by who it claims to come from, or is too old: do not act on it. Or the certificate of a
    /// server is not valid: nothing was sent to it.
    Untrusted,
}

impl ErrorKind {
    /// Whether the cause may pass by itself.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::RateLimited | Self::Timeout | Self::Network | Self::Unavailable)
    }

    /// A stable lower-case word, for logs and for programs that read them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::NotFound => "not_found",
            Self::Unsupported => "unsupported",
            Self::InvalidCursor => "invalid_cursor",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Unavailable => "unavailable",
            Self::Rejected => "rejected",
            Self::Protocol => "protocol",
            Self::InvalidRecord => "invalid_record",
            Self::Storage => "storage",
            Self::Conflict => "conflict",
            Self::Untrusted => "untrusted",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The error of every fallible function of this workspace. One word wide.
///
/// It is opaque on purpose: callers ask what [kind](Self::kind) it is, whether the same call
/// [may succeed later](Self::is_retryable) and [when](Self::retry_after). How the answers are held can
/// then change without breaking anyone, and one type passes through every layer without conversion.
///
/// Its text names no URL and no credential.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    provider: Option<ProviderId>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    exhausted: bool,
    problem: Option<Box<Problem>>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error; transient or not according to `kind`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            provider: None,
            status: None,
            retry_after: None,
            exhausted: false,
            problem: None,
            source: None,
        }))
    }

    /// Attaches the underlying error.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the provider.
    #[must_use]
    pub fn with_provider(mut self, provider: ProviderId) -> Self {
        self.0.provider = Some(provider);
        self
    }

    /// Records the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Records how long the provider asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Attaches what the provider said about the problem.
    #[must_use]
    pub fn with_problem(mut self, problem: Problem) -> Self {
        self.0.problem = Some(Box::new(problem));
        self
    }

    /// Marks the error as final because retries below are used up.
    ///
    /// Without the mark, three layers of four attempts each would make sixty-four requests.
    #[must_use]
    pub fn exhausted(mut self) -> Self {
        self.0.exhausted = true;
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the same call may succeed if made again now, and nobody below has already tried.
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_transient() && !self.0.exhausted
    }

    /// Whether retries below were used up.
    pub fn is_exhausted(&self) -> bool {
        self.0.exhausted
    }

    /// How long the provider asked to wait, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The provider, if the error came from one.
    pub fn provider(&self) -> Option<ProviderId> {
        self.0.provider
    }

    /// The HTTP status, if an answer arrived.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// What the provider said, if it sent a description.
    pub fn problem(&self) -> Option<&Problem> {
        self.0.problem.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { provider, message, status, problem, .. } = &*self.0;
        if let Some(provider) = provider {
            write!(f, "{provider}: ")?;
        }
        f.write_str(message)?;
        if let Some(status) = status {
            write!(f, " (HTTP {status})")?;
        }
        if let Some(problem) = problem {
            write!(f, ": {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, message, provider, status, retry_after, exhausted, problem, source } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("message", message)
            .field("provider", provider)
            .field("status", status)
            .field("retry_after", retry_after)
            .field("exhausted", exhausted)
            .field("problem", problem)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}

/// What a provider said about a refused request, after [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)
/// and what providers add to it.
///
/// Every text comes from outside. Whoever reads an answer bounds its length and removes control
/// characters before it gets here, so that it can be printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Problem {
    /// A URI that names the type of problem. Providers reuse and misspell it: for people, not for dispatch.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_uri: Option<String>,
    /// A short summary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// A URI of this occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Complaints by request field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub field_errors: BTreeMap<String, Vec<String>>,
    /// A message meant for the end user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notification: Option<Notification>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for text in [&self.title, &self.detail].into_iter().flatten() {
            write!(f, "{separator}{text}")?;
            separator = ": ";
        }
        for (field, complaints) in &self.field_errors {
            write!(f, "{separator}{field}: {}", complaints.join(", "))?;
            separator = "; ";
        }
        if let Some(notification) = &self.notification {
            write!(f, "{separator}{notification}")?;
        }
        Ok(())
    }
}

/// A message that a provider wants its end user to see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Notification {
    /// The provider's identifier of this kind of message, for example `ERR0023`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The provider's word for what to do about it, for example `ACTIONABLE` or `RETRY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// A short heading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A short text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// A page that says more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for text in [&self.message_id, &self.title, &self.body].into_iter().flatten() {
            write!(f, "{separator}{text}")?;
            separator = " ";
        }
        Ok(())
    }
}

const _: fn() = || {
    fn send_sync_static<T: Send + Sync + 'static>() {}
    send_sync_static::<Error>();
};
const _: () = assert!(size_of::<Error>() == size_of::<usize>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_who_what_and_why() {
        let problem = Problem {
            title: Some("Invalid parameter".into()),
            detail: Some("page_size is 0".into()),
            field_errors: [("page_size".into(), vec!["too small".into()])].into(),
            notification: Some(Notification { message_id: Some("ERR1".into()), ..Default::default() }),
            ..Default::default()
        };
        let error = Error::new(ErrorKind::Rejected, "the request was refused")
            .with_provider(ProviderId::new("test"))
            .with_status(400)
            .with_problem(problem);
        assert_eq!(
            error.to_string(),
            "test: the request was refused (HTTP 400): Invalid parameter: page_size is 0: page_size: too small; ERR1"
        );
    }

    #[test]
    fn used_up_retries_are_final() {
        let error = Error::new(ErrorKind::Unavailable, "down");
        assert!(error.is_retryable());
        assert!(!error.exhausted().is_retryable());
    }

    #[test]
    fn only_what_passes_by_itself_is_retryable() {
        use ErrorKind::*;
        for kind in [RateLimited, Timeout, Network, Unavailable] {
            assert!(Error::new(kind, "").is_retryable(), "{kind}");
        }
        for kind in [
            Config,
            Unauthenticated,
            PermissionDenied,
            NotFound,
            Unsupported,
            InvalidCursor,
            Rejected,
            Protocol,
            InvalidRecord,
        ] {
            assert!(!Error::new(kind, "").is_retryable(), "{kind}");
        }
    }
}
