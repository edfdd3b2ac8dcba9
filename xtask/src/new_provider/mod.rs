//! `cargo xtask new-provider`: an adapter that compiles, and whose tests say what is left to do.

mod document;
mod types;
mod wire_up;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use heck::{ToPascalCase, ToSnakeCase, ToTitleCase};
use serde_json::{Value, json};

use self::{document::Listing, types::Records};

const LIB: &str = include_str!("templates/lib.rs.txt");

/// What the scaffold rejects every record with.
const UNMAPPED: &str = "nothing is mapped yet: begin with `identifier` in src/map.rs";

/// A path from the root of the workspace, and what stands there.
type File = (PathBuf, String);

/// A new provider, by the names it goes by.
struct Names {
    /// `acme-grid`: folders, feature, and the stable name in keys.
    name: String,
    /// `acme_grid`: modules.
    module: String,
    /// `AcmeGrid`: the source.
    source: String,
    /// `Acme Grid`: in texts.
    title: String,
}

/// Makes everything that a provider named `name` needs. Checks all before it writes anything.
pub(crate) fn run(
    root: &Path,
    name: &str,
    spec: &Path,
    operation: Option<&str>,
    title: Option<&str>,
) -> Result<()> {
    let names = Names::new(root, name, title)?;
    let (text, document) = document::read(spec)?;
    let listing = document::listing(&document, operation).with_context(|| spec.display().to_string())?;
    let changed = wire_up::changes(root, &names)?;
    let (made, records) = files(&names, &text, &listing, spec)?;
    let [made, changed] = [made, changed]
        .map(|files| files.into_iter().map(|file| formatted(root, file)).collect::<Result<Vec<File>>>());
    let (made, changed) = (made?, changed?);
    for (path, text) in made.iter().chain(&changed) {
        let file = root.join(path);
        let name = || format!("{} cannot be written", path.display());
        fs::create_dir_all(file.parent().with_context(name)?).with_context(name)?;
        fs::write(file, text).with_context(name)?;
    }
    println!("{}", report(&names, &listing, &records, &made, &changed));
    Ok(())
}

impl Names {
    fn new(root: &Path, name: &str, title: Option<&str>) -> Result<Self> {
        let words: Vec<_> = name.split('-').collect();
        let is_word = |word: &&str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let module = name.replace('-', "_");
        ensure!(
            name.len() <= 31
                && words.iter().all(is_word)
                && name.starts_with(|c: char| c.is_ascii_lowercase()),
            "`{name}` is no name for a provider: take at most 31 lower-case letters, digits and single `-` between \
             them, beginning with a letter"
        );
        ensure!(
            syn::parse_str::<syn::Ident>(&module).is_ok(),
            "`{name}` is a word of Rust: take another name, for instance `{name}-api`"
        );
        let sandbox = format!("crates/testkit/src/sandbox/{module}");
        let taken = [
            format!("specs/{name}"),
            format!("crates/{name}"),
            format!("crates/providers/{name}"),
            format!("{sandbox}.rs"),
            sandbox,
        ];
        for path in taken {
            ensure!(!root.join(&path).exists(), "`{name}` is taken: {path} exists; take another name");
        }
        let title = title.map_or_else(|| name.to_title_case(), str::to_owned);
        let is_plain = |c: char| !c.is_control() && !"\"\\`{|<[".contains(c);
        ensure!(
            !title.trim().is_empty() && title.chars().all(is_plain),
            "`{}` is no title: it stands in texts and tables, as one line without `\"`, `\\`, `` ` ``, `{{`, `|`, `<`, `[`",
            title.escape_debug()
        );
        let source = name.to_pascal_case();
        ensure!(
            !LIB.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == source),
            "`{name}` would make a source called `{source}`, as something else in every adapter is called: take \
             another name"
        );
        Ok(Self { module, source, title, name: name.to_owned() })
    }
}

