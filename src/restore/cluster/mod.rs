//! Makes a data directory of a base backup that recovers by itself when it is started: to a moment, or as far
//! as its WAL goes. Writes into an empty directory only, and what makes it a database comes last, so that
//! one that was interrupted does not start. Never archives: a copy must not write into the original's archive.

mod settings;

pub use settings::{Recovery, Until, command_line, settings};

use crate::model::ids::BlobId;
use crate::model::tree::{Content, Node, Problem};
use crate::repository::RepositoryError;
use crate::restore::files::{
    self, Overwrite, OwnersBy, Report, RestoreError, Sameness, restore as restore_files,
};
use crate::restore::{Contents, Sink, Unread};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Without it no server starts.
const CONTROL: &str = "global/pg_control";
const CONTROL_NAME: &[u8] = b"pg_control";

/// Why no data directory was made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ClusterError {
    #[error(
        "`{}` is not empty: a server's files are restored into a new directory, never among others; choose another, or move away what is there", .0.display()
    )]
    NotEmpty(PathBuf),
    #[error("{doing} `{}`", .path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error("{count} files were not restored, so that the directory is of no use; the first")]
    Problems {
        count: u64,
        #[source]
        first: Problem,
    },
}

/// Restores the base backup under `root` into `target`, which `recovery` then leads on from.
pub async fn restore(
    contents: &dyn Contents,
    root: &Node,
    target: &Path,
    recovery: &str,
) -> Result<Report, ClusterError> {
    check_empty(target)?;
    let mut report = restore_base(contents, root, target).await?;
    set_up(target, recovery).map_err(|(doing, path, cause)| ClusterError::Io {
        doing,
        path,
        cause,
    })?;
    let last = restore_control(contents, root, target).await?;
    report.files += last.files;
    report.bytes += last.bytes;
    Ok(report)
}

/// Restores all but what makes it a database.
async fn restore_base(
    contents: &dyn Contents,
    root: &Node,
    target: &Path,
) -> Result<Report, ClusterError> {
    let without = WithoutControl(contents);
    whole(restore_files(&without, root, &request(target, &[]), &mut |_, _| {}).await?)
}

async fn restore_control(
    contents: &dyn Contents,
    root: &Node,
    target: &Path,
) -> Result<Report, ClusterError> {
    let request = request(target, &[CONTROL.as_bytes()]);
    let report = whole(restore_files(contents, root, &request, &mut |_, _| {}).await?)?;
    let failed = |cause| ClusterError::Io {
        doing: "give its owner the directory",
        path: target.to_path_buf(),
        cause,
    };
    give(target, &target.join(CONTROL)).map_err(failed)?;
    Ok(report)
}

/// A server runs only in a directory of its own user's that nobody else can write to.
fn give(target: &Path, like: &Path) -> io::Result<()> {
    fs::set_permissions(target, Permissions::from_mode(0o700))?;
    let owner = fs::metadata(like)?;
    let made = fs::metadata(target)?;
    match (owner.uid(), owner.gid()) == (made.uid(), made.gid()) {
        true => Ok(()),
        false => chown(target, Some(owner.uid()), Some(owner.gid())),
    }
}

fn request(target: &Path, paths: &[&[u8]]) -> files::Request {
    files::Request {
        target: target.to_path_buf(),
        paths: paths.iter().map(|path| path.to_vec()).collect(),
        overwrite: Overwrite::Never,
        sameness: Sameness::Content,
        // The server's user has another number on another machine.
        owners: OwnersBy::Name,
        dry_run: false,
    }
}

fn whole(mut report: Report) -> Result<Report, ClusterError> {
    let count = report.problem_count;
    let first = report.problems.drain(..).next();
    match first {
        None => Ok(report),
        Some(first) => Err(ClusterError::Problems { count, first }),
    }
}

fn check_empty(target: &Path) -> Result<(), ClusterError> {
    let failed = |cause| ClusterError::Io {
        doing: "look into",
        path: target.to_path_buf(),
        cause,
    };
    match fs::read_dir(target) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(failed(e)),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(Err(e)) => Err(failed(e)),
            Some(Ok(_)) => Err(ClusterError::NotEmpty(target.to_path_buf())),
        },
    }
}

type SetUp = (&'static str, PathBuf, io::Error);

/// What tells the server to recover, and how.
fn set_up(target: &Path, recovery: &str) -> Result<(), SetUp> {
    // A base of a standby says that it is one, which would count more.
    let standby = target.join("standby.signal");
    match fs::remove_file(&standby) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(("remove", standby, e)),
        _ => {}
    }
    let like = target.join("PG_VERSION");
    let signal = target.join("recovery.signal");
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |cause| ("write", path, cause)
    };
    private(&signal)
        .and_then(|_| own(&signal, &like))
        .map_err(failed(&signal))?;
    let settings = target.join("postgresql.auto.conf");
    private(&settings)
        .and_then(|mut file| file.write_all(recovery.as_bytes()))
        .and_then(|()| own(&settings, &like))
        .map_err(failed(&settings))
}

/// A file that is added to, made for its owner only.
fn private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

/// Gives a file the owner of another.
fn own(path: &Path, like: &Path) -> io::Result<()> {
    let (owner, made) = (fs::metadata(like)?, fs::metadata(path)?);
    match (owner.uid(), owner.gid()) == (made.uid(), made.gid()) {
        true => Ok(()),
        false => chown(path, Some(owner.uid()), Some(owner.gid())),
    }
}

/// A backup without its control file.
struct WithoutControl<'a>(&'a dyn Contents);

impl Contents for WithoutControl<'_> {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        async move {
            let mut entries = self.0.entries(tree).await?;
            entries.retain(|entry| entry.name != CONTROL_NAME);
            Ok(entries)
        }
        .boxed()
    }

    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        self.0.blobs(content)
    }

    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        self.0.read(ids, sink)
    }

    fn id_of(&self, data: &[u8]) -> BlobId {
        self.0.id_of(data)
    }
}
