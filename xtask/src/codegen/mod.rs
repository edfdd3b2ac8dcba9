//! `cargo xtask codegen`: Rust types from OpenAPI documents.

mod compare;
mod correct;
mod emit;
mod flatten;
mod load;
mod model;
mod name;
mod normalise;
mod pointer;
mod query;
mod reach;
mod trial;

#[cfg(test)]
mod tests;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

pub(crate) use self::{
    compare::{compare, source_url},
    emit::TYPIFY_THREAD,
    load::providers,
    trial::trial,
};
use self::{
    correct::{Unmatched, corrected},
    load::{Document, Input, Roots},
    model::Model,
    query::Query,
};

/// Generates for the providers, or all, and writes nothing unless all succeed.
pub(crate) fn run(root: &Path, providers: &[String], check: bool) -> Result<()> {
    let known = load::providers(root)?;
    let providers = if providers.is_empty() { &known } else { providers };
    let mut files = Vec::new();
    for provider in providers {
        files.push(generate(root, provider)?);
    }
    if check {
        let stale: Vec<_> = files.iter().filter(|file| !file.is_current(root)).collect();
        if !stale.is_empty() {
            let cures = stale.iter().map(|file| {
                let (path, provider) = (file.path.display(), &file.provider);
                format!("{path} is stale. Run `cargo xtask codegen {provider}` and commit the result.")
            });
            bail!("{}", cures.collect::<Vec<_>>().join(" "));
        }
        return Ok(());
    }
    for file in &files {
        let (path, lines) = (file.path.display(), file.text.lines().count());
        if file.is_current(root) {
            println!("{path} is current ({lines} lines)");
        } else {
            file.write(root)?;
            println!("{path} is written ({lines} lines)");
        }
    }
    Ok(())
}

/// A file to be written.
struct Generated {
    provider: String,
    path: PathBuf,
    text: String,
}

impl Generated {
    /// Whether the file stands there already; line ends are git's business.
    fn is_current(&self, root: &Path) -> bool {
        fs::read_to_string(root.join(&self.path)).is_ok_and(|old| old.replace("\r\n", "\n") == self.text)
    }

    /// Replaces the file at once, so that nobody ever reads half of it.
    fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(&self.path);
        let name = || format!("{} cannot be written", self.path.display());
        let folder = path.parent().with_context(name)?;
        fs::create_dir_all(folder).with_context(name)?;
        let mut file = tempfile::NamedTempFile::new_in(folder).with_context(name)?;
        file.write_all(self.text.as_bytes()).with_context(name)?;
        // A temporary file can be read by its owner alone; source code is for everyone.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).with_context(name)?;
        }
        file.persist(&path).with_context(name)?;
        Ok(())
    }
}

fn generate(root: &Path, provider: &str) -> Result<Generated> {
    let input = Input::read(root, provider)?;
    let (model, queries) = build(&input)?;
    let body = emit::emit(&model, &queries).with_context(|| input.document_name.clone())?;
    let default = || PathBuf::from("crates/providers").join(provider).join("src/generated.rs");
    let path = input.spec.output.clone().unwrap_or_else(default);
    let text = emit::file(provider, &hash(&[&input.document_text, &input.spec_text]), &body);
    Ok(Generated { provider: provider.to_owned(), path, text })
}

/// Corrects the document and reads what its roots reach. An error names the file that is to be corrected.
fn build(input: &Input) -> Result<(Model, Vec<Query>)> {
    let document = corrected(&input.document, &input.spec, Unmatched::Refuse)
        .with_context(|| format!("specs/{}/spec.toml", input.provider))?;
    build_from(&document, &input.spec.roots).with_context(|| input.document_name.clone())
}

fn build_from(document: &Document, roots: &Roots) -> Result<(Model, Vec<Query>)> {
    let reached = reach::reach(document, roots)?;
    let mut model = normalise::normalise(document, &reached)?;
    let mut queries = Vec::new();
    for operation in &reached.queries {
        queries.push(query::query(document, operation, &mut model.names)?);
    }
    Ok((model, queries))
}

/// SHA-256 over texts, the same on every system.
fn hash(texts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        let text = text.replace("\r\n", "\n");
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
