//! Finds the objects below a folder of a store over SFTP, many folders at a time. Reads names, lengths and times,
//! never contents.

use crate::store::sftp::connection::{Connection, Failure, answered};
use crate::store::sftp::{TMP, is_file};
use crate::store::{Key, Kind, Meta, is_part};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use openssh_sftp_client::metadata::MetaData;

/// Folders that are read at the same time.
const AT_ONCE: usize = 32;

/// Looks for the objects below `root` whose keys start with `prefix`.
pub(super) struct Look<'a> {
    pub(super) at: &'a Connection,
    pub(super) root: &'a str,
    pub(super) prefix: &'a str,
}

/// What a folder holds.
#[derive(Default)]
struct Folder {
    objects: Vec<Meta>,
    folders: Vec<String>,
    strays: u64,
}

impl Look<'_> {
    /// The objects, sorted by key, and how many things have names that are no keys.
    pub(super) async fn all(&self) -> Result<(Vec<Meta>, u64), Failure> {
        let (mut objects, mut strays) = (Vec::new(), 0);
        // Only the folder that the prefix names is read, not the whole store.
        let first = self
            .prefix
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        if !first.is_empty() && !first.split('/').all(is_part) {
            return Ok((objects, strays));
        }
        let mut waiting = vec![first.to_owned()];
        let mut reading = FuturesUnordered::new();
        loop {
            while reading.len() < AT_ONCE
                && let Some(folder) = waiting.pop()
            {
                reading.push(self.folder(folder));
            }
            let Some(folder) = reading.next().await else {
                break;
            };
            let folder = folder?;
            objects.extend(folder.objects);
            waiting.extend(folder.folders);
            strays += folder.strays;
        }
        objects.sort_by(|a: &Meta, b| a.key.cmp(&b.key));
        Ok((objects, strays))
    }

    async fn folder(&self, folder: String) -> Result<Folder, Failure> {
        let mut found = Folder::default();
        let path = match folder.is_empty() {
            true => self.root.to_owned(),
            false => format!("{}/{folder}", self.root),
        };
        let entries = match entries(self.at, &path).await {
            Err(failure) if failure.kind == Kind::NotFound => {
                // A file where the store should be is not an empty store.
                let mut fs = self.at.sftp.fs();
                return match folder.is_empty() && answered(fs.metadata(&path)).await.is_ok() {
                    true => Err(no_directory(&path)),
                    false => Ok(found),
                };
            }
            entries => entries?,
        };
        for (name, meta) in entries {
            // The root of an ext4 volume has a `lost+found` that is nobody's object.
            if folder.is_empty() && (name == TMP || name == "lost+found") {
                continue;
            }
            let key = match folder.is_empty() {
                true => name.clone(),
                false => format!("{folder}/{name}"),
            };
            let is_folder = meta.file_type().is_some_and(|kind| kind.is_dir());
            let is_in = key.starts_with(self.prefix);
            if !is_part(&name) {
                found.strays += 1;
            } else if is_folder {
                if is_in || self.prefix.starts_with(&format!("{key}/")) {
                    found.folders.push(key);
                }
            } else if is_in {
                match object(key, &meta) {
                    Some(object) => found.objects.push(object),
                    None => found.strays += 1,
                }
            }
        }
        Ok(found)
    }
}

fn object(key: String, meta: &MetaData) -> Option<Meta> {
    let key = Key::new(key).ok().filter(|_| is_file(meta))?;
    Some(Meta {
        key,
        size: meta.len()?,
        modified: modified(meta)?,
    })
}

/// The names in a folder, without itself and the one above, and what is known of each.
pub(super) async fn entries(
    at: &Connection,
    folder: &str,
) -> Result<Vec<(String, MetaData)>, Failure> {
    let mut fs = at.sftp.fs();
    let mut reading = Box::pin(answered(fs.open_dir(folder)).await?.read_dir());
    let mut entries = Vec::new();
    while let Some(entry) = answered(async { reading.next().await.transpose() }).await? {
        // What is no text is no name of ours; it is counted as a stray.
        let name = entry.filename().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            entries.push((name, entry.metadata()));
        }
    }
    Ok(entries)
}

/// When it was written, by the server's clock, in whole seconds.
pub(super) fn modified(meta: &MetaData) -> Option<Timestamp> {
    let seconds = meta.modified()?.into_raw();
    Timestamp::from_second(i64::from(seconds)).ok()
}

/// Never "it is there": that is what a creator hears who was second.
pub(super) fn no_directory(path: &str) -> Failure {
    Failure::new(
        Kind::Other,
        format!("`{path}` is there, and is no directory"),
    )
}
