//! A stranger's first hour: a provider is scaffolded in a copy of the workspace, compiles, and says what is left to do.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// OpenAPI 3.1 in YAML; a bare list; parameters in the path; words that are Rust's.
const BARE: &str = r##"openapi: 3.1.0
info: { title: Acme Grid API, version: "2.1" }
servers: [{ url: "https://api.acme.example/v2" }]
paths:
  /sites/{siteId}/{account}/sessions:
    parameters:
      - { name: siteId, in: path, required: true, schema: { type: string } }
      - { name: account, in: path, required: true, schema: { type: string } }
    get:
      operationId: listSessions
      parameters:
        - { name: limit, in: query, schema: { type: integer } }
        - { name: "started[gte]", in: query, schema: { type: string, format: date-time } }
      responses:
        "200":
          description: The sessions.
          content:
            application/json:
              schema: { type: array, items: { $ref: "#/components/schemas/Session" } }
  /sites:
    get:
      operationId: listSites
      responses:
        "200":
          description: The sites.
          content: { application/json: { schema: { type: array, items: { type: object } } } }
  /ping:
    get: { operationId: ping, responses: { "204": { description: Alive. } } }
components:
  securitySchemes:
    client:
      type: oauth2
      flows: { clientCredentials: { tokenUrl: "https://login.acme.example/connect/token", scopes: {} } }
  schemas:
    Session:
      type: object
      required: [id]
      properties:
        id: { type: string }
        type: { type: string, enum: [home, public] }
        startedAt: { type: string, format: date-time }
        energyKwh: { type: [number, "null"] }
        vehicle: { type: object, properties: { vin: { type: string } } }
        readings: { type: array, items: { type: object, properties: { at: { type: string }, wh: { type: integer } } } }
"##;

/// OpenAPI 3.0 in JSON; a list inside objects, beside another list; no query; identifiers that are numbers.
const WRAPPED: &str = r##"{
  "openapi": "3.0.3",
  "info": {"title": "Volt", "version": "1"},
  "paths": {"/charges": {"get": {"responses": {"200": {"$ref": "#/components/responses/Charges"}}}}},
  "components": {
    "responses": {"Charges": {"description": "A page.", "content": {"application/json": {"schema": {
      "type": "object",
      "properties": {
        "meta": {"type": "object", "properties": {"total": {"type": "integer"}}},
        "data set": {"type": "object", "properties": {
          "warnings": {"type": "array", "items": {"type": "object", "properties": {"text": {"type": "string"}}}},
          "charges": {"type": "array", "items": {"$ref": "#/components/schemas/Charge"}}
        }}
      }
    }}}}},
    "schemas": {"Charge": {"type": "object", "properties": {
      "chargeId": {"type": "integer"},
      "plugged_in": {"type": "string", "format": "date-time", "nullable": true},
      "wh": {"type": "number"}
    }}}
  }
}
"##;

