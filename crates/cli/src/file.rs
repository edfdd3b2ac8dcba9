//! Files that reports and exports are written to: whole or not at all, and over nothing that is there.

use std::{
    fs,
    io::{self, BufWriter, Stdout, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::exit::Failure;

/// Where a report or an export goes.
#[derive(Debug, clap::Args)]
pub(crate) struct FileArgs {
    /// The file to write; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

impl FileArgs {
    pub(crate) fn is_standard(&self) -> bool {
        self.output == Path::new("-")
    }

    /// What the name of the file ends with, in lower case; nothing for standard output.
    pub(crate) fn suffix(&self) -> Option<String> {
        self.output.extension().map(|suffix| suffix.to_string_lossy().to_ascii_lowercase())
    }

    /// Opens what is to be written. Nothing is at its place before [`File::commit`].
    pub(crate) fn open(&self) -> Result<File, Failure> {
        if self.is_standard() {
            return Ok(File::Standard(BufWriter::new(io::stdout())));
        }
        let path = &self.output;
        if !self.force && fs::symlink_metadata(path).is_ok() {
            return Err(there(path));
        }
        if path.is_dir() {
            return Err(Failure::usage(format!("{} is a folder: name a file", path.display())));
        }
        // Beside it, so that it can take its place in one step.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As any file that a program makes: the mask of the user decides.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.prefix(".charging-sessions-").tempfile_in(folder);
        let file = file.map_err(|error| {
            Failure::usage(format!("no file can be made in the folder {}: {error}", folder.display()))
        })?;
        Ok(File::Named { file: BufWriter::new(file), path: path.clone(), force: self.force })
    }
}

fn there(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} is there already and stays as it is: name another file, or add --force",
        path.display()
    ))
}

/// What is being written.
#[derive(Debug)]
pub(crate) enum File {
    Standard(BufWriter<Stdout>),
    Named { file: BufWriter<NamedTempFile>, path: PathBuf, force: bool },
}

impl File {
    /// Puts the file in its place, whole.
    pub(crate) fn commit(self) -> Result<(), Failure> {
        match self {
            Self::Standard(mut out) => Ok(out.flush()?),
            Self::Named { file, path, force } => {
                let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                let placed = if force { file.persist(&path) } else { file.persist_noclobber(&path) };
                match placed {
                    Ok(_) => Ok(()),
                    Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(there(&path)),
                    Err(error) => Err(error.error.into()),
                }
            }
        }
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard(out) => out.write(bytes),
            Self::Named { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(out) => out.flush(),
            Self::Named { file, .. } => file.flush(),
        }
    }
}
