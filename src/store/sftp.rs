//! A store on another machine, over SSH: one file per object in a directory there. Runs the user's own `ssh`, so
//! that its keys, its configuration and its known hosts count, and asks the SFTP subsystem; never runs a command
//! there, and never asks for a password. A put writes a temporary file, syncs it, gives it its name by a hard
//! link, which exactly one of several creators gets, and syncs it again: with the file, its new name is durable.

mod connection;
mod listing;
mod transfer;
mod url;

pub use connection::Settings;
pub use url::{Address, AddressError};

use crate::store::sftp::connection::{Connection, Failure, answered};
use crate::store::sftp::listing::Look;
use crate::store::{Backend, Doing, Key, Kind, Listing, Put, StoreError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use openssh_sftp_client::file::File;
use openssh_sftp_client::fs::Fs;
use openssh_sftp_client::metadata::MetaData;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use tokio::sync::Mutex;

/// Where files are written before they get their names. No key starts with a dot.
const TMP: &str = ".tmp";
/// A temporary file this old belongs to a writer that crashed: no put takes a day.
const TMP_AGE_MAX_SECONDS: u32 = 24 * 60 * 60;
/// Only the owner reads what is stored.
const FILE_MODE: u16 = 0o600;
const FOLDER_MODE: u16 = 0o700;

/// A directory on a server as a store.
#[derive(Debug)]
pub struct Sftp {
    settings: Settings,
    location: String,
    /// The connection of all calls; made when the first needs it, and anew when it is lost.
    connection: Mutex<Option<Arc<Connection>>>,
    cleaned: AtomicBool,
}

impl Sftp {
    /// The store in the directory of `settings`, which need not exist yet: the first put makes it. Nothing is
    /// asked of the server yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            location: settings.address.to_string(),
            settings,
            connection: Mutex::new(None),
            cleaned: AtomicBool::new(false),
        }
    }

    /// Does `work` over the connection; one that is lost by it is not used again.
    async fn over<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = self.connected().await?;
        let done = work(&connection).await;
        if matches!(&done, Err(failure) if failure.kind == Kind::Unreachable) {
            let mut current = self.connection.lock().await;
            if current
                .as_ref()
                .is_some_and(|it| Arc::ptr_eq(it, &connection))
            {
                *current = None;
            }
        }
        done
    }

    async fn connected(&self) -> Result<Arc<Connection>, Failure> {
        let mut current = self.connection.lock().await;
        if let Some(connection) = &*current {
            return Ok(connection.clone());
        }
        let connection = Arc::new(Connection::open(&self.settings).await?);
        *current = Some(connection.clone());
        Ok(connection)
    }

    fn failed(&self, doing: Doing, what: impl std::fmt::Display, failure: Failure) -> StoreError {
        let error = StoreError::new(doing, what, &self.location, failure.kind);
        match failure.cause {
            Some(cause) => error.caused_by(cause),
            None => error,
        }
    }

    fn root(&self) -> &str {
        &self.settings.address.folder
    }

    fn path(&self, key: &Key) -> String {
        format!("{}/{key}", self.root())
    }

    async fn read(
        &self,
        at: &Connection,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> Result<Bytes, Failure> {
        let mut file = answered(at.sftp.open(self.path(key))).await?;
        let meta = answered(file.metadata()).await?;
        let len = meta.len().unwrap_or(0);
        if !is_file(&meta) {
            return Err(Kind::NotFound.into());
        }
        let range = range.unwrap_or(0..len);
        // Checked before anything is allocated: a hostile index must not choose how much.
        if range.end > len || range.start > range.end {
            return Err(Kind::Corrupt.into());
        }
        transfer::read(&file, range).await
    }

    async fn write(
        &self,
        at: &Connection,
        key: &Key,
        body: &Bytes,
        how: Put,
    ) -> Result<(), Failure> {
        let (mut file, temporary) = self.temporary(at).await?;
        let named = async {
            transfer::write(&file, body).await?;
            answered(file.sync_all()).await?;
            self.give_name(at, &temporary, key, how).await?;
            // Giving it a name changed the file itself, so that a server whose file system keeps a journal
            // writes the name with it.
            answered(file.sync_all()).await
        };
        let named = named.await;
        if how == Put::New || named.is_err() {
            let _ = answered(at.sftp.fs().remove_file(&temporary)).await;
        }
        match named {
            Err(failure) if failure.kind == Kind::Other => {
                Err(failure.explained_by(&self.room(at).await, body.len()))
            }
            named => named,
        }
    }

    /// Names the finished file. A hard link fails when the name is taken: of several creators one wins.
    async fn give_name(
        &self,
        at: &Connection,
        temporary: &str,
        key: &Key,
        how: Put,
    ) -> Result<(), Failure> {
        let path = self.path(key);
        let mut fs = at.sftp.fs();
        let mut named = name(&mut fs, temporary, &path, how).await;
        if matches!(&named, Err(failure) if failure.kind == Kind::NotFound) {
            make_folder(&mut fs, above(&path)).await?;
            named = name(&mut fs, temporary, &path, how).await;
        }
        match named {
            // The protocol has no word for "it is there".
            Err(failure) if failure.kind == Kind::Other => {
                match answered(fs.symlink_metadata(&path)).await {
                    Ok(_) => Err(Kind::AlreadyExists.into()),
                    Err(_) => Err(failure),
                }
            }
            named => named,
        }
    }

    /// A new file in the folder for files without names, which is made where it is missing.
    async fn temporary(&self, at: &Connection) -> Result<(File, String), Failure> {
        let (mut file, path) = match self.create_below(at).await {
            Err(failure) if failure.kind == Kind::Other => {
                return Err(failure.explained_by(&self.room(at).await, 0));
            }
            made => made?,
        };
        answered(file.set_permissions(FILE_MODE.into())).await?;
        if !self.cleaned.swap(true, Relaxed) {
            self.remove_old(at, &mut file).await;
        }
        Ok((file, path))
    }

    async fn create_below(&self, at: &Connection) -> Result<(File, String), Failure> {
        match self.create(at).await {
            Err(failure) if failure.kind == Kind::NotFound => {
                let folder = format!("{}/{TMP}", self.root());
                make_folder(&mut at.sftp.fs(), &folder).await?;
                self.create(at).await
            }
            made => made,
        }
    }

    /// A new file whose name no other writer has: another host may have this process number, so a name that
    /// is taken is passed over.
    async fn create(&self, at: &Connection) -> Result<(File, String), Failure> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let number = NEXT.fetch_add(1, Relaxed);
            let path = format!("{}/{TMP}/{}-{number}", self.root(), std::process::id());
            let mut options = at.sftp.options();
            options.read(true).write(true).create_new(true);
            let failure = match answered(options.open(&path)).await {
                Ok(file) => return Ok((file, path)),
                Err(failure) => failure,
            };
            let is_taken = failure.kind == Kind::Other
                && answered(at.sftp.fs().symlink_metadata(&path)).await.is_ok();
            if !is_taken {
                return Err(failure);
            }
        }
    }

    /// Removes what crashed writers left. Age is measured against `now_file`, which was just made.
    async fn remove_old(&self, at: &Connection, now_file: &mut File) {
        let folder = format!("{}/{TMP}", self.root());
        let seconds = |meta: &MetaData| meta.modified().map(|time| time.into_raw());
        let now = answered(now_file.metadata()).await.ok();
        let entries = listing::entries(at, &folder).await.ok();
        let (Some(now), Some(entries)) = (now.as_ref().and_then(seconds), entries) else {
            return;
        };
        for (name, meta) in &entries {
            let age = seconds(meta).map(|modified| now.saturating_sub(modified));
            if is_file(meta) && age.is_some_and(|age| age > TMP_AGE_MAX_SECONDS) {
                let _ = answered(at.sftp.fs().remove_file(format!("{folder}/{name}"))).await;
            }
        }
    }

    /// The server's clock: the time of a file made just now. A store that cannot be written to is judged by
    /// this machine's clock.
    async fn server_time(&self, at: &Connection) -> Result<Timestamp, Failure> {
        let time = match self.create(at).await {
            Ok((mut file, path)) => {
                let meta = answered(file.metadata()).await;
                let _ = answered(at.sftp.fs().remove_file(&path)).await;
                listing::modified(&meta?)
            }
            Err(failure) if failure.kind == Kind::Unreachable => return Err(failure),
            Err(_) => None,
        };
        Ok(time.unwrap_or_else(Timestamp::now))
    }

    /// What is left on the server, where it says so.
    async fn room(&self, at: &Connection) -> Option<openssh_sftp_client::fs::Statvfs> {
        let mut fs = at.sftp.fs();
        answered(fs.statvfs(self.root())).await.ok()
    }
}

