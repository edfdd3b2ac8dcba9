//! Our program as a user runs it: a folder with a configuration, and the file that it syncs into.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::child::{Figures, Programs, Server, Used};

/// The organisation that the server knows.
pub(crate) const ORGANISATION: &str = "5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1c0000";

/// A user's folder.
pub(crate) struct Home {
    folder: TempDir,
}

impl Home {
    /// One with a configuration of this many accounts at Podero.
    pub(crate) fn podero(accounts: usize, server: &Server) -> Result<Self> {
        let own = format!("organisation = '{ORGANISATION}'\nbase_url = '{}'", server.address);
        Self::new(accounts, "podero", &own)
    }

    /// One with an account at ev.energy, which allows so many requests.
    pub(crate) fn ev_energy(server: &Server, quota: &str) -> Result<Self> {
        Self::new(1, "ev-energy", &format!("quota = '{quota}'\nbase_url = '{}/v2/'", server.address))
    }

    fn new(accounts: usize, provider: &str, own: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut text = String::from("store = 'sessions.sqlite'\ntime_zone = 'Europe/London'\n");
        for number in 0..accounts {
            write!(
                text,
                "[accounts.home{number}]\nprovider = '{provider}'\nclient_id = 'benchmark'\n\
                 client_secret = {{ env = 'BENCHMARK_SECRET' }}\n{own}\n"
            )?;
        }
        fs::write(folder.path().join("config.toml"), text).context("config.toml cannot be written")?;
        Ok(Self { folder })
    }

    /// The file that is synced into.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.path().join("sessions.sqlite")
    }

    pub(crate) fn sync(&self, programs: &Programs) -> Result<Used> {
        let mut command = programs.command("charging-sessions");
        command.args(["--config", "config.toml", "sync"]).current_dir(self.folder.path());
        // Neither the configuration nor the variables of who runs this.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHARGING_SESSIONS") {
                command.env_remove(name);
            }
        }
        command.env("BENCHMARK_SECRET", "not-a-secret").env("HOME", self.folder.path());
        programs.measure(&command, "charging-sessions sync")
    }
}

/// What the file holds. `layout` says who has written it.
pub(crate) fn figures(programs: &Programs, layout: &str, store: &Path) -> Result<Figures> {
    let output = programs.command("bench-figures").args(["--layout", layout]).arg(store).output();
    let output = output.context("bench-figures cannot be started")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    serde_json::from_slice(&output.stdout).context("bench-figures gives no JSON")
}

/// Fails unless the file holds what a complete reader has.
pub(crate) fn check(
    programs: &Programs,
    layout: &str,
    store: &Path,
    truth: Figures,
    who: &str,
) -> Result<()> {
    let found = figures(programs, layout, store)?;
    ensure!(found == truth, "{who} has not stored what was served:\nserved {truth:?}\nstored {found:?}");
    Ok(())
}
