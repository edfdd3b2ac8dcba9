//! Secrets are referred to, never written down, and read only when they are needed.

use std::{env, ffi::OsString, fmt, fs::File, io::Read as _, path::PathBuf, process::Stdio, time::Duration};

use secrecy::{ExposeSecret as _, SecretString, zeroize::Zeroizing};
use tokio::{io::AsyncReadExt as _, process::Command, time};

use crate::exit::Failure;

/// How long a command may take; a person may have to unlock something.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// The longest secret, in bytes. What is longer is something else.
const LONGEST: usize = 64 << 10;

/// Where a secret is.
#[derive(Clone, Debug)]
pub(crate) enum Reference {
    /// In an environment variable of this name.
    Environment(String),
    /// In a file that holds nothing else.
    File(PathBuf),
    /// What this command of the shell prints. Kept from view, because people put secrets into commands.
    Command(SecretString),
}

/// A secret that has not been read.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    /// What it is, for messages.
    what: &'static str,
    pub(crate) reference: Reference,
    /// Where the reference stands, for messages: a file and a line. Empty for the command line.
    pub(crate) place: String,
}

impl Secret {
    /// What an account is read with.
    pub(crate) fn of_client(reference: Reference, place: String) -> Self {
        Self { what: "client secret", reference, place }
    }

    /// Where the store is, and with which password.
    pub(crate) fn of_store(reference: Reference, place: String) -> Self {
        Self { what: "address of the store", reference, place }
    }

    /// Reads it, without the line breaks at its end.
    pub(crate) async fn read(&self) -> Result<SecretString, Failure> {
        self.read_within(TIME_LIMIT).await
    }

    async fn read_within(&self, limit: Duration) -> Result<SecretString, Failure> {
        let bytes = match &self.reference {
            Reference::Environment(name) => env::var_os(name).map(OsString::into_encoded_bytes).ok_or_else(|| {
                self.wrong(format!("there is no {}: set the environment variable {name}", self.what))
            })?,
            Reference::File(path) => self.file(path)?,
            Reference::Command(line) => time::timeout(limit, self.command(line)).await.map_err(|_| {
                let seconds = limit.as_secs();
                self.wrong(format!(
                    "the command for the {} took longer than {seconds} s: run it by hand to see what it waits for", self.what
                ))
            })??,
        };
        let bytes = Zeroizing::new(bytes);
        if bytes.len() > LONGEST {
            return Err(
                self.wrong(format!("the {} is longer than 64 KiB: this refers to something else", self.what))
            );
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| self.wrong(format!("the {} is not text in UTF-8", self.what)))?;
        // Editors and commands end with a line break, which is no part of a secret.
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(self.wrong(format!("the {} is empty: put it where this refers to", self.what))),
            secret => Ok(secret.into()),
        }
    }

    fn file(&self, path: &PathBuf) -> Result<Vec<u8>, Failure> {
        let shown = path.display();
        let unread = |error: std::io::Error| {
            self.wrong(format!("the {} cannot be read from {shown}: {error}", self.what))
        };
        let file = File::open(path).map_err(unread)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let about = file.metadata().map_err(unread)?;
            let mode = about.permissions().mode() & 0o777;
            if about.is_file() && mode & 0o077 != 0 {
                return Err(self.wrong(format!(
                    "others may read the {} in {shown} (mode {mode:04o}): run chmod 600 on it",
                    self.what
                )));
            }
        }
        let mut bytes = Vec::new();
        file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(unread)?;
        Ok(bytes)
    }

    /// What a command prints. What it says besides may hold the secret, so nobody sees it.
    async fn command(&self, line: &SecretString) -> Result<Vec<u8>, Failure> {
        let failed = |how: &dyn fmt::Display| {
            self.wrong(format!("the command for the {} failed ({how}): run it by hand to see why", self.what))
        };
        let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut child = Command::new(shell)
            .args([option, line.expose_secret()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        if let Some(out) = child.stdout.take() {
            out.take(LONGEST as u64 + 1).read_to_end(&mut bytes).await.map_err(|error| failed(&error))?;
        }
        if bytes.len() > LONGEST {
            // It may never end. That it is too long is told where it is read.
            return Ok(bytes);
        }
        let status = child.wait().await.map_err(|error| failed(&error))?;
        if status.success() { Ok(bytes) } else { Err(failed(&status)) }
    }

    fn wrong(&self, message: impl fmt::Display) -> Failure {
        Failure::at(&self.place, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(reference: Reference) -> Result<String, String> {
        let secret = Secret::of_client(reference, "c.toml:3".into());
        match secret.read_within(Duration::from_millis(300)).await {
            Ok(secret) => Ok(secret.expose_secret().to_owned()),
            Err(failure) => {
                assert_eq!(failure.code(), crate::exit::Code::Usage);
                Err(failure.to_string())
            }
        }
    }

    #[tokio::test]
    async fn the_environment_is_read_and_a_missing_variable_named() {
        let missing = Reference::Environment("CHARGING_SESSIONS_TEST_UNSET".into());
        let words =
            "c.toml:3: there is no client secret: set the environment variable CHARGING_SESSIONS_TEST_UNSET";
        assert_eq!(read(missing).await, Err(words.into()));
        // Set by cargo for every test.
        let set = Reference::Environment("CARGO_PKG_NAME".into());
        assert_eq!(read(set).await, Ok("charging-sessions-cli".into()));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_is_read_if_nobody_else_can() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let shown = path.display();
        let write = |text: &[u8], mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let file = || read(Reference::File(path.clone()));

        let missing = file().await.unwrap_err();
        assert!(
            missing.starts_with(&format!("c.toml:3: the client secret cannot be read from {shown}: ")),
            "{missing}"
        );
        write(b"s3cret\r\n\n", 0o600);
        assert_eq!(file().await, Ok("s3cret".into()));
        write(b"s3cret", 0o644);
        let words = format!(
            "c.toml:3: others may read the client secret in {shown} (mode 0644): run chmod 600 on it"
        );
        assert_eq!(file().await, Err(words));
        write(b"\n", 0o600);
        let words = "c.toml:3: the client secret is empty: put it where this refers to";
        assert_eq!(file().await, Err(words.into()));
        write(b"\xff", 0o600);
        assert_eq!(file().await, Err("c.toml:3: the client secret is not text in UTF-8".into()));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_command_is_run_and_what_it_says_stays_hidden() {
        let command = |line: &str| read(Reference::Command(line.into()));
        assert_eq!(command("echo s3cret").await, Ok("s3cret".into()));
        let words =
            "c.toml:3: the command for the client secret failed (exit status: 7): run it by hand to see why";
        assert_eq!(command("echo s3cret; echo s3cret >&2; exit 7").await, Err(words.into()));
        let words = "c.toml:3: the command for the client secret took longer than 0 s: \
                     run it by hand to see what it waits for";
        assert_eq!(command("sleep 10").await, Err(words.into()));
        let words = "c.toml:3: the client secret is longer than 64 KiB: this refers to something else";
        assert_eq!(command("yes").await, Err(words.into()));
    }

    #[test]
    fn debug_shows_no_command() {
        let reference = Reference::Command("echo s3cret".into());
        assert!(!format!("{:?}", Secret::of_client(reference, String::new())).contains("s3cret"));
    }
}
