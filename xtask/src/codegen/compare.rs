//! Compares what our document gives with what the provider's own document would give.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;

use super::{
    build, build_from,
    correct::{Unmatched, corrected},
    load::{Document, Input, Roots, Spec},
    model::{Model, Type},
    query::Query,
    reach,
};

/// Every property by `Schema.property`, with its type and the words it is known to be.
type Listing = BTreeMap<String, BTreeMap<String, (String, BTreeSet<String>)>>;

/// The address that `spec.toml` gives for the provider's document.
pub(crate) fn source_url(root: &Path, provider: &str) -> Result<Option<String>> {
    Ok(Input::read(root, provider)?.spec.source.url().map(str::to_owned))
}

/// One line for each difference among the schemas that the roots reach.
pub(crate) fn compare(root: &Path, provider: &str, theirs: &str) -> Result<Vec<String>> {
    let input = Input::read(root, provider)?;
    let ours = build(&input)?;
    let theirs = Document::parse(theirs)?;
    let theirs = corrected(&theirs, &input.spec, Unmatched::Skip)?;
    let mut lines = Vec::new();
    let roots = found_roots(&theirs, &input.spec, &mut lines);
    let theirs = build_from(&theirs, &roots)?;
    differences(&listing(&ours), &listing(&theirs), &mut lines);
    Ok(lines)
}

/// The roots that their document has too; the others become lines.
fn found_roots(theirs: &Document, spec: &Spec, lines: &mut Vec<String>) -> Roots {
    let mut found = Roots::default();
    let mut take = |names: &[String], of: fn(&mut Roots) -> &mut Vec<String>| {
        for name in names {
            let mut one = Roots::default();
            of(&mut one).push(name.clone());
            match reach::reach(theirs, &one) {
                Ok(_) => of(&mut found).push(name.clone()),
                Err(error) => lines.push(format!("- root {name}: {error:#}")),
            }
        }
    };
    take(&spec.roots.schemas, |roots| &mut roots.schemas);
    take(&spec.roots.responses, |roots| &mut roots.responses);
    take(&spec.roots.queries, |roots| &mut roots.queries);
    found
}

fn listing((model, queries): &(Model, Vec<Query>)) -> Listing {
    let mut listing = Listing::new();
    for found in &model.structs {
        let fields = found.fields.iter().map(|field| {
            (field.wire.clone(), (model.rust(&field.kind), field.words.iter().cloned().collect()))
        });
        listing.insert(found.name.clone(), fields.collect());
    }
    for alias in &model.aliases {
        listing.insert(
            alias.name.clone(),
            BTreeMap::from([("(whole)".to_owned(), (model.rust(&alias.kind), BTreeSet::new()))]),
        );
    }
    for query in queries {
        let parameters = query.parameters.iter().map(|parameter| {
            let kind = if let Type::List(inner) = &parameter.kind { inner } else { &parameter.kind };
            (parameter.wire.clone(), (model.rust(kind), BTreeSet::new()))
        });
        listing.insert(query.name.clone(), parameters.collect());
    }
    listing
}

fn differences(ours: &Listing, theirs: &Listing, lines: &mut Vec<String>) {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (None, Some(fields)) => lines.push(format!("+ {name} ({} properties)", fields.len())),
            (Some(_), None) => lines.push(format!("- {name}")),
            (Some(ours), Some(theirs)) => fields(name, ours, theirs, lines),
            (None, None) => {}
        }
    }
}

fn fields(
    schema: &str,
    ours: &BTreeMap<String, (String, BTreeSet<String>)>,
    theirs: &BTreeMap<String, (String, BTreeSet<String>)>,
    lines: &mut Vec<String>,
) {
    let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    for name in names {
        match (ours.get(name), theirs.get(name)) {
            (None, Some((kind, _))) => lines.push(format!("+ {schema}.{name}: {kind}")),
            (Some((kind, _)), None) => lines.push(format!("- {schema}.{name}: {kind}")),
            (Some((old, old_words)), Some((new, new_words))) => {
                if old != new {
                    lines.push(format!("~ {schema}.{name}: {old} -> {new}"));
                }
                let added = new_words.difference(old_words).map(|word| format!("+{word}"));
                let words: Vec<String> =
                    added.chain(old_words.difference(new_words).map(|word| format!("-{word}"))).collect();
                if !words.is_empty() {
                    lines.push(format!("~ {schema}.{name}: words {}", words.join(" ")));
                }
            }
            (None, None) => {}
        }
    }
}
