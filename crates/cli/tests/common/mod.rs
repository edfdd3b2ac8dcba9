//! Runs the program as a user does.

// Not every test program needs all of this.
#![allow(dead_code)]

use std::{env, path::Path, process::Command};

/// What became of a run.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program, in a folder that holds all that is the user's. Nothing of whoever runs the tests gets in.
pub(crate) fn program(home: &Path) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_charging-sessions"));
    for (variable, _) in env::vars_os() {
        if variable.to_string_lossy().starts_with("CHARGING_SESSIONS_") {
            program.env_remove(variable);
        }
    }
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"] {
        program.env(variable, home);
    }
    program.current_dir(home);
    program
}

/// Runs it to its end.
pub(crate) fn run(program: &mut Command) -> Ran {
    let output = program.output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in ["s3cret", "wr0ng"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "a secret shows");
    }
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
    ran
}

/// Runs it while a sandbox answers from this process, whose runtime must go on meanwhile.
pub(crate) async fn run_beside(mut program: Command) -> Ran {
    tokio::task::spawn_blocking(move || run(&mut program)).await.unwrap()
}