/// What is new in the workspace.
fn files(names: &Names, document: &str, listing: &Listing, spec: &Path) -> Result<(Vec<File>, Records)> {
    let Names { name, module, source, title } = names;
    let spec_toml =
        fill(include_str!("templates/spec.toml.txt"), &[("name", name), ("operation", &listing.operation)]);
    let generated = generated(names, document, &spec_toml, spec)?;
    let records = types::records(&generated, &listing.title).with_context(|| spec.display().to_string())?;
    let answer = records.invented();
    let pretty = format!("{answer:#}\n");
    let parameters = &listing.parameters;
    let each = |text: &dyn Fn(&str, &str) -> String| -> String {
        parameters.iter().map(|(name, field)| text(name, field)).collect()
    };
    let path = if parameters.is_empty() {
        format!("{:?}.to_owned()", listing.path)
    } else {
        format!(
            "format!({:?}{})",
            listing.pattern("{}"),
            each(&|_, field| format!(", segment(&config.{field})"))
        )
    };
    let rows = records
        .fields
        .iter()
        .map(|field| format!("//! | `{}` | not mapped yet |", field.wire.escape_debug()));
    let mut rows = rows.collect::<Vec<_>>().join("\n");
    if rows.is_empty() {
        rows.push_str("//! | the whole record | not mapped yet |");
    }
    let identifier = match &records.id().field {
        Some(field) => format!("// Perhaps `record.value.{field}`, as text."),
        None => "// The document names no field that looks like one.".to_owned(),
    };
    let crate_name = format!("charging_sessions_{module}");
    let values: Vec<(&str, String)> = vec![
        ("name", name.clone()),
        ("module", module.clone()),
        ("Source", source.clone()),
        ("title", title.clone()),
        ("crate", crate_name),
        ("base_url", listing.base_url.clone()),
        ("token_path", listing.token_path.clone()),
        ("listing", listing.title.clone()),
        ("version", listing.version.clone()),
        ("path", path),
        ("sandbox_path", listing.pattern("sandbox")),
        ("Query", records.query.clone()),
        ("Record", records.rust()),
        ("pointer", records.pointer().escape_default().to_string()),
        ("envelope", records.envelope()),
        ("read", records.read()),
        ("imports", records.imports()),
        ("import_raw", if records.at.is_empty() { "" } else { ", RawValue" }.to_owned()),
        ("import_segment", if parameters.is_empty() { "" } else { ", segment" }.to_owned()),
        ("field_rows", rows),
        (
            "config_fields",
            each(&|name, field| format!("/// The `{name}` of the listing's path.\npub {field}: String,\n")),
        ),
        ("config_values", each(&|_, field| format!("{field}: {field}.into(),\n"))),
        ("parameters", each(&|_, field| format!(", {field}: impl Into<String>"))),
        ("example_arguments", each(&|_, field| format!(", \"{}\"", field.replace('_', "-")))),
        ("sandbox_arguments", each(&|_, _| ", \"sandbox\"".to_owned())),
        ("id", records.id().wire.escape_default().to_string()),
        ("identifier", identifier),
        ("unmapped", UNMAPPED.to_owned()),
    ];
    let values: Vec<(&str, &str)> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let (adapter, sandbox) =
        (format!("crates/providers/{name}"), format!("crates/testkit/src/sandbox/{module}"));
    let mut files = vec![
        // Under one name whatever it is: JSON is YAML.
        (format!("specs/{name}/openapi.yaml"), document.to_owned()),
        (format!("specs/{name}/spec.toml"), spec_toml),
        (format!("{adapter}/src/generated.rs"), generated),
        (
            format!("{adapter}/tests/fixtures/listing/first_page.http"),
            format!("HTTP/1.1 200 OK\ncontent-type: application/json\n\n{answer}\n"),
        ),
        (
            format!("{adapter}/tests/snapshots/mapping__listing__first_page.snap"),
            snapshot(&adapter, &records.rejected(UNMAPPED)),
        ),
        (format!("{sandbox}/listing.json"), pretty),
    ];
    let templates = [
        (format!("{adapter}/Cargo.toml"), include_str!("templates/Cargo.toml.txt")),
        (format!("{adapter}/src/lib.rs"), LIB),
        (format!("{adapter}/src/map.rs"), include_str!("templates/map.rs.txt")),
        (format!("{adapter}/tests/mapping.rs"), include_str!("templates/mapping.rs.txt")),
        (format!("{adapter}/tests/conformance.rs"), include_str!("templates/conformance.rs.txt")),
        (format!("{sandbox}/mod.rs"), include_str!("templates/sandbox.rs.txt")),
    ];
    files.extend(templates.map(|(path, template)| (path, fill(template, &values))));
    Ok((files.into_iter().map(|(path, text)| (path.into(), text)).collect(), records))
}

