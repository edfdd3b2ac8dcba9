//! How the program ends.

use std::{fmt, io, process::ExitCode};

use charging_sessions::{Error, ErrorKind};

use crate::text;

/// The exit code. Scripts rely on these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Everything was done.
    Done = 0,
    /// Something else went wrong.
    Other = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// The credentials were refused.
    Auth = 3,
    /// Done, but some records could not be read.
    Rejects = 4,
    /// The provider cannot answer now; the same call may succeed later.
    Later = 5,
    /// Done for some accounts, but not for all.
    Partial = 6,
}

impl Code {
    /// How a run over several accounts ends: well, as the first of them if all failed, or in part.
    /// Rejects are no failure.
    pub(crate) fn of_all(codes: impl IntoIterator<Item = Self>) -> Self {
        let (good, bad): (Vec<_>, Vec<_>) =
            codes.into_iter().partition(|code| matches!(code, Self::Done | Self::Rejects));
        match bad.first() {
            None if good.contains(&Self::Rejects) => Self::Rejects,
            None => Self::Done,
            Some(first) if good.is_empty() => *first,
            Some(_) => Self::Partial,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why the program could not do what it was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong.
    Usage(String),
    /// A source failed.
    Source(Error),
    /// Standard output or a file could not be written.
    Output(io::Error),
    /// What was asked for cannot be done.
    Other(String),
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn other(message: impl Into<String>) -> Self {
        Self::Other(message.into())
    }

    /// As [`usage`](Self::usage), with a file and a line before it, unless `place` is empty. Names in a file may be of
    /// any characters, and the file from others.
    pub(crate) fn at(place: &str, message: impl fmt::Display) -> Self {
        let colon = if place.is_empty() { "" } else { ": " };
        Self::Usage(text::visible(&format!("{place}{colon}{message}")).into_owned())
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Usage(_) => Code::Usage,
            // Whoever closed the pipe has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Code::Done,
            Self::Output(_) => Code::Other,
            Self::Source(error) => Self::code_of(error.kind()),
            Self::Other(_) => Code::Other,
        }
    }

    /// How a run ends that failed with an error of this kind.
    pub(crate) fn code_of(kind: ErrorKind) -> Code {
        match kind {
            ErrorKind::Config | ErrorKind::Unsupported => Code::Usage,
            ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => Code::Auth,
            ErrorKind::RateLimited
            | ErrorKind::Timeout
            | ErrorKind::Network
            | ErrorKind::Unavailable
            | ErrorKind::Conflict => Code::Later,
            _ => Code::Other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) | Self::Other(message) => f.write_str(message),
            Self::Output(error) => write!(f, "the output cannot be written: {error}"),
            Self::Source(error) => {
                // Words of a provider may be in it.
                f.write_str(&text::visible(&error.to_string()))?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {}", text::visible(&error.to_string()))?;
                    cause = error.source();
                }
                if let Some(wait) = error.retry_after() {
                    write!(f, "; the provider asks to come back in {} s", wait.as_secs())?;
                }
                Ok(())
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Source(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_accounts_end_with_one_code() {
        for (codes, together) in [
            (&[][..], Code::Done),
            (&[Code::Done, Code::Done], Code::Done),
            (&[Code::Done, Code::Rejects], Code::Rejects),
            (&[Code::Auth, Code::Auth], Code::Auth),
            (&[Code::Later, Code::Auth], Code::Later),
            (&[Code::Later, Code::Rejects], Code::Partial),
        ] {
            assert_eq!(Code::of_all(codes.iter().copied()), together, "{codes:?}");
        }
    }
}
