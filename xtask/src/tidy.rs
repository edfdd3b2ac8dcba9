//! `cargo xtask tidy`: what reviewers forget to check, checked.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result, bail};
use toml::Value;

/// An adapter has fewer hand-written lines of code: with as many it does something that belongs elsewhere.
const MOST_LINES: usize = 400;

/// The first adapter, which carries what the later ones copy.
const MOST_LINES_EV_ENERGY: usize = 600;

/// Three versions of a standard, each with its own types, and both sessions and what was billed.
const MOST_LINES_OCPI: usize = 1000;

/// What every adapter has, besides fixtures of its own.
const ADAPTER_FILES: [&str; 3] = ["src/lib.rs", "src/map.rs", "src/generated.rs"];

/// Who hides it, and the hand-written reader that we are measured against, which nothing of ours depends on.
const MAY_KNOW_REQWEST: [&str; 3] =
    ["crates/http/Cargo.toml", "crates/lake/Cargo.toml", "tests/benchmarks/Cargo.toml"];

/// One check of the whole tree.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [Rule; 10] = [
    modules_open_with_a_sentence,
    adapters_are_whole,
    adapters_are_wired,
    reqwest_is_in_http_alone,
    adapters_stand_alone,
    versions_have_reasons,
    adapters_are_small,
    numbers_stay_numbers,
    work_left_has_an_issue,
    text_is_clean,
];

/// Prints every finding, and fails if there is one.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("tidy has 1 finding"),
        many => bail!("tidy has {many} findings"),
    }
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let tree = Tree::read(root)?;
    Ok(RULES.iter().flat_map(|rule| rule(&tree)).collect())
}

/// One sentence about one line.
#[derive(Debug)]
struct Finding {
    path: String,
    line: usize,
    sentence: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

/// The text files of the workspace, in order.
struct Tree {
    files: Vec<File>,
    /// Folders directly under crates/providers.
    providers: Vec<String>,
}

struct File {
    /// From the root, with slashes.
    path: String,
    text: String,
}

impl Tree {
    fn read(root: &Path) -> Result<Self> {
        let mut tree = Self { files: Vec::new(), providers: Vec::new() };
        tree.walk(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.providers.sort();
        Ok(tree)
    }

    fn walk(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries =
            fs::read_dir(folder).with_context(|| format!("{} cannot be listed", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("{} cannot be listed", folder.display()))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().with_context(|| format!("{path} cannot be read"))?;
            if kind.is_dir() {
                // Not ours: version control, installed packages, and what cargo builds, which it marks.
                let built = entry.path().join("CACHEDIR.TAG").is_file();
                if built || [".git", "node_modules"].contains(&name.as_str()) {
                    continue;
                }
                if prefix == "crates/providers/" {
                    self.providers.push(name);
                }
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).with_context(|| format!("{path} cannot be read"))?;
                // What is not UTF-8 is not text.
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(File { path, text });
                }
            }
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    fn under<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(folder))
    }

    fn manifests(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path == "Cargo.toml" || file.path.ends_with("/Cargo.toml"))
    }
}

impl File {
    fn finding(&self, line: usize, sentence: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, sentence: sentence.into() }
    }

    /// The first line that holds some text.
    fn line_with(&self, text: &str) -> usize {
        self.text.lines().position(|line| line.contains(text)).map_or(1, |line| line + 1)
    }

    fn is_generated(&self) -> bool {
        self.path.ends_with("/generated.rs")
    }

    /// The names of the crates a manifest depends on, in whatever section, under whatever alias.
    fn dependencies(&self) -> Vec<String> {
        let mut names = Vec::new();
        if let Ok(Value::Table(manifest)) = self.text.parse::<toml::Table>().map(Value::Table) {
            collect_dependencies(&manifest, &mut names);
        }
        names
    }
}

fn collect_dependencies(table: &toml::Table, names: &mut Vec<String>) {
    for (key, value) in table {
        let Value::Table(inner) = value else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                names.extend(inner.iter().map(|(name, value)| {
                    value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
                }));
            }
            // `[target.'cfg(unix)'.dependencies]` lies two tables deep.
            "target" => inner
                .values()
                .filter_map(Value::as_table)
                .for_each(|inner| collect_dependencies(inner, names)),
            _ => {}
        }
    }
}