/// Lets the generator run where it can leave nothing behind.
fn generated(names: &Names, document: &str, spec_toml: &str, file: &Path) -> Result<String> {
    let scratch = tempfile::tempdir().context("no temporary folder")?;
    let specs = scratch.path().join("specs").join(&names.name);
    fs::create_dir_all(&specs)?;
    fs::write(specs.join("openapi.yaml"), document)?;
    fs::write(specs.join("spec.toml"), spec_toml)?;
    // As a program of its own, so that what it says of a file that is not there yet is not shown.
    let program = std::env::current_exe().context("xtask cannot be started again")?;
    let mut codegen = Command::new(program);
    let codegen = codegen.arg("--workspace").arg(scratch.path()).args(["codegen", &names.name]).output();
    let codegen = codegen.context("xtask cannot be started again")?;
    if !codegen.status.success() {
        let said = String::from_utf8_lossy(&codegen.stderr);
        let copy = format!("specs/{}/openapi.yaml", names.name);
        bail!("{}", said.trim().trim_start_matches("error: ").replace(&copy, &file.display().to_string()));
    }
    let path = format!("crates/providers/{}/src/generated.rs", names.name);
    fs::read_to_string(scratch.path().join(path)).context("the generated file cannot be read")
}

/// A snapshot as insta writes it, of a page on which every record is rejected.
fn snapshot(adapter: &str, rejected: &[Value]) -> String {
    let page = json!({ "sessions": [], "rejected": rejected, "next": null, "total": null });
    format!(
        "---\nsource: {adapter}/tests/mapping.rs\nexpression: \"fixture::page_as_json(&page)\"\n---\n{page:#}\n"
    )
}

/// Puts values in the place of `{{keys}}`.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (key, value) in values {
        text = text.replace(&format!("{{{{{key}}}}}"), value);
    }
    text
}

/// The file as `cargo fmt` leaves it: how lines break depends on the length of names.
fn formatted(root: &Path, (path, text): File) -> Result<File> {
    if path.extension().is_none_or(|extension| extension != "rs") || path.ends_with("generated.rs") {
        return Ok((path, text));
    }
    let missing = "rustfmt cannot be started: install it with `rustup component add rustfmt`";
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--quiet", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(missing)?;
    if let Some(mut input) = rustfmt.stdin.take() {
        input.write_all(text.as_bytes()).context(missing)?;
    }
    let output = rustfmt.wait_with_output().context(missing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} cannot be formatted, which is a fault of xtask: {}", path.display(), said.trim());
    }
    let text = String::from_utf8(output.stdout).with_context(|| path.display().to_string())?;
    Ok((path, text))
}

fn report(names: &Names, listing: &Listing, records: &Records, made: &[File], changed: &[File]) -> String {
    let Names { name, title, .. } = names;
    let mut text = format!("{title} compiles now, and maps nothing yet.\n\nMade:\n");
    for (path, _) in made {
        let _ = writeln!(text, "  {}", path.display());
    }
    text += "Changed:\n";
    for (path, _) in changed {
        let _ = writeln!(text, "  {}", path.display());
    }
    let place = match records.pointer() {
        at if at.is_empty() => "the elements of the answer".to_owned(),
        at => format!("at {at} of the answer"),
    };
    let (title, kind) = (&listing.title, records.rust());
    let _ = write!(
        text,
        "\nThe records are taken to be {place} to `{title}`, of the type `{kind}`.\n\nNext:\n\
         1. specs/{name}/spec.toml: fill in where the document comes from and under which licence.\n\
         2. `cargo test -p charging-sessions-{name}` fails and says what to map first; map it in \
         crates/providers/{name}/src/map.rs.\n\
         3. `UPDATE_DOCS=1 cargo test -p workspace-tests` brings the lists in docs up to date.\n\
         docs/adding-a-provider.md goes through the files one by one."
    );
    text
}

/// A name of the document as a field of ours.
fn field_name(words: &str) -> String {
    let name: String = words.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect();
    let name = name.to_snake_case();
    let name = if name.starts_with(|c: char| c.is_ascii_alphabetic()) { name } else { format!("x{name}") };
    if syn::parse_str::<syn::Ident>(&name).is_ok() { name } else { format!("{name}_") }
}
