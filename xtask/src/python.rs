//! A Python with the packages that some scripts need, kept from one time to the next.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::{
    ci::{Program, succeed},
    tools,
};

/// The interpreter of a virtual environment.
pub(crate) struct Python(PathBuf);

impl Python {
    /// Makes the environment with the packages of this file, unless it is there. `without` says how to do without it.
    pub(crate) fn install(requirements: &Path, without: Option<&'static str>) -> Result<Self> {
        let text = fs::read(requirements).context("requirements.txt cannot be read")?;
        let hash: String = Sha256::digest(&text).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let folder = tools::cache()?.join(format!("python-{hash}"));
        let python = folder.join("bin/python");
        // Written last, so that what was broken off is made anew.
        let done = folder.join("done");
        if !done.is_file() {
            drop(fs::remove_dir_all(&folder));
            let make = || {
                let mut make = Command::new("python3");
                make.args(["-m", "venv"]).arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
                make.status().is_ok_and(|status| status.success())
            };
            if !make() {
                Program { name: "Python with venv", packages: &["python3", "python3-venv"], without }
                    .install()?;
                ensure!(make(), "`python3 -m venv` fails although python3-venv is installed");
            }
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(requirements);
            succeed(&mut pip, "pip install")?;
            fs::write(&done, "").context("the folder of the cache cannot be written to")?;
        }
        Ok(Self(python))
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // What it compiles of the scripts does not belong beside them.
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}
