//! What the documentation lists is what the code has.

use std::{fmt::Write as _, fs};

use charging_sessions::IssueCode;

const ERRORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");

#[test]
fn the_table_of_issues_is_current() {
    let mut table = "| code | severity | meaning |\n|---|---|---|\n".to_owned();
    for (code, severity, meaning) in IssueCode::ALL {
        writeln!(table, "| `{code}` | {severity} | {meaning} |").unwrap();
    }
    let text = fs::read_to_string(ERRORS).unwrap();
    let at = text.find("| code | severity |").unwrap_or(text.len());
    let current = text[..at].to_owned() + &table;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(ERRORS, &current).unwrap();
    }
    let text = fs::read_to_string(ERRORS).unwrap();
    assert!(
        text == current,
        "the table in docs/errors.md is stale. Run `UPDATE_DOCS=1 cargo test -p workspace-tests --test documentation` \
         and commit the result."
    );
}

#[test]
fn every_link_to_a_file_leads_somewhere() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut pages = vec!["README.md".into(), "CONTRIBUTING.md".into()];
    for folder in ["docs", "docs/decisions"] {
        for entry in fs::read_dir(format!("{root}/{folder}")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    assert!(pages.len() > 6, "the pages are gone");
    for page in pages {
        let text = fs::read_to_string(format!("{root}/{page}")).unwrap();
        let folder = page.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = link.split('#').next().unwrap();
            let path = format!("{root}/{folder}/{target}");
            assert!(fs::metadata(&path).is_ok(), "{page} links to {link}, which is not there");
        }
    }
}
