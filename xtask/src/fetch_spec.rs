//! `cargo xtask fetch-spec`: what has changed in a provider's own document. The one command with network.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail};

use crate::codegen;

/// A document larger than this is not one.
const MOST_BYTES: u64 = 128 << 20;

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Downloads the provider's document and prints how the schemas we reach differ from ours; writes nothing.
pub(crate) fn run(root: &Path, provider: &str, url: Option<&str>) -> Result<()> {
    for line in differences(root, provider, url)? {
        println!("{line}");
    }
    Ok(())
}

fn differences(root: &Path, provider: &str, url: Option<&str>) -> Result<Vec<String>> {
    let url = match url {
        Some(url) => url.to_owned(),
        None => codegen::source_url(root, provider)?.with_context(|| {
            format!("specs/{provider}/spec.toml names no `url` under [source]: give one with --url")
        })?,
    };
    let text = download(&url)?;
    let mut lines =
        codegen::compare(root, provider, &text).with_context(|| format!("comparing with {url}"))?;
    if lines.is_empty() {
        lines.push(format!("{url}: nothing we reach differs from specs/{provider}"));
    } else {
        // Read top down, a plus is what they have and we do not.
        lines.insert(0, format!("--- specs/{provider}\n+++ {url}"));
    }
    Ok(lines)
}

fn download(url: &str) -> Result<String> {
    let (scheme, rest) =
        url.split_once("://").with_context(|| format!("`{url}` is not an address: it has no scheme"))?;
    let loopback = ["127.0.0.1", "[::1]", "localhost"].iter().any(|host| {
        rest.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    if scheme != "https" && !(scheme == "http" && loopback) {
        bail!("`{url}` is not https: anyone on the way could change the document");
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(TIME_LIMIT)).build().into();
    let mut answer = agent
        .get(url)
        .header("accept", "application/yaml, application/json;q=0.9, */*;q=0.1")
        .call()
        .with_context(|| format!("{url} cannot be downloaded"))?;
    let bytes = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
    let bytes = bytes.with_context(|| format!("{url} cannot be downloaded"))?;
    String::from_utf8(bytes).map_err(|_| anyhow::anyhow!("{url} is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use super::*;

    const OURS: &str = "
openapi: 3.1.0
components:
  schemas:
    Session:
      properties:
        id: { type: string }
        energy: { type: integer }
        mode: { enum: [SMART, BOOST] }
        gone: { type: string }
        old: { $ref: '#/components/schemas/Old' }
    Old: { properties: { a: { type: string } } }
";

    const THEIRS: &str = r##"{
  "openapi": "3.0.3",
  "components": { "schemas": {
    "Session": { "properties": {
      "id": { "type": "string" },
      "energy": { "type": "number" },
      "mode": { "enum": ["SMART", "TURBO"] },
      "fresh": { "$ref": "#/components/schemas/Fresh" }
    } },
    "Fresh": { "properties": { "b": { "type": "string" } } },
    "Elsewhere": { "properties": { "c": { "type": "string" } } }
  } }
}"##;

    const SPEC: &str =
        "[roots]\nschemas = ['Session']\n[[drop]]\nat = 'Session.gone'\nreason = 'Not used.'\n";

    /// Answers one request and tells its address.
    fn serve(status: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/openapi", listener.local_addr().unwrap());
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        });
        url
    }

    fn workspace() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("specs/trial");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("openapi.yaml"), OURS).unwrap();
        fs::write(folder.join("spec.toml"), SPEC).unwrap();
        root
    }

    #[test]
    fn what_differs_is_listed_and_nothing_is_written() {
        let root = workspace();
        let lines = differences(root.path(), "trial", Some(&serve("200 OK", THEIRS))).unwrap();
        assert_eq!(
            lines[1..],
            [
                "+ Fresh (1 properties)",
                "- Old",
                "~ Session.energy: i64 -> f64",
                "+ Session.fresh: Fresh",
                "~ Session.mode: words +TURBO -BOOST",
                "- Session.old: Old",
            ]
        );
        assert_eq!(fs::read_to_string(root.path().join("specs/trial/openapi.yaml")).unwrap(), OURS);
        assert_eq!(fs::read_dir(root.path().join("specs/trial")).unwrap().count(), 2);
    }

    #[test]
    fn no_difference_is_said_in_a_sentence() {
        let lines = differences(workspace().path(), "trial", Some(&serve("200 OK", OURS))).unwrap();
        assert!(lines[0].ends_with("nothing we reach differs from specs/trial"), "{lines:?}");
    }

    #[test]
    fn a_root_that_is_gone_is_a_difference() {
        let lines =
            differences(workspace().path(), "trial", Some(&serve("200 OK", "openapi: 3.1.0"))).unwrap();
        assert!(lines[1].starts_with("- root Session"), "{lines:?}");
    }

    #[test]
    fn a_refusal_and_a_page_that_is_no_document_are_errors() {
        let root = workspace();
        let error = differences(root.path(), "trial", Some(&serve("404 Not Found", ""))).unwrap_err();
        assert!(format!("{error:#}").contains("cannot be downloaded"), "{error:#}");
        let error = differences(root.path(), "trial", Some(&serve("200 OK", "<html>"))).unwrap_err();
        assert!(format!("{error:#}").contains("not an OpenAPI document"), "{error:#}");
    }

    #[test]
    fn only_https_and_loopback_are_asked() {
        for url in ["http://a.example/x", "http://127.0.0.1.a.example/x", "ftp://a.example", "a.example"] {
            assert!(download(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_provider_without_an_address_needs_one() {
        let error = differences(workspace().path(), "trial", None).unwrap_err();
        assert!(error.to_string().contains("--url"), "{error}");
    }
}
