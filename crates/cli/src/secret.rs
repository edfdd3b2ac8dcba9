//! Secrets are referred to, never written down, and read only when they are needed.

use std::{
    env,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

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
    /// In the credential store of the system, under this name.
    Keyring(String),
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

    /// What messages of a provider are signed with.
    pub(crate) fn of_webhook(reference: Reference) -> Self {
        Self { what: "secret of the webhook", reference, place: String::new() }
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
            Reference::Keyring(name) => keyring::get(name).await.map_err(|why| self.wrong(why))?,
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

    /// Puts it where this refers to, if that is a place of its own.
    pub(crate) async fn write(&self, secret: &SecretString) -> Result<String, Failure> {
        match &self.reference {
            Reference::File(path) => {
                private(path, secret.expose_secret().as_bytes()).map_err(|error| {
                    self.wrong(format!("the {} cannot be written to {}: {error}", self.what, path.display()))
                })?;
                Ok(format!("the file {}, which nobody else may read", path.display()))
            }
            Reference::Keyring(name) => {
                keyring::set(name, secret).await.map_err(|why| self.wrong(why))?;
                Ok(format!("the credential store of the system, as {name}"))
            }
            Reference::Environment(_) | Reference::Command(_) => Err(self.elsewhere()),
        }
    }

    /// Takes it away from where this refers to.
    pub(crate) async fn forget(&self) -> Result<String, Failure> {
        match &self.reference {
            Reference::File(path) => {
                fs::remove_file(path).map_err(|error| {
                    self.wrong(format!("the file {} cannot be removed: {error}", path.display()))
                })?;
                Ok(format!("the file {}", path.display()))
            }
            Reference::Keyring(name) => {
                keyring::forget(name).await.map_err(|why| self.wrong(why))?;
                Ok(format!("the credential store of the system, where it was {name}"))
            }
            Reference::Environment(_) | Reference::Command(_) => Err(self.elsewhere()),
        }
    }

    fn elsewhere(&self) -> Failure {
        self.wrong(
            "the configuration refers to a variable or a command, which this program does not change: \
             refer to { file = \"PATH\" } or { keyring = \"NAME\" }",
        )
    }

    fn file(&self, path: &PathBuf) -> Result<Vec<u8>, Failure> {
        let shown = path.display();
        let unread =
            |error: io::Error| self.wrong(format!("the {} cannot be read from {shown}: {error}", self.what));
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

/// Writes a file that nobody else may read, not even while it is being written.
fn private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Temporary files are made with mode 600, and take the place of what was there as a whole.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

#[cfg(feature = "keyring")]
mod keyring {
    //! The credential store of the system.

    use keyring::{Entry, Error};
    use secrecy::{ExposeSecret as _, SecretString};

    /// Under which all entries of this program stand.
    const SERVICE: &str = "charging-sessions";

    /// The store may ask a person to unlock it, so it is waited for aside.
    async fn with<T: Send + 'static>(
        name: &str,
        work: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, String> {
        let name = name.to_owned();
        let entry = name.clone();
        let done = tokio::task::spawn_blocking(move || Entry::new(SERVICE, &entry).and_then(|it| work(&it)));
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Error::NoEntry)) => Err(format!(
                "there is no client secret under {name} in the credential store of the system: \
                 `charging-sessions auth login ACCOUNT` puts it there"
            )),
            // Their texts name the store and the cause, never the secret.
            Ok(Err(error)) => Err(format!(
                "the credential store of the system cannot be used ({error}): on a server, refer to a file instead"
            )),
            Err(_) => Err("the credential store of the system cannot be used".to_owned()),
        }
    }

    pub(super) async fn get(name: &str) -> Result<Vec<u8>, String> {
        with(name, Entry::get_password).await.map(String::into_bytes)
    }

    pub(super) async fn set(name: &str, secret: &SecretString) -> Result<(), String> {
        let secret = secret.clone();
        with(name, move |entry| entry.set_password(secret.expose_secret())).await
    }

    pub(super) async fn forget(name: &str) -> Result<(), String> {
        with(name, Entry::delete_credential).await
    }
}

#[cfg(not(feature = "keyring"))]
mod keyring {
    //! What is said where the credential store of the system was left out.

    use secrecy::SecretString;

    const LEFT_OUT: &str = "this program was built without the credential store of the system: build it with \
                            `--features keyring`, or refer to a file";

    pub(super) async fn get(_name: &str) -> Result<Vec<u8>, String> {
        Err(LEFT_OUT.to_owned())
    }

    pub(super) async fn set(_name: &str, _secret: &SecretString) -> Result<(), String> {
        Err(LEFT_OUT.to_owned())
    }

    pub(super) async fn forget(_name: &str) -> Result<(), String> {
        Err(LEFT_OUT.to_owned())
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
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
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

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_written_can_be_read_by_nobody_else_and_forgotten() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/secret");
        let secret = Secret::of_client(Reference::File(path.clone()), "c.toml:3".into());
        for text in ["s3cret", "another s3cret"] {
            secret.write(&text.into()).await.unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(read(secret.reference.clone()).await, Ok(text.into()));
        }
        secret.forget().await.unwrap();
        assert!(!path.exists() && secret.forget().await.is_err());
        let variable = Secret::of_client(Reference::Environment("X".into()), "c.toml:3".into());
        let refused = variable.write(&"s3cret".into()).await.unwrap_err().to_string();
        assert!(refused.starts_with("c.toml:3: the configuration refers to a variable"), "{refused}");
    }

    #[cfg(not(feature = "keyring"))]
    #[tokio::test]
    async fn without_the_credential_store_it_is_said_how_to_get_it() {
        let said = read(Reference::Keyring("home".into())).await.unwrap_err();
        assert!(said.contains("--features keyring"), "{said}");
    }

    /// Needs a store that is unlocked: `dbus-run-session` with `gnome-keyring-daemon --unlock` gives one.
    #[cfg(feature = "keyring")]
    #[tokio::test]
    #[ignore = "needs the credential store of a system"]
    async fn the_credential_store_keeps_a_secret_and_forgets_it() {
        let name = format!("test-{}", std::process::id());
        let secret = Secret::of_client(Reference::Keyring(name), "c.toml:3".into());
        let missing = secret.read().await.unwrap_err().to_string();
        assert!(missing.contains("`charging-sessions auth login ACCOUNT` puts it there"), "{missing}");
        secret.write(&"s3cret".into()).await.unwrap();
        assert_eq!(read(secret.reference.clone()).await, Ok("s3cret".into()));
        secret.forget().await.unwrap();
        assert!(secret.read().await.is_err());
    }

    #[test]
    fn debug_shows_no_command() {
        let reference = Reference::Command("echo s3cret".into());
        assert!(!format!("{:?}", Secret::of_client(reference, String::new())).contains("s3cret"));
    }
}
