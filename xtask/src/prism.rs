//! The adapters against Prism: somebody else's program reads our documents, makes servers of them, and judges
//! every request.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::ci::{npm_packages, program, succeed};

/// The last version that runs on the Node.js of Debian 12.
const PACKAGE: &str = "@stoplight/prism-cli@5.14.2";

/// Each provider with a request that its document does not allow.
const PROVIDERS: &[(&str, &str)] = &[
    ("der-connect", "/v1/entities?pageSize=many"),
    ("ev-energy", "/charging_sub_sessions?page_size=999"),
    ("evcc", "/api/sessions?year=2026&month=13"),
    ("ocpi", "/2.2.1/sessions?limit=0"),
    (
        "podero",
        "/api/partners/v2.0/org/5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1c0000/users/5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1c0001\
         /electric-vehicles/5f0c2b1e-6d0a-4c1e-9b0e-0d9b7a1c0002/sessions?from=2026-01-01&to=2026-01-02&limit=999",
    ),
];

/// A path of no document.
const NOWHERE: &str = "/nowhere";

/// How long a server may take to start, or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs its arguments until its input ends, which it does however we end.
const LEASH: &str = r#""$@" 2>&1 & child=$!; exec >/dev/null 2>&1; cat; kill -KILL "$child""#;

/// Runs `tests/tests/prism.rs` with what the examples say, and once more with what the schemas allow.
pub(crate) fn run(root: &Path) -> Result<()> {
    let folder = npm_packages(&[PACKAGE.to_owned()])?;
    let prism = folder.path().join("node_modules/@stoplight/prism-cli/dist/index.js");
    for answers in [Answers::Examples, Answers::MadeUp] {
        // All at once, so that no two are the same.
        let free = PROVIDERS.iter().map(|_| TcpListener::bind(("127.0.0.1", 0)));
        let free = free.collect::<Result<Vec<_>, _>>().context("no free port")?;
        let ports = free.iter().map(|socket| Ok(socket.local_addr()?.port())).collect::<Result<Vec<_>>>()?;
        drop(free);
        let mut servers = Vec::new();
        for ((provider, _), port) in PROVIDERS.iter().zip(ports) {
            servers.push(Server::start(root, &prism, provider, port, answers)?);
        }
        let mut cargo = Command::new(program());
        cargo
            .args(["test", "-q", "-p", "workspace-tests", "--test", "prism", "--", "--ignored"])
            .current_dir(root);
        if answers == Answers::MadeUp {
            cargo.env("PRISM_MAKES_UP", "1");
        }
        for server in &mut servers {
            server.await_line("is listening on")?;
            let variable = format!("PRISM_{}", server.provider.to_uppercase().replace('-', "_"));
            cargo.env(variable, server.url(""));
        }
        let outcome = succeed(&mut cargo, "cargo test --test prism");
        for (server, (_, wrong)) in servers.iter_mut().zip(PROVIDERS) {
            let refusals = server.refusals()?;
            ensure!(
                refusals.is_empty(),
                "Prism refused what the adapter of {} asked:\n{}",
                server.provider,
                refusals.join("\n")
            );
            // What finds nothing even then would find nothing ever.
            let status = server.ask(wrong)?;
            ensure!((400..500).contains(&status), "Prism answers a wrong request, {wrong}, with {status}");
            ensure!(!server.refusals()?.is_empty(), "a refusal of Prism, of {wrong}, is not seen in its log");
        }
        outcome?;
    }
    Ok(())
}

/// What a server answers with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answers {
    Examples,
    MadeUp,
}

/// A server of one document. Ends when it is dropped.
struct Server {
    child: Child,
    log: Receiver<String>,
    provider: &'static str,
    port: u16,
    answers: Answers,
}

impl Server {
    fn start(root: &Path, prism: &Path, provider: &'static str, port: u16, answers: Answers) -> Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", LEASH, "sh", "node"]).arg(prism);
        command.args(["mock", "--multiprocess", "false", "--host", "127.0.0.1", "--port", &port.to_string()]);
        if answers == Answers::MadeUp {
            command.arg("--dynamic");
        }
        command.arg(root.join("specs").join(provider).join("openapi.yaml"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("sh cannot be started")?;
        let output = child.stdout.take().context("sh has no output")?;
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            // Nobody listens any more when the server is dropped.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| lines.send(line)).ok();
        });
        Ok(Self { child, log, provider, port, answers })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The lines of the log up to the next that contains `part`.
    fn await_line(&mut self, part: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let Ok(line) = self.log.recv_timeout(PATIENCE) else {
                let (provider, said) = (self.provider, lines.join("\n"));
                bail!(
                    "Prism ended or is silent, instead of saying `{part}` for {provider}; it said:\n{said}"
                );
            };
            let is_last = line.contains(part);
            lines.push(line);
            if is_last {
                return Ok(lines);
            }
        }
    }

    /// The status of the answer.
    fn ask(&self, path: &str) -> Result<u16> {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .proxy(None)
            .build()
            .into();
        let answer = agent.get(self.url(path)).header("authorization", "Bearer token").call();
        Ok(answer.with_context(|| format!("Prism does not answer for {}", self.provider))?.status().as_u16())
    }

    /// What was refused since the last call.
    fn refusals(&mut self) -> Result<Vec<String>> {
        // The log is written in order, so what was asked before this is in it.
        self.ask(NOWHERE)?;
        let mut lines = self.await_line(&format!("get {NOWHERE} ✖"))?;
        lines.pop();
        Ok(refusals(&lines, self.answers))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

/// The lines that tell of a refusal, each behind the line of its request.
fn refusals(log: &[String], answers: Answers) -> Vec<String> {
    // What Prism makes up does not always fit a schema with choices, and Prism says so itself.
    let violation = if answers == Answers::MadeUp { "Violation: request" } else { "Violation: " };
    let mut found = Vec::new();
    let mut request = "";
    for line in log {
        if line.contains("[HTTP SERVER]") {
            request = line;
        }
        if line.contains(violation) || line.contains("terminated with error") {
            found.push(format!("{request}\n{line}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
[1:00:00 AM] › [HTTP SERVER] get /users ℹ  info      Request received
[1:00:00 AM] ›     [VALIDATOR] ✔  success   The request passed the validation rules. Looking for the best response
[1:00:00 AM] ›     [VALIDATOR] ✖  error     Violation: response.body.0 Response body property 0.flags must be string
[1:00:01 AM] › [HTTP SERVER] get /sessions ℹ  info      Request received
[1:00:01 AM] ›     [VALIDATOR] ⚠  warning   Request did not pass the validation rules
[1:00:01 AM] ›     [VALIDATOR] ✖  error     Request query parameter limit must be <= 200
[1:00:01 AM] ›     [VALIDATOR] ✖  error     Violation: request.query.limit Request query parameter limit must be <= 200
[1:00:02 AM] › [HTTP SERVER] get /nope ℹ  info      Request received
[1:00:02 AM] › [HTTP SERVER] get /nope ✖  error     Request terminated with error: https://stoplight.io/prism/errors#NO_PATH_MATCHED_ERROR: Route not resolved, no path matched";

    #[test]
    fn refusals_are_found_in_the_log() {
        let log: Vec<String> = LOG.lines().map(str::to_owned).collect();
        let found = refusals(&log, Answers::MadeUp);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("get /sessions") && found[0].contains("request.query.limit"), "{found:?}");
        assert!(found[1].contains("NO_PATH_MATCHED"), "{found:?}");
        assert_eq!(refusals(&log, Answers::Examples).len(), 3);
        assert_eq!(refusals(&log[..2], Answers::Examples), [] as [String; 0]);
    }
}
