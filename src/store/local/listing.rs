//! Finds the objects below a folder of a local store. Reads names, lengths and times, never contents.

use crate::store::local::{TMP, no_directory};
use crate::store::{Key, Listing, Meta, is_part};
use jiff::Timestamp;
use std::fs;
use std::io;
use std::path::Path;

/// Adds every object of `folder` and below whose key starts with `prefix`.
pub(super) fn list_into(
    listing: &mut Listing,
    root: &Path,
    folder: &str,
    prefix: &str,
) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(e) if folder.is_empty() && e.kind() == io::ErrorKind::NotADirectory => {
            return Err(no_directory(root));
        }
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        // The root of an ext4 volume has a `lost+found` that is nobody's object.
        if folder.is_empty() && (name == TMP || name == "lost+found") {
            continue;
        }
        let Some(part) = name.to_str().filter(|part| is_part(part)) else {
            listing.strays += 1;
            continue;
        };
        let key = if folder.is_empty() {
            part.to_owned()
        } else {
            format!("{folder}/{part}")
        };
        if entry.file_type()?.is_dir() {
            if key.starts_with(prefix) || prefix.starts_with(&format!("{key}/")) {
                list_into(listing, root, &key, prefix)?;
            }
        } else if key.starts_with(prefix) {
            add_object(listing, &entry, key)?;
        }
    }
    Ok(())
}

fn add_object(listing: &mut Listing, entry: &fs::DirEntry, key: String) -> io::Result<()> {
    let meta = match entry.metadata() {
        // Deleted since the folder was read.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    match Key::new(key) {
        Ok(key) if meta.is_file() => listing.objects.push(Meta {
            key,
            size: meta.len(),
            modified: Timestamp::try_from(meta.modified()?).map_err(io::Error::other)?,
        }),
        _ => listing.strays += 1,
    }
    Ok(())
}