fn modules_open_with_a_sentence(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in ["crates/", "xtask/", "tests/"].into_iter().flat_map(|folder| tree.under(folder)) {
        if !file.path.ends_with(".rs") {
            continue;
        }
        let first = file.text.lines().next().unwrap_or_default();
        if file.is_generated() {
            if !first.starts_with("// @generated") {
                findings.push(file.finding(1, "a generated file starts with `// @generated`."));
            }
        } else if !first.starts_with("//!") && !first.starts_with("#![doc = include_str!(") {
            findings.push(file.finding(1, "the module opens without a `//!` sentence that says what it is."));
        }
    }
    findings
}

fn adapters_are_whole(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in &tree.providers {
        let folder = format!("crates/providers/{provider}");
        let mut missing = |path: String| {
            findings.push(Finding {
                path,
                line: 1,
                sentence: format!("the adapter {provider} lacks this file."),
            });
        };
        let specs = ["openapi.yaml", "spec.toml"].iter().map(|name| format!("specs/{provider}/{name}"));
        for path in ADAPTER_FILES.iter().map(|name| format!("{folder}/{name}")).chain(specs) {
            if tree.file(&path).is_none() {
                missing(path);
            }
        }
        if !tree.under(&format!("{folder}/tests/")).any(|file| file.path.ends_with(".rs")) {
            missing(format!("{folder}/tests/"));
        }
    }
    findings
}

fn adapters_are_wired(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let table = |path: &str| {
        tree.file(path).and_then(|file| file.text.parse::<toml::Table>().ok()).unwrap_or_default()
    };
    let (workspace, facade) = (table("Cargo.toml"), table("crates/charging-sessions/Cargo.toml"));
    let members = workspace.get("workspace").and_then(|w| w.get("members")).and_then(Value::as_array);
    let features = facade.get("features").and_then(Value::as_table);
    let library = tree.file("crates/charging-sessions/src/lib.rs").map_or("", |file| file.text.as_str());
    for provider in &tree.providers {
        let mut finding = |path: &str, sentence: String| {
            findings.push(Finding { path: path.to_owned(), line: 1, sentence });
        };
        let folder = format!("crates/providers/{provider}");
        let is_member =
            |member: &Value| member.as_str().is_some_and(|m| m == folder || m == "crates/providers/*");
        if !members.is_some_and(|members| members.iter().any(is_member)) {
            finding("Cargo.toml", format!("the adapter {provider} is not a member of the workspace."));
        }
        if !features.is_some_and(|features| features.contains_key(provider)) {
            finding(
                "crates/charging-sessions/Cargo.toml",
                format!("the adapter {provider} is not a feature."),
            );
        }
        let import = format!("charging_sessions_{}", provider.replace('-', "_"));
        if !library
            .lines()
            .any(|line| line.trim_start().starts_with("pub use ") && names_crate(line, &import))
        {
            finding(
                "crates/charging-sessions/src/lib.rs",
                format!("the adapter {provider} is not a `pub use`."),
            );
        }
    }
    findings
}

