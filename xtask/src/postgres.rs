//! The store on PostgreSQL: a server of our own, which is gone afterwards.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::ci::{Program, is_root, program, succeed};

/// Who runs the server when we are root, which it refuses to be run by.
const USER: &str = "postgres";

/// The password of the server's superuser, so that tests can name a wrong one.
const PASSWORD: &str = "Tr0ub4dor-and-3";

/// Runs the tests that need a server: those of the store, and of the program with it.
pub(crate) fn run(root: &Path) -> Result<()> {
    let programs = programs()?;
    let server = Server::start(programs)?;
    test(root, &server, "charging-sessions-store", "postgres", &[])?;
    test(root, &server, "charging-sessions-cli", "store", &[])?;
    // Kept to the end: a server that starts again wants all that it had.
    let disk = server.small_disk();
    match &disk {
        Ok(disk) => {
            let folder = disk.0.display().to_string();
            test(root, &server, "charging-sessions-cli", "fleet_full", &[("SMALL_DISK", &folder)])?;
        }
        Err(error) => println!("NOT CHECKED: a full disk of the database, because {error:#}"),
    }
    // Last, because it takes the server away from under everybody.
    test(root, &server, "charging-sessions-store", "postgres_crash", &[("CRASH", &server.crash())])
}

/// A file system of a few megabytes, until it is dropped.
struct SmallDisk(PathBuf);

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server may still have it open.
        Command::new("umount").arg("--lazy").arg(&self.0).status().ok();
    }
}

/// Runs one file of tests, and fails unless every one of them has run.
fn test(root: &Path, server: &Server, package: &str, name: &str, more: &[(&str, &str)]) -> Result<()> {
    let mut cargo = Command::new(program());
    cargo
        .args(["test", "-p", package, "--features"])
        .args([if name.starts_with("fleet") { "fleet" } else { "postgres" }, "--test", name])
        .args(["--", "--include-ignored"])
        .env("CHARGING_SESSIONS_TEST_POSTGRES", server.address())
        .current_dir(root)
        .stderr(Stdio::inherit());
    for (variable, value) in more {
        cargo.env(format!("CHARGING_SESSIONS_TEST_POSTGRES_{variable}"), value);
    }
    let output = cargo.output().context("cargo cannot be started")?;
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    ensure!(output.status.success(), "the tests of {name} failed; the server said:\n{}", server.log());
    ensure!(ran(&text), "no test of {name} has run, or not all have");
    Ok(())
}

/// Whether tests have run, and none was left out.
fn ran(output: &str) -> bool {
    output.lines().any(|line| {
        line.starts_with("test result: ok.") && !line.contains(" 0 passed;") && line.contains("; 0 ignored;")
    })
}

/// The folder with the programs of a server. Debian keeps those of each version in a folder of its own.
pub(crate) fn programs() -> Result<PathBuf> {
    let installed = || {
        let mut folders: Vec<PathBuf> =
            std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
        versions.sort();
        folders.extend(versions.into_iter().rev());
        folders.into_iter().find(|folder| {
            ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file())
        })
    };
    if let Some(folder) = installed() {
        return Ok(folder);
    }
    Program { name: "PostgreSQL", packages: &["postgresql"], without: None }.install()?;
    installed().context("PostgreSQL was installed, and is not found in PATH nor in /usr/lib/postgresql")
}

/// A server on loopback with an empty database. Ends when it is dropped.
pub(crate) struct Server {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    /// What it is told besides, each `name=value`.
    settings: Vec<&'static str>,
}

impl Server {
    pub(crate) fn start(programs: PathBuf) -> Result<Self> {
        Self::start_with(programs, &[])
    }

    /// One with settings of PostgreSQL, each `name=value`.
    pub(crate) fn start_with(programs: PathBuf, settings: &[&'static str]) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr());
        let port = port.context("no free port")?.port();
        let server = Self { programs, folder, port, settings: settings.to_vec() };
        let password = server.path("password");
        fs::write(&password, PASSWORD).context("the password of the server cannot be written")?;
        if is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", USER]).arg(server.folder.path());
            succeed(&mut chown, "chown")?;
        }
        // What is on disk is of no use after a crash of this machine, but it must be there after one of the server.
        server.shell(&format!(
            "{} --pgdata {} --username {USER} --pwfile {} --auth scram-sha-256 --encoding UTF8 --locale C --no-sync",
            quoted(&server.programs.join("initdb")),
            quoted(&server.path("data")),
            quoted(&password),
        ))?;
        server.shell_directly(&server.control(&server.starting()))?;
        Ok(server)
    }

    /// A folder for a tablespace with room for an empty database and a little more.
    fn small_disk(&self) -> Result<SmallDisk> {
        ensure!(is_root(), "only root may mount a small file system");
        let path = self.path("small");
        fs::create_dir(&path).context("no folder for it can be made")?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"]).arg(&path);
        succeed(&mut mount, "mount")?;
        let disk = SmallDisk(path);
        let mut chown = Command::new("chown");
        succeed(chown.arg(USER).arg(&disk.0), "chown")?;
        Ok(disk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// A command for a shell that ends the server as a crash does, and starts it again.
    pub(crate) fn crash(&self) -> String {
        format!("{} && {}", self.control("-m immediate stop"), self.control(&self.starting()))
    }

    /// What `pg_ctl` is told to start the server.
    fn starting(&self) -> String {
        // Its socket lies beside the data, for others must not be able to take its place.
        let mut settings = format!("-p {} -h 127.0.0.1 -k {}", self.port, self.folder.path().display());
        for setting in &self.settings {
            settings.push_str(&format!(" -c {setting}"));
        }
        format!("-l {} -o {} start", quoted(&self.path("log")), quote(&settings))
    }

    /// A command for a shell, as the user whose server it is.
    fn control(&self, what: &str) -> String {
        let pg_ctl = quoted(&self.programs.join("pg_ctl"));
        as_user(&format!("{pg_ctl} -D {} -s -w {what}", quoted(&self.path("data"))))
    }

    fn shell(&self, command: &str) -> Result<()> {
        self.shell_directly(&as_user(command))
    }

    fn shell_directly(&self, command: &str) -> Result<()> {
        let mut shell = Command::new("sh");
        // The server inherits what it is started with, so that must not be an output that somebody reads to its end.
        shell
            .args(["-c", command])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        succeed(&mut shell, command).with_context(|| format!("the server said:\n{}", self.log()))
    }

    /// The last lines that the server has written.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shell_directly(&self.control("-m immediate stop")).ok();
    }
}

fn as_user(command: &str) -> String {
    if is_root() { format!("su {USER} -s /bin/sh -c {}", quote(command)) } else { command.to_owned() }
}

fn quoted(path: &Path) -> String {
    quote(&path.display().to_string())
}

/// One word for a shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_did_not_run_are_seen() {
        assert!(ran("running 2 tests\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n"));
        assert!(!ran("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"));
        assert!(!ran("test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured"));
        assert!(!ran(""));
    }

    #[test]
    fn a_word_stays_one_word_in_a_shell() {
        for word in ["a b", "it's", "$(x) `y` \"z\"", "\\"] {
            let output = Command::new("sh").args(["-c", &format!("printf %s {}", quote(word))]).output();
            assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), word);
        }
    }
}
