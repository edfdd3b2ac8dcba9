//! What `bench-run` says of a program.

#![cfg(unix)]

use std::{fs, process::Command, time::Duration};

use workspace_benchmarks::Used;

fn run(script: &str) -> (i32, Used) {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report");
    let status =
        Command::new(env!("CARGO_BIN_EXE_bench-run")).arg(&report).args(["sh", "-c", script]).status();
    let used = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    (status.unwrap().code().unwrap(), used)
}

#[test]
fn processors_are_counted_and_waiting_is_not() {
    let (_, used) = run("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; sleep 0.3");
    assert!(used.processor > Duration::from_millis(5), "{used:?}");
    assert!(used.wall >= used.processor + Duration::from_millis(200), "{used:?}");
}

#[test]
fn memory_is_that_of_the_program_and_not_of_who_has_started_it() {
    // Every page is written to, so all of it is resident.
    let ours = vec![7_u8; 64 << 20];
    let (_, used) = run("exit 0");
    assert_eq!(ours.iter().filter(|byte| **byte != 7).count(), 0);
    assert!(used.memory < 20 << 20, "{used:?}");
}

#[test]
fn the_exit_code_is_passed_on() {
    assert_eq!(run("exit 3").0, 3);
}
