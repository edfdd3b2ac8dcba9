//! `cargo xtask lake`: partitioned exports, in a folder and in an object store, read by the engines that docs/lake.md
//! names.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::{
    ci::{program, succeed},
    python::Python,
};

/// Keys that the server of the test takes, as any.
const KEYS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "not-an-id"),
    ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
    ("AWS_REGION", "eu-central-1"),
    ("AWS_ALLOW_HTTP", "true"),
];

pub(crate) fn run(root: &Path) -> Result<()> {
    let python = Python::install(&root.join("tests/lake/requirements.txt"), None)?;
    let built = ["build", "-p", "charging-sessions-cli", "--features", "lake"];
    succeed(Command::new(program()).args(built).current_dir(root), "the program with the feature `lake`")?;
    let home = TempDir::new()?;
    let ours = |words: &[&str]| {
        let mut ours = Command::new(program());
        let manifest = root.join("Cargo.toml");
        ours.args(["run", "--quiet", "--manifest-path"]).arg(manifest);
        ours.args(["-p", "charging-sessions-cli", "--features", "lake", "--"]).args(words);
        ours.current_dir(home.path());
        ours
    };
    succeed(ours(&["demo", "--keep", "kept"]).stdout(Stdio::null()), "the demo")?;
    let exported = |place: &str| {
        let mut export = ours(&["--store", "kept/sessions.sqlite", "export", "-o", place]);
        if !place.ends_with(".csv") {
            export.arg("--partitioned");
        }
        export
    };
    succeed(&mut exported("all.csv"), "an export in one file")?;
    succeed(&mut exported("lake"), "an export into a folder")?;
    let files = files(&home.path().join("lake"))?;
    succeed(&mut exported("lake"), "the same again")?;
    ensure!(
        files == self::files(&home.path().join("lake"))?,
        "an export with nothing new has written something"
    );
    let page = root.join("docs/lake.md");
    let check = || {
        let mut check = python.command();
        check.arg(root.join("tests/lake/check.py")).arg(&page).arg("all.csv").current_dir(home.path());
        check
    };
    succeed(&mut check(), "the statements of docs/lake.md")?;

    // The same through a server that speaks as Amazon S3 does, and back by another client.
    let server = Server::start(&python)?;
    let remote = || {
        let mut export = exported("s3://bucket/some/lake");
        export.envs(KEYS).env("AWS_ENDPOINT", &server.address);
        export
    };
    succeed(&mut remote(), "an export into an object store")?;
    succeed(&mut remote(), "the same again")?;
    fs::remove_dir_all(home.path().join("lake"))?;
    let mut fetch = python.command();
    fetch.arg(root.join("tests/lake/server.py")).args(["fetch", &server.address]).current_dir(home.path());
    succeed(&mut fetch, "reading the object store")?;
    let named = |file: &(String, u64)| !file.0.contains("manifest");
    let (here, there): (Vec<_>, Vec<_>) = (files, self::files(&home.path().join("lake"))?);
    ensure!(
        here.iter().filter(|file| named(file)).eq(there.iter().filter(|file| named(file))),
        "the object store holds other files than the folder"
    );
    succeed(&mut check(), "the statements of docs/lake.md, on what the object store held")
}

/// The paths of the files below a folder, with their lengths.
fn files(folder: &Path) -> Result<Vec<(String, u64)>> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(String, u64)>) -> Result<()> {
        for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                walk(&entry.path(), root, found)?;
            } else {
                let path = entry.path();
                found.push((path.strip_prefix(root)?.display().to_string(), entry.metadata()?.len()));
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found)?;
    found.sort();
    ensure!(!found.is_empty(), "{} is empty", folder.display());
    Ok(found)
}

/// An object store on loopback. Ends when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(python: &Python) -> Result<Self> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/lake/server.py");
        let mut child = python.command().args([script, "serve"]).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("the server has no output")?;
        let mut address = String::new();
        let read = BufReader::new(out).read_line(&mut address);
        let server = Self { child, address: address.trim().to_owned() };
        ensure!(read? > 0, "the object store did not start");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
