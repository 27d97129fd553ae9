//! Writes an export as a file of this machine. It gets its name when it is whole, and never that of something
//! that is there.

use crate::export::{ExportError, Payload, Recipe, Seed};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Writes `payload` to `path`, and gives how long it is. Must be called within the runtime.
pub async fn to_file(
    payload: Payload,
    recipe: Recipe,
    seed: Seed,
    path: PathBuf,
) -> Result<u64, ExportError> {
    let write = move || {
        let folder = folder(&path).to_owned();
        let named = NamedTempFile::with_prefix_in(".ccb-export-", &folder);
        let named = named.map_err(|cause| ExportError::of(cause, &folder))?;
        let written = fill(&named, payload, &recipe, &seed);
        let len = written.map_err(|cause| ExportError::of(cause, &folder))?;
        let named = named.persist_noclobber(&path);
        named.map_err(|e| match e.error.kind() {
            io::ErrorKind::AlreadyExists => ExportError::Exists(path.clone()),
            _ => ExportError::of(e.error, &folder),
        })?;
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|cause| ExportError::of(cause, &folder))?;
        Ok(len)
    };
    let written = tokio::task::spawn_blocking(write).await;
    written.map_err(|e| ExportError::Crashed(e.to_string()))?
}

fn fill(to: &NamedTempFile, payload: Payload, recipe: &Recipe, seed: &Seed) -> io::Result<u64> {
    let mut out = BufWriter::with_capacity(1 << 18, to.as_file());
    recipe.write(payload, seed, &mut out)?;
    out.flush()?;
    drop(out);
    to.as_file().sync_all()?;
    to.as_file().metadata().map(|facts| facts.len())
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
