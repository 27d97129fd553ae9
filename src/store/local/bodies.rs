//! Gets bodies into files. Long ones go past the page cache, where the file system can: what a backup writes is
//! not read again soon, copying it there costs a third of the CPU time of a backup of media, and it would push
//! out what other programs have there. Those that somebody waits for go through it, part by part while they are
//! made. Never decides when bytes are durable: whoever calls it syncs the file.

use crate::store::Parts;
use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};
use std::fs::File;
use std::io::{self, Write};

/// Shorter bodies are index segments, manifests and the trees of small backups: those are read again.
const LEN_MIN_BYTES: usize = 8 << 20;
/// Blocks of all devices divide this; addresses, offsets and lengths must be multiples of a block.
const ALIGNMENT: usize = 4096;
/// Copied at a time, to an aligned buffer: short enough to stay in the processor's cache.
const STEP_BYTES: usize = 1 << 20;

/// Writes all of `body` to `file`, which is empty.
pub(super) fn write_all(file: &mut File, body: &[u8]) -> io::Result<()> {
    let written = match body.len() < LEN_MIN_BYTES {
        true => 0,
        false => write_blocks(file, body)?,
    };
    file.write_all(&body[written..])
}

/// Writes parts as they come, and has each on its way to the disk while the next one is made: there is less to
/// wait for at the end.
pub(super) fn write_parts(file: &mut File, parts: Parts) -> io::Result<()> {
    let mut len = 0;
    for part in parts {
        let part = part?;
        file.write_all(&part)?;
        // A file system that knows no advice writes when it is synced.
        let _ = fadvise(&*file, len, None, Advice::DontNeed);
        len += part.len() as u64;
    }
    Ok(())
}

/// Writes whole blocks directly, as many as there are or the file system takes. Leaves the file as it was opened.
fn write_blocks(file: &mut File, body: &[u8]) -> io::Result<usize> {
    let flags = fcntl_getfl(&*file)?;
    if fcntl_setfl(&*file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let mut buffer = vec![0; STEP_BYTES + ALIGNMENT];
    let start = buffer.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
    let mut written = 0;
    while body.len() - written >= ALIGNMENT {
        let len = (body.len() - written).min(STEP_BYTES) / ALIGNMENT * ALIGNMENT;
        let step = &mut buffer[start..start + len];
        step.copy_from_slice(&body[written..written + len]);
        match file.write(step) {
            Ok(done) if done % ALIGNMENT == 0 && done > 0 => written += done,
            // Part of a block, or "invalid" from a file system that only seemed to know the flag: the rest
            // goes the usual way, from where the file is now.
            Ok(done) => {
                written += done;
                break;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => break,
            Err(e) => return Err(e),
        }
    }
    fcntl_setfl(&*file, flags)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use crate::store::local::bodies::{ALIGNMENT, LEN_MIN_BYTES, STEP_BYTES, write_all};
    use std::fs::{self, File};

    #[test]
    fn every_byte_arrives_whatever_the_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let lens = [
            0,
            1,
            LEN_MIN_BYTES - 1,
            LEN_MIN_BYTES,
            LEN_MIN_BYTES + 1,
            LEN_MIN_BYTES + ALIGNMENT,
            LEN_MIN_BYTES + STEP_BYTES + ALIGNMENT - 1,
        ];
        for len in lens {
            let mut body = vec![0; len];
            blake3::Hasher::new().finalize_xof().fill(&mut body);
            let mut file = File::create(&path).unwrap();
            write_all(&mut file, &body).unwrap();
            assert!(fs::read(&path).unwrap() == body, "{len} bytes");
        }
    }
}
