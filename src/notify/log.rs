//! The log of runs: lines of JSON, appended as things happen. Several runs may write to one log; lines that
//! are too old are dropped when a run begins, without losing one that another run writes meanwhile.

use jiff::Timestamp;
use serde::Deserialize;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// For how long a lock is waited for: it is held for one line.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Appends whole lines.
pub fn append(path: &Path, lines: &str) -> io::Result<()> {
    locked(path)?.write_all(lines.as_bytes())
}

/// Drops the lines from before `oldest` at the log's beginning.
pub fn trim(path: &Path, oldest: Timestamp) -> io::Result<()> {
    // A pipe or a device keeps nothing.
    if !fs::metadata(path).is_ok_and(|it| it.is_file()) {
        return Ok(());
    }
    // Held until the new file has its name: who waits for it finds that it has another, and opens that.
    let _held = locked(path)?;
    let bytes = fs::read(path)?;
    let kept = start_of_kept(&bytes, oldest);
    if kept == 0 {
        return Ok(());
    }
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let mut fresh = tempfile::Builder::new()
        .permissions(fs::metadata(path)?.permissions())
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    fresh.write_all(&bytes[kept..])?;
    fresh.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Where the first line begins that is young enough, or does not say when it was written.
fn start_of_kept(bytes: &[u8], oldest: Timestamp) -> usize {
    #[derive(Deserialize)]
    struct Dated {
        at: Timestamp,
    }
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Dated>(line) {
            Ok(dated) if dated.at < oldest => start += line.len(),
            _ => break,
        }
    }
    start
}

/// The log, open for appending, and locked against others. Made with its folder when it is missing.
fn locked(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    loop {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o640)
            // A pipe that nobody reads must not hold a run up.
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path)?;
        lock(&file)?;
        // Replaced while the lock was waited for: the other file counts.
        match fs::metadata(path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(file),
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
}

fn lock(file: &File) -> io::Result<()> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process keeps it locked",
    ))
}
