//! Programs of others that cargo installs, once for all runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::ci::{program, succeed};

/// A program, in one version so that a check means the same next year.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    version: &'static str,
}

pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
pub(crate) const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };
pub(crate) const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9" };
pub(crate) const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// What outlives a run, beside the target directory of `.ci/run`.
pub(crate) fn cache() -> Result<PathBuf> {
    let of_user = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let of_user = match of_user {
        Some(folder) => folder,
        None => PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?)
            .join(".cache"),
    };
    Ok(of_user.join("charging-sessions"))
}

impl Tool {
    /// Where it is. Compiles it first, which takes minutes, if this version is not there.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let root = cache()?.join("tools");
        if !self.is_in(&root) {
            let wanted = format!("{}@{}", self.name, self.version);
            println!("installing {wanted} into {}", root.display());
            let mut install = Command::new(program());
            install.args(["install", "--quiet", "--locked", "--root"]).arg(&root).arg(&wanted);
            // In a folder that goes away, and not with the settings of this workspace.
            install.env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").current_dir(env::temp_dir());
            succeed(&mut install, &format!("cargo install {wanted}"))?;
        }
        Ok(root.join("bin").join(self.name).with_extension(env::consts::EXE_EXTENSION))
    }

    /// Whether the list that cargo keeps of what it has installed names this version.
    fn is_in(&self, root: &Path) -> bool {
        let list = fs::read_to_string(root.join(".crates.toml")).unwrap_or_default();
        list.contains(&format!("\"{} {} (", self.name, self.version)) && root.join("bin").is_dir()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_is_there() {
        let root = tempfile::tempdir().unwrap();
        assert!(!DENY.is_in(root.path()));
        fs::create_dir(root.path().join("bin")).unwrap();
        let list = |version: &str| {
            let line =
                format!("[v1]\n\"cargo-deny {version} (registry+https://example.com)\" = [\"cargo-deny\"]\n");
            fs::write(root.path().join(".crates.toml"), line).unwrap();
        };
        list("0.1.0");
        assert!(!DENY.is_in(root.path()));
        list(DENY.version);
        assert!(DENY.is_in(root.path()) && !MACHETE.is_in(root.path()));
    }
}