#[test]
fn a_new_provider_compiles_and_its_tests_say_what_to_do() {
    let copy = Copy::new();
    let (bare, wrapped) = (copy.document("bare.yaml", BARE), copy.document("wrapped.json", WRAPPED));
    let said = copy.scaffold(&["acme-grid", "--spec", &bare, "--operation", "listSessions"]);
    for part in [
        "Acme Grid compiles now, and maps nothing yet.",
        "crates/providers/acme-grid/src/lib.rs",
        "tests/tests/dependencies.rs",
        "The records are taken to be the elements of the answer to `GET /sites/{siteId}/{account}/sessions`, \
         of the type `wire::Session`.",
        "`cargo test -p charging-sessions-acme-grid` fails and says what to map first",
        "docs/adding-a-provider.md",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    let said = copy.scaffold(&["volt", "--spec", &wrapped, "--title", "Volt & Co"]);
    assert!(said.contains("at /data set/charges of the answer to `GET /charges`"), "{said}");
    assert_eq!(copy.read("specs/volt/openapi.yaml"), WRAPPED, "the document is copied byte for byte");

    copy.keeps_the_rules();
    copy.is_wired();
    copy.compiles_without_a_warning();
    for (provider, lacking) in
        [("acme-grid", "lacks 3 (record-1, record-2, record-3)"), ("volt", "lacks 3 (1, 2, 3)")]
    {
        copy.says_what_to_do(provider, lacking);
    }
    copy.keeps_the_contract_once_the_identifier_is_mapped();
}

#[test]
fn what_cannot_be_used_is_one_sentence_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (bare, wrapped) = (file("bare.yaml", BARE), file("wrapped.json", WRAPPED));
    let old = file("old.yaml", "swagger: '2.0'\n");
    let next = file("next.yaml", "openapi: 4.0.0\n");
    let broken = file("broken.yaml", "openapi: [3\n");
    let empty = file("empty.yaml", "openapi: 3.1.0\npaths: {}\n");
    let one = file("one.json", &WRAPPED.replace("\"array\"", "\"string\""));
    let lost = file("lost.json", &WRAPPED.replace("schemas/Charge\"", "schemas/Lost\""));
    let missing = folder.path().join("missing.yaml").display().to_string();
    let root = workspace();
    let before = files(&root);
    for (arguments, sentence) in [
        (&["Acme", "--spec", &bare][..], "`Acme` is no name for a provider: take at most 31"),
        (&["a--b", "--spec", &bare], "`a--b` is no name"),
        (&["3grid", "--spec", &bare], "beginning with a letter"),
        (&["an-adapter-with-a-name-without-end", "--spec", &bare], "is no name"),
        (&["move", "--spec", &bare], "`move` is a word of Rust"),
        (&["policy", "--spec", &bare], "`policy` would make a source called `Policy`"),
        (&["podero", "--spec", &bare], "`podero` is taken: specs/podero exists"),
        (&["http", "--spec", &bare], "`http` is taken: crates/http exists"),
        (&["token", "--spec", &bare], "`token` is taken: crates/testkit/src/sandbox/token.rs exists"),
        (&["acme", "--title", "a|b", "--spec", &wrapped], "`a|b` is no title"),
        (&["acme", "--spec", &missing], "missing.yaml cannot be read"),
        (&["acme", "--spec", &old], "old.yaml is not an OpenAPI 3 document: it has no key `openapi`"),
        (&["acme", "--spec", &next], "next.yaml is OpenAPI 4.0.0: only 3.0, 3.1 and 3.2 are read"),
        (&["acme", "--spec", &broken], "broken.yaml is neither JSON nor YAML: "),
        (&["acme", "--spec", &empty], "there is no GET operation with a JSON answer"),
        (
            &["acme", "--spec", &bare],
            "2 GET operations have a JSON answer: pass --operation with the one that lists the sessions, of \
             listSites, listSessions",
        ),
        (
            &["acme", "--spec", &bare, "--operation", "ping"],
            "no GET operation with a JSON answer is called `ping`: pass --operation with one of listSites, listSessions",
        ),
        (&["acme", "--spec", &one], "one.json: the answer to `GET /charges` has no list of records in it"),
        (&["acme", "--spec", &lost], "lost.json: at #/"),
    ] {
        let output = new_provider(&root, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
        assert!(said.contains(sentence), "{sentence} is not in: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?} says that something was made");
    }
    assert_eq!(files(&root), before, "something was written");

    // A list of the workspace that is not as expected stops it as well.
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("Cargo.toml"), "[workspace]\nmembers = []\n").unwrap();
    let said = String::from_utf8(new_provider(root.path(), &["volt", "--spec", &wrapped]).stderr).unwrap();
    assert!(
        said.starts_with("error: Cargo.toml: no line is one that starts with `\"crates/providers/`"),
        "{said}"
    );
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn new_provider(root: &Path, arguments: &[&str]) -> Output {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.arg("--workspace").arg(root).arg("new-provider").args(arguments).output().unwrap()
}

/// The files that are ours: tracked, or new and not ignored.
fn files(root: &Path) -> BTreeSet<PathBuf> {
    let listing = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = Command::new("git").args(listing).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    // What is deleted but not yet committed is listed too.
    let names = names.split_terminator('\0').map(PathBuf::from);
    names.filter(|name| root.join(name).is_file()).collect()
}

/// A copy of the workspace, at a place that stays, so that the next run compiles only what has changed.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn new() -> Self {
        // The dependencies are compiled already, for the workspace itself.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-provider");
        let copy = Self { root: folder.join("workspace"), target };
        let wanted = files(&workspace());
        assert!(wanted.len() > 100, "the workspace is gone");
        // What the last run has made goes; what has not changed keeps its time, by which cargo judges.
        remove_others(&copy.root, &copy.root, &wanted);
        for name in wanted {
            let (from, to) = (workspace().join(&name), copy.root.join(&name));
            let text = fs::read(&from).unwrap();
            if fs::read(&to).ok().as_ref() != Some(&text) {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(&to, text).unwrap();
            }
        }
        copy
    }

    fn document(&self, name: &str, text: &str) -> String {
        let path = self.root.with_file_name(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root.join(name)).unwrap()
    }

    fn scaffold(&self, arguments: &[&str]) -> String {
        let output = new_provider(&self.root, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs cargo in the copy: whether it succeeded, and everything it said.
    fn cargo(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TERM_COLOR", "never")
            .env("INSTA_UPDATE", "no")
            .env_remove("RUSTFLAGS")
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn keeps_the_rules(&self) {
        for task in [&["tidy"][..], &["codegen", "--check"]] {
            let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
            let output = xtask.arg("--workspace").arg(&self.root).args(task).output().unwrap();
            let said = [output.stdout, output.stderr].concat();
            // The copy may hold what is being worked on elsewhere; here only the new providers count.
            let said = String::from_utf8_lossy(&said);
            let ours: Vec<_> =
                said.lines().filter(|line| ["acme", "volt"].iter().any(|name| line.contains(name))).collect();
            assert!(ours.is_empty(), "{task:?}: {ours:#?}");
        }
        let packages = ["-p", "charging-sessions-acme-grid", "-p", "charging-sessions-volt"];
        let (formatted, said) = self.cargo(&[&["fmt", "--check"][..], &packages].concat());
        assert!(formatted, "{said}");
    }

    fn is_wired(&self) {
        let has = |file: &str, part: &str| {
            let text = self.read(file);
            assert!(text.contains(part), "{part} is not in {file}:\n{text}");
        };
        has(
            "Cargo.toml",
            "members = [\n  \"crates/core\",\n  \"crates/fleet\",\n  \"crates/http\",\n  \"crates/lake\",\n  \"crates/providers/acme-grid\",\n",
        );
        has("crates/charging-sessions/Cargo.toml", "\nacme-grid = [\"dep:charging-sessions-acme-grid\"]\n");
        has("crates/charging-sessions/src/lib.rs", "pub use charging_sessions_acme_grid as acme_grid;\n");
        has("crates/charging-sessions/src/lib.rs", "//! | `volt` | Volt & Co |\n");
        has("crates/testkit/src/sandbox/mod.rs", "pub mod acme_grid;\n");
        has("tests/Cargo.toml", "features = [\"acme-grid\", ");
        has("tests/src/adapters.rs", "adapters! {\n    acme_grid,\n");
        has("tests/tests/dependencies.rs", "    \"charging-sessions-volt\",\n];");
    }

    fn compiles_without_a_warning(&self) {
        let packages = ["-p", "charging-sessions-acme-grid", "-p", "charging-sessions-volt"];
        let (compiled, said) = self.cargo(&[&["test", "--no-run", "--offline"][..], &packages].concat());
        assert!(compiled && !said.contains("warning"), "{said}");
    }

    fn says_what_to_do(&self, provider: &str, lacking: &str) {
        let package = format!("charging-sessions-{provider}");
        let (passed, said) = self.cargo(&["test", "--offline", "--no-fail-fast", "-p", &package]);
        assert!(!passed, "{said}");
        for part in [
            lacking,
            "- a listing is complete under every page size: ",
            "nothing is mapped yet: begin with `identifier` in src/map.rs (id.missing)",
            "test every_listing_maps_as_its_snapshot_says ... ok",
            "test an_answer_that_is_no_list_is_an_error ... ok",
            "test every_record_of_the_sandbox_is_mapped ... FAILED",
            "test keeps_the_contract ... FAILED",
        ] {
            assert!(said.contains(part), "{part} is not in:\n{said}");
        }
        assert_eq!(said.matches("... FAILED").count(), 2, "{said}");
    }

    /// The rest of the scaffold is right: what the test has asked for is all that is missing.
    fn keeps_the_contract_once_the_identifier_is_mapped(&self) {
        let path = "crates/providers/acme-grid/src/map.rs";
        let text = self
            .read(path)
            .replace("(_record:", "(record:")
            .replace("    None\n", "    record.value.id.clone()\n");
        fs::write(self.root.join(path), text).unwrap();
        let package = ["-p", "charging-sessions-acme-grid"];
        let (passed, said) =
            self.cargo(&[&["test", "--offline", "--test", "conformance"][..], &package].concat());
        assert!(passed && !said.contains("warning"), "{said}");
    }
}

fn remove_others(root: &Path, folder: &Path, wanted: &BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            remove_others(root, &path, wanted);
            // Only an empty folder goes.
            let _ = fs::remove_dir(&path);
        } else if !wanted.contains(path.strip_prefix(root).unwrap()) {
            fs::remove_file(path).unwrap();
        }
    }
}