/// Whether the line names the crate itself, not one whose name goes on.
fn names_crate(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

fn reqwest_is_in_http_alone(tree: &Tree) -> Vec<Finding> {
    let others = tree.manifests().filter(|file| !MAY_KNOW_REQWEST.contains(&file.path.as_str()));
    let naming = others.filter(|file| file.dependencies().iter().any(|name| name == "reqwest"));
    naming
        .map(|file| {
            file.finding(
                file.line_with("reqwest"),
                "only crates/http may depend on reqwest: use its `Transport`.",
            )
        })
        .collect()
}

fn adapters_stand_alone(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in &tree.providers {
        let Some(file) = tree.file(&format!("crates/providers/{provider}/Cargo.toml")) else { continue };
        for name in file.dependencies() {
            let other = tree
                .providers
                .iter()
                .any(|other| other != provider && name == format!("charging-sessions-{other}"));
            let what = match name.as_str() {
                "charging-sessions" => "the facade",
                "reqwest" => "reqwest",
                _ if other => "another adapter",
                _ => continue,
            };
            findings
                .push(file.finding(file.line_with(&name), format!("an adapter does not depend on {what}.")));
        }
    }
    findings
}

fn versions_have_reasons(tree: &Tree) -> Vec<Finding> {
    let Some(file) = tree.file("Cargo.toml") else { return Vec::new() };
    let mut findings = Vec::new();
    let mut inside = false;
    let mut open: Option<(usize, String)> = None;
    for (index, line) in file.text.lines().enumerate() {
        if open.is_none() && line.starts_with('[') {
            inside = line.trim() == "[workspace.dependencies]";
            continue;
        }
        if !inside || (open.is_none() && (line.trim().is_empty() || line.starts_with('#'))) {
            continue;
        }
        // A version may be spread over several lines.
        let (start, text) =
            open.take().map_or((index, line.to_owned()), |(start, text)| (start, text + "\n" + line));
        if text.matches(['[', '{']).count() > text.matches([']', '}']).count() {
            open = Some((start, text));
            continue;
        }
        let member = text.contains("path =");
        let reason = text.split_once('#').is_some_and(|(_, reason)| !reason.trim().is_empty());
        if !member && !reason {
            findings.push(
                file.finding(start + 1, "a dependency carries its reason behind a `#` on the same line."),
            );
        }
    }
    findings
}

fn adapters_are_small(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in &tree.providers {
        let folder = format!("crates/providers/{provider}/src/");
        let most = match provider.as_str() {
            "ev-energy" => MOST_LINES_EV_ENERGY,
            "ocpi" => MOST_LINES_OCPI,
            _ => MOST_LINES,
        };
        let files = tree.under(&folder).filter(|file| file.path.ends_with(".rs") && !file.is_generated());
        let lines: usize = files.map(|file| code_lines(&file.text)).sum();
        if lines >= most {
            let sentence = format!(
                "the adapter has {lines} lines of code, and is to stay under {most}: what of it is not its own?"
            );
            findings.push(Finding { path: format!("{folder}lib.rs"), line: 1, sentence });
        }
    }
    findings
}

/// Lines that are neither blank nor comment.
fn code_lines(text: &str) -> usize {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

fn numbers_stay_numbers(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.manifests() {
        for (index, line) in file.text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default();
            if code.contains("arbitrary_precision") {
                findings.push(file.finding(
                    index + 1,
                    "this feature of serde_json changes every user's build and is banned.",
                ));
            }
        }
    }
    findings
}

fn work_left_has_an_issue(tree: &Tree) -> Vec<Finding> {
    // Put together, so that this file does not find itself.
    let word = concat!("TO", "DO");
    let mut findings = Vec::new();
    for file in &tree.files {
        if ![".rs", ".toml", ".yaml", ".yml", ".sh"].iter().any(|end| file.path.ends_with(end)) {
            continue;
        }
        for (index, line) in file.text.lines().enumerate() {
            let left = line.split(|c: char| !c.is_ascii_alphanumeric()).any(|found| found == word);
            let digit_after = |mark: &str| {
                line.split(mark).skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            if left && !digit_after("/issues/") && !digit_after("#") {
                findings.push(file.finding(index + 1, format!("a {word} carries the link of its issue.")));
            }
        }
    }
    findings
}

fn text_is_clean(tree: &Tree) -> Vec<Finding> {
    let homes =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!(":\\Us", "ers\\")];
    let mut findings = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if line.ends_with([' ', '\t']) {
                findings.push(file.finding(index + 1, "the line ends in white space."));
            }
            // Not behind a letter: such words also stand in addresses.
            let found = homes.iter().any(|home| {
                line.match_indices(home).any(|(at, _)| {
                    home.starts_with(':')
                        || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.' || c == '}')
                })
            });
            if found {
                findings.push(file.finding(index + 1, "the line names a folder of one machine."));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest tree without a finding.
    fn files() -> Vec<(&'static str, String)> {
        let adapter = "[package]\nname = 'a'\n[dependencies]\ncharging-sessions-core.workspace = true\n";
        [
            ("Cargo.toml", "[workspace]\nmembers = [\"crates/providers/one\", \"crates/providers/two\"]\n\n[workspace.dependencies]\ncharging-sessions-core = { path = \"crates/core\" }\n# A group.\nserde = \"1\" # the record\nbig = { version = \"1\", features = [\n  \"a\",\n] } # a reason\n\n[profile.dev]\ndebug = 1\n"),
            ("crates/charging-sessions/Cargo.toml", "[features]\none = []\ntwo = []\n"),
            ("crates/charging-sessions/src/lib.rs", "//! The facade.\npub use charging_sessions_one as one;\npub use charging_sessions_two as two;\n"),
            ("crates/http/Cargo.toml", "[dependencies]\nreqwest.workspace = true # arbitrary_precision stays off\n"),
            ("crates/providers/one/Cargo.toml", adapter),
            ("crates/providers/one/src/lib.rs", "//! One.\n"),
            ("crates/providers/one/src/map.rs", "//! Maps.\n"),
            ("crates/providers/one/src/generated.rs", "// @generated\n"),
            ("crates/providers/one/tests/one.rs", "//! Tests.\n"),
            ("specs/one/openapi.yaml", "openapi: 3.1.0\n"),
            ("specs/one/spec.toml", "[roots]\n"),
            ("crates/providers/two/Cargo.toml", adapter),
            ("crates/providers/two/src/lib.rs", "//! Two.\n"),
            ("crates/providers/two/src/map.rs", "//! Maps.\n"),
            ("crates/providers/two/src/generated.rs", "// @generated\n"),
            ("crates/providers/two/tests/two.rs", "//! Tests.\n"),
            ("specs/two/openapi.yaml", "openapi: 3.1.0\n"),
            ("specs/two/spec.toml", "[roots]\n"),
        ]
        .map(|(path, text)| (path, text.to_owned()))
        .to_vec()
    }

    fn found(files: &[(&str, String)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        findings(root.path()).unwrap().iter().map(ToString::to_string).collect()
    }

    /// What is found once a file has another text.
    fn with(path: &'static str, text: &str) -> Vec<String> {
        let mut files = files();
        files.retain(|(known, _)| *known != path);
        files.push((path, text.to_owned()));
        found(&files)
    }

    fn without(path: &str) -> Vec<String> {
        let mut files = files();
        files.retain(|(known, _)| *known != path);
        found(&files)
    }

    #[track_caller]
    fn one(findings: &[String], start: &str, part: &str) {
        assert_eq!(findings.len(), 1, "{findings:#?}");
        assert!(findings[0].starts_with(start) && findings[0].contains(part), "{findings:#?}");
    }

    #[test]
    fn a_tidy_tree_has_no_finding() {
        assert_eq!(found(&files()), [""; 0]);
    }

    #[test]
    fn a_module_without_a_sentence_is_found() {
        one(
            &with("crates/core/src/lib.rs", "use std::fmt;\n"),
            "crates/core/src/lib.rs:1:",
            "without a `//!`",
        );
        one(&with("xtask/src/main.rs", ""), "xtask/src/main.rs:1:", "without a `//!`");
        one(&with("tests/tests/a.rs", "// Not a doc line.\n"), "tests/tests/a.rs:1:", "without a `//!`");
        assert_eq!(with("crates/core/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n"), [""; 0]);
    }

    #[test]
    fn a_generated_file_without_its_mark_is_found() {
        one(
            &with("crates/providers/one/src/generated.rs", "//! Mine.\n"),
            "crates/providers/one/src/generated.rs:1:",
            "@generated",
        );
    }

    #[test]
    fn each_missing_file_of_an_adapter_is_found() {
        for path in ["src/lib.rs", "src/map.rs", "src/generated.rs"] {
            let path = format!("crates/providers/one/{path}");
            one(&without(&path), &path, "lacks this file");
        }
        one(&without("crates/providers/one/tests/one.rs"), "crates/providers/one/tests/", "lacks");
        one(&without("specs/one/openapi.yaml"), "specs/one/openapi.yaml", "lacks");
        one(&without("specs/one/spec.toml"), "specs/one/spec.toml", "lacks");
    }

    #[test]
    fn an_adapter_that_is_not_wired_is_found() {
        one(
            &with("Cargo.toml", "[workspace]\nmembers = [\"crates/providers/two\"]\n"),
            "Cargo.toml:1:",
            "not a member",
        );
        one(
            &with("crates/charging-sessions/Cargo.toml", "[features]\ntwo = []\n"),
            "crates/charging-sessions/Cargo.toml",
            "not a feature",
        );
        let library = "//! The facade.\npub use charging_sessions_one_more as one;\npub use charging_sessions_two as two;\n";
        one(
            &with("crates/charging-sessions/src/lib.rs", library),
            "crates/charging-sessions/src/lib.rs",
            "not a `pub use`",
        );
    }

    #[test]
    fn reqwest_anywhere_else_is_found() {
        for section in
            ["dependencies", "dev-dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"]
        {
            let text = format!("[package]\nname = 'cli'\n[{section}]\nreqwest = '0.13'\n");
            one(&with("crates/cli/Cargo.toml", &text), "crates/cli/Cargo.toml:4:", "only crates/http");
        }
        let renamed = "[dependencies]\nclient = { package = 'reqwest', version = '0.13' }\n";
        one(&with("crates/cli/Cargo.toml", renamed), "crates/cli/Cargo.toml:2:", "only crates/http");
        assert_eq!(with("tests/benchmarks/Cargo.toml", renamed), [""; 0]);
    }

    #[test]
    fn an_adapter_that_leans_on_another_is_found() {
        for (name, what) in
            [("charging-sessions-two", "another adapter"), ("charging-sessions", "the facade")]
        {
            let text = format!("[dependencies]\n{name}.workspace = true\n");
            one(&with("crates/providers/one/Cargo.toml", &text), "crates/providers/one/Cargo.toml:2:", what);
        }
        let both = with("crates/providers/one/Cargo.toml", "[dev-dependencies]\nreqwest.workspace = true\n");
        assert!(both.iter().any(|line| line.contains("does not depend on reqwest")), "{both:#?}");
    }

    #[test]
    fn a_version_without_a_reason_is_found() {
        let members = "[workspace]\nmembers = [\"crates/providers/*\"]\n[workspace.dependencies]\n";
        one(&with("Cargo.toml", &format!("{members}serde = \"1\"\n")), "Cargo.toml:4:", "reason");
        one(
            &with(
                "Cargo.toml",
                &format!("{members}a = \"1\" # why\nb = {{ version = \"1\", features = [\n \"x\",\n] }}\n"),
            ),
            "Cargo.toml:5:",
            "reason",
        );
        one(&with("Cargo.toml", &format!("{members}serde = \"1\" #\n")), "Cargo.toml:4:", "reason");
    }

    #[test]
    fn an_adapter_that_grows_too_large_is_found() {
        let code = |lines: usize| format!("//! Maps.\n\n{}", "// A comment.\n\nfn f() {}\n".repeat(lines));
        assert_eq!(with("crates/providers/one/src/map.rs", &code(399)), [""; 0]);
        one(
            &with("crates/providers/one/src/map.rs", &code(400)),
            "crates/providers/one/src/lib.rs:1:",
            "400 lines",
        );
        assert_eq!(
            with("crates/providers/one/src/generated.rs", &format!("// @generated\n{}", code(900))),
            [""; 0]
        );
    }

    #[test]
    fn the_first_adapter_has_more_room() {
        let files = |lines: usize| {
            let files = files().into_iter().map(|(path, text)| {
                (
                    path.replace("two", "ev-energy"),
                    text.replace("two", "ev-energy").replace("sessions_ev-energy", "sessions_ev_energy"),
                )
            });
            let mut files: Vec<_> = files.collect();
            files.push((
                "crates/providers/ev-energy/src/more.rs".to_owned(),
                format!("//! More.\n{}", "fn f() {}\n".repeat(lines)),
            ));
            files
        };
        let found = |files: Vec<(String, String)>| {
            found(&files.iter().map(|(path, text)| (path.as_str(), text.clone())).collect::<Vec<_>>())
        };
        assert_eq!(found(files(599)), [""; 0]);
        one(&found(files(600)), "crates/providers/ev-energy/src/lib.rs:1:", "600 lines");
    }

    #[test]
    fn the_banned_feature_is_found() {
        let text = "[dependencies]\nserde_json = { version = '1', features = ['arbitrary_precision'] }\n";
        one(&with("crates/cli/Cargo.toml", text), "crates/cli/Cargo.toml:2:", "banned");
    }

    #[test]
    fn work_left_without_an_issue_is_found() {
        let word = concat!("TO", "DO");
        one(
            &with("crates/core/src/a.rs", &format!("//! A.\n// {word}: later.\n")),
            "crates/core/src/a.rs:2:",
            "issue",
        );
        for link in ["(#12)", " https://forge.example/a/b/issues/12"] {
            assert_eq!(with("crates/core/src/a.rs", &format!("//! A.\n// {word}{link}: later.\n")), [""; 0]);
        }
        assert_eq!(with("crates/core/src/a.rs", &format!("//! A.\nconst {word}S: u8 = 1;\n")), [""; 0]);
    }

    #[test]
    fn white_space_at_the_end_of_a_line_is_found() {
        one(&with("docs/a.md", "One.\nTwo. \n"), "docs/a.md:2:", "white space");
        one(&with("docs/a.md", "One.\t\n"), "docs/a.md:1:", "white space");
    }

    #[test]
    fn a_folder_of_one_machine_is_found() {
        for home in [
            concat!("/ho", "me/ada/x"),
            concat!("/ro", "ot/x"),
            concat!("/Us", "ers/ada"),
            concat!("C:\\Us", "ers\\ada"),
        ] {
            one(&with("docs/a.md", &format!("See `{home}`.\n")), "docs/a.md:1:", "one machine");
        }
        let address = concat!("https://a.example/ho", "me/x and ./ro", "ot/x");
        assert_eq!(with("docs/a.md", &format!("{address}\n")), [""; 0]);
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let mut files = files();
        files.push(("target/CACHEDIR.TAG", String::new()));
        files.push(("target/debug/a.rs", "x \n".to_owned()));
        files.push(("docs/node_modules/a.md", "x \n".to_owned()));
        assert_eq!(found(&files), [""; 0]);
    }
}
