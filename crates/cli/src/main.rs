//! The program `charging-sessions`.

fn main() -> std::process::ExitCode {
    charging_sessions_cli::main()
}
