//! What the documentation lists is what the code has.

use std::{fmt::Write as _, fs};

use charging_sessions::IssueCode;
use charging_sessions_report::{
    emissions,
    export::{self, Column, ColumnKind},
    monthly, reimbursement,
};

const ERRORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors.md");
const EXPORT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/export.md");

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
fn the_tables_of_columns_are_current() {
    let kind = |kind| match kind {
        ColumnKind::Text => "text".to_owned(),
        ColumnKind::Integer => "whole number".to_owned(),
        ColumnKind::Decimal(digits) => format!("decimal, {digits} digits"),
        ColumnKind::Instant => "instant".to_owned(),
        ColumnKind::Local => "date and time".to_owned(),
    };
    let mut tables = String::new();
    let mut table = |title: &str, columns: &[Column]| {
        write!(tables, "## {title}\n\n| column | type | meaning |\n|---|---|---|\n").unwrap();
        for column in columns {
            writeln!(tables, "| `{}` | {} | {} |", column.name, kind(column.kind), column.meaning).unwrap();
        }
        tables.push('\n');
    };
    table("Columns of an export", export::COLUMNS);
    let first = monthly::columns().into_iter().filter(|column| emissions::columns().contains(column));
    let first: Vec<_> = first.collect();
    let rest = |columns: Vec<Column>| columns.into_iter().skip(first.len()).collect::<Vec<_>>();
    table("Columns that the rows of every report begin with", &first);
    table("And of `report monthly`", &rest(monthly::columns()));
    table("And of `report reimbursement`", &rest(reimbursement::columns()));
    table("And of `report co2`", &rest(emissions::columns()));
    let text = fs::read_to_string(EXPORT).unwrap();
    let at = text.find("## Columns of an export").unwrap_or(text.len());
    let current = text[..at].to_owned() + tables.trim_end() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(EXPORT, &current).unwrap();
    }
    assert!(
        fs::read_to_string(EXPORT).unwrap() == current,
        "the tables in docs/export.md are stale. Run `UPDATE_DOCS=1 cargo test -p workspace-tests --test documentation` \
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
