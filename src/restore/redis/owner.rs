//! Whether a server owns a data directory right now. Redis works in its data directory, so that it is seen
//! even when it has no file open there.

use crate::restore::redis::put::UNFINISHED;
use crate::source::processes;
use crate::source::redis::{RedisError, Target};
use std::path::{Path, PathBuf};

/// A process that uses the target.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` is in use by process {process} (`{name}`){}: stop that server first; it would overwrite what is restored",
    target.display(), file(.open)
)]
pub struct InUse {
    /// The directory.
    pub target: PathBuf,
    /// Number of the process.
    pub process: i32,
    /// Its name.
    pub name: String,
    /// What it has open.
    pub open: Option<PathBuf>,
}

fn file(open: &Option<PathBuf>) -> String {
    match open {
        Some(path) => format!(", which has `{}` open", path.display()),
        None => String::new(),
    }
}

/// Shells and the like that only happen to be in the directory.
const HARMLESS: [&str; 6] = ["bash", "sh", "dash", "zsh", "fish", "ccb"];

/// An error while a process of this machine uses `target`. A directory that is not there is used by none.
pub fn in_use(target: &Path) -> Result<(), InUse> {
    // Where processes can not be looked at, the server's own answer is what is left to go by.
    let users = processes::using(target).unwrap_or_default();
    let own = std::process::id() as i32;
    let unfinished = target.canonicalize().unwrap_or_default().join(UNFINISHED);
    let owner = users.into_iter().find(|user| {
        let is_harmless = user.open.is_none() && HARMLESS.contains(&user.name.as_str());
        let is_this_restore = |open: &PathBuf| user.id == own && open.starts_with(&unfinished);
        !is_harmless && !user.open.as_ref().is_some_and(is_this_restore)
    });
    match owner {
        None => Ok(()),
        Some(user) => Err(InUse {
            target: target.to_path_buf(),
            process: user.id,
            name: user.name,
            open: user.open,
        }),
    }
}

/// Whether the server at a URL runs and owns `target`: by its own word, or because the plan file says that
/// this is where its files lie. Gives back where it answers.
pub fn answers(server: &Target, target: &Path, is_its_data_dir: bool) -> Option<String> {
    let place = server.to_string();
    let mut connected = match server.connect() {
        Ok(connected) => connected,
        // Whoever refuses a password is running.
        Err(RedisError::Connect { cause, .. }) if is_its_data_dir => {
            let refused = cause.kind() == redis::ErrorKind::AuthenticationFailed;
            return refused.then_some(place);
        }
        Err(_) => return None,
    };
    // `redis-cli` connects only now.
    let dir = match connected.config("dir") {
        Err(RedisError::Cli(_) | RedisError::Ask { .. }) => return None,
        dir => dir.ok().flatten(),
    };
    let same = |dir: &str| {
        let canonical = |path: &Path| path.canonicalize().ok();
        canonical(Path::new(dir)).is_some_and(|dir| Some(dir) == canonical(target))
    };
    let is_here = server.is_on_this_machine() && dir.is_some_and(|dir| same(&dir));
    (is_here || is_its_data_dir).then_some(place)
}