impl Backend for Sftp {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            let read = self.over(async |at| self.read(at, &key, range).await).await;
            read.map_err(|failure| self.failed(Doing::Get, &key, failure))
        })
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            let write = async |at: &Connection| self.write(at, &key, &body, how).await;
            let written = self.over(write).await;
            written.map_err(|failure| self.failed(Doing::Put, &key, failure))
        })
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            let look = async |at: &Connection| {
                let server_time = self.server_time(at).await?;
                let look = Look {
                    at,
                    root: self.root(),
                    prefix: &prefix,
                };
                let (objects, strays) = look.all().await?;
                Ok(Listing {
                    objects,
                    server_time,
                    strays,
                })
            };
            let listed = self.over(look).await;
            listed.map_err(|failure| self.failed(Doing::List, &prefix, failure))
        })
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        let key = key.clone();
        Box::pin(async move {
            let remove = async |at: &Connection| {
                let mut fs = at.sftp.fs();
                match answered(fs.remove_file(self.path(&key))).await {
                    Err(failure) if failure.kind == Kind::NotFound => Ok(()),
                    removed => removed,
                }
            };
            let removed = self.over(remove).await;
            removed.map_err(|failure| self.failed(Doing::Delete, &key, failure))
        })
    }
}

async fn name(fs: &mut Fs, from: &str, to: &str, how: Put) -> Result<(), Failure> {
    match how {
        Put::New => answered(fs.hard_link(from, to)).await,
        Put::Replace => answered(fs.rename(from, to)).await,
    }
}

/// Makes the folder and what is missing above it.
async fn make_folder(fs: &mut Fs, folder: &str) -> Result<(), Failure> {
    let mut missing = vec![folder];
    while let Some(folder) = missing.pop() {
        let made = answered(
            fs.dir_builder()
                .permissions(FOLDER_MODE.into())
                .create(folder),
        )
        .await;
        match made {
            Err(failure) if failure.kind == Kind::NotFound && !above(folder).is_empty() => {
                missing.extend([folder, above(folder)]);
            }
            // The protocol has no word for "it is there".
            Err(failure) if failure.kind == Kind::Other => {
                match answered(fs.metadata(folder)).await {
                    Ok(meta) if meta.file_type().is_some_and(|kind| kind.is_dir()) => {}
                    Ok(_) => return Err(listing::no_directory(folder)),
                    Err(_) => return Err(failure),
                }
            }
            made => made?,
        }
    }
    Ok(())
}

fn is_file(meta: &MetaData) -> bool {
    meta.file_type().is_some_and(|kind| kind.is_file())
}

/// The folder that a path lies in; nothing for one that lies in none.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}
