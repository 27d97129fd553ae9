//! Where an export waits until it is whole: a private file without a name, gone with its last holder, whose
//! bytes are handed on without being in memory all at once.

use crate::export::{ExportError, Payload, Recipe, Seed};
use crate::model::ids::Digest;
use bytes::Bytes;
use memmap2::Mmap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// An export on its way.
pub struct Spool {
    file: File,
    len: u64,
    digest: Digest,
}

impl Spool {
    /// Makes a file in `folder`, and lets `write` fill it.
    pub fn fill(
        folder: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let mut out = Digesting {
            file: BufWriter::with_capacity(1 << 18, tempfile::tempfile_in(folder)?),
            hasher: blake3::Hasher::new(),
            len: 0,
        };
        write(&mut out)?;
        Ok(Self {
            file: out.file.into_inner().map_err(|e| e.into_error())?,
            len: out.len,
            digest: Digest(*out.hasher.finalize().as_bytes()),
        })
    }

    /// The whole of `payload`, in a file in `folder`. Must be called within the runtime.
    pub async fn of(
        payload: Payload,
        recipe: Recipe,
        seed: Seed,
        folder: PathBuf,
    ) -> Result<Self, ExportError> {
        let write = move || {
            let filled = Self::fill(&folder, |to| recipe.write(payload, &seed, to));
            filled.map_err(|cause| ExportError::of(cause, &folder))
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.map_err(|e| ExportError::Crashed(e.to_string()))?
    }

    /// How long it is.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// BLAKE3 of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its bytes, read when they are looked at.
    #[allow(unsafe_code)]
    pub fn bytes(&self) -> io::Result<Bytes> {
        if self.len == 0 {
            return Ok(Bytes::new());
        }
        // SAFETY: the file has no name and was never handed on, so that nothing shortens or changes it while
        // it is mapped; nobody writes to it after `fill`.
        let map = unsafe { Mmap::map(&self.file) }?;
        Ok(Bytes::from_owner(map))
    }
}

struct Digesting {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    len: u64,
}

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
