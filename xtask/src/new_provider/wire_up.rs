//! Puts a provider into the lists of the workspace.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{File, Names};

/// The files that list providers, with this one in them.
pub(super) fn changes(root: &Path, names: &Names) -> Result<Vec<File>> {
    let Names { name, module, title, .. } = names;
    let mut changes = Vec::new();
    let mut change = |path: &str, with: &dyn Fn(&str) -> Result<String>| -> Result<()> {
        let text = fs::read_to_string(root.join(path)).with_context(|| format!("{path} cannot be read"))?;
        changes.push((path.into(), with(&text).with_context(|| path.to_owned())?));
        Ok(())
    };
    change("Cargo.toml", &|text| {
        let version = text.lines().find_map(|line| line.strip_prefix("version = ")).unwrap_or("\"0.1.0\"");
        let text = line_among(text, "  \"crates/providers/", &format!("  \"crates/providers/{name}\","))?;
        let path = format!("crates/providers/{name}");
        let line = format!("charging-sessions-{name} = {{ path = \"{path}\", version = {version} }}");
        line_where(&text, "a dependency on an adapter", &line, |line| {
            line.contains("path = \"crates/providers/")
        })
    })?;
    change("crates/charging-sessions/Cargo.toml", &|text| {
        let feature = format!("{name} = [\"dep:charging-sessions-{name}\"]");
        let text =
            line_where(text, "the feature of an adapter", &feature, |line| line.contains("= [\"dep:"))?;
        let dependency = format!("charging-sessions-{name} = {{ workspace = true, optional = true }}");
        line_where(&text, "an optional adapter", &dependency, |line| line.contains("optional = true"))
    })?;
    change("crates/charging-sessions/src/lib.rs", &|text| {
        let text = line_among(text, "//! | `", &format!("//! | `{name}` | {title} |"))?;
        let item = format!("#[cfg(feature = \"{name}\")]\npub use charging_sessions_{module} as {module};");
        line_where(&text, "the `pub use` of an adapter", &item, |line| {
            line.starts_with("pub use charging_sessions_") && line.contains(" as ")
        })
    })?;
    change("crates/testkit/src/sandbox/mod.rs", &|text| {
        let text = line_among(text, "//! | [`", &format!("//! | [`{module}`] | {title} |"))?;
        line_among(&text, "pub mod ", &format!("pub mod {module};"))
    })?;
    change("tests/Cargo.toml", &|text| {
        listed(text, "charging-sessions = { workspace = true, features = [", &format!("\"{name}\""))
    })?;
    change("tests/src/adapters.rs", &|text| {
        let (before, block) =
            text.split_once("\nadapters! {\n").context("there is no `adapters! {` to add the provider to")?;
        Ok(format!("{before}\nadapters! {{\n{}", line_among(block, "    ", &format!("    {module},"))?))
    })?;
    change("tests/tests/dependencies.rs", &|text| {
        let start = "const PROVIDERS: [&str; ";
        let (before, rest) = text.split_once(start).with_context(|| format!("there is no `{start}…`"))?;
        let (count, rest) = rest.split_once(']').unwrap_or_default();
        let count: usize = count.parse().with_context(|| format!("`{start}{count}]` has no number"))?;
        let rest = listed(rest, " [", &format!("\"charging-sessions-{name}\""))?;
        Ok(format!("{before}{start}{}]{rest}", count + 1))
    })?;
    Ok(changes)
}

/// Puts `line` in its place among the lines that start with `start`.
fn line_among(text: &str, start: &str, line: &str) -> Result<String> {
    line_where(text, &format!("one that starts with `{}`", start.trim_start()), line, |known| {
        known.starts_with(start)
    })
}

/// Puts `line` before the first of its like that is greater, else behind the last. More than one line goes behind the
/// last, for rustfmt to sort.
fn line_where(text: &str, what: &str, line: &str, alike: impl Fn(&str) -> bool) -> Result<String> {
    let mut lines: Vec<&str> = text.lines().collect();
    let like: Vec<usize> = (0..lines.len()).filter(|index| alike(lines[*index])).collect();
    let Some(last) = like.last() else {
        bail!(
            "no line is {what}, beside which the new provider would stand: add it by hand or restore the file"
        );
    };
    let greater = like.iter().find(|index| !line.contains('\n') && lines[**index] > line);
    lines.insert(greater.copied().unwrap_or(last + 1), line);
    Ok(lines.join("\n") + "\n")
}

/// Puts `item` into the list in square brackets that `start` opens, and sorts it.
fn listed(text: &str, start: &str, item: &str) -> Result<String> {
    let place = text.split_once(start).and_then(|(before, rest)| Some((before, rest.split_once(']')?)));
    let Some((before, (list, after))) = place else {
        bail!("there is no `{start}…]` to add {item} to: restore the file");
    };
    let mut items: Vec<&str> = list.split(',').map(str::trim).filter(|known| !known.is_empty()).collect();
    items.push(item);
    items.sort_unstable();
    Ok(format!("{before}{start}{}]{after}", items.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_finds_its_place_or_says_what_is_missing() {
        let text = "[x]\na-b\na-d\n[y]\n";
        assert_eq!(line_among(text, "a-", "a-c").unwrap(), "[x]\na-b\na-c\na-d\n[y]\n");
        assert_eq!(line_among(text, "a-", "a-e").unwrap(), "[x]\na-b\na-d\na-e\n[y]\n");
        let error = line_among(text, "  b", "  b").unwrap_err().to_string();
        assert!(error.starts_with("no line is one that starts with `b`"), "{error}");
    }

    #[test]
    fn an_item_finds_its_place_in_a_list() {
        assert_eq!(
            listed("x = [\"a\", \"c\"] # y\n", "x = [", "\"b\"").unwrap(),
            "x = [\"a\", \"b\", \"c\"] # y\n"
        );
        assert_eq!(listed("x = [\n  \"a\",\n]", "x = [", "\"b\"").unwrap(), "x = [\"a\", \"b\"]");
        assert!(listed("x", "y = [", "\"b\"").is_err());
    }
}
