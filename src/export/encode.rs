//! Writes a backup in one of the formats. The same backup under the same seed gives the same bytes, so that an
//! export that was begun before is known again.

use crate::export::openssl::Derivation;
use crate::export::payload::Payload;
use crate::export::{ExportError, archive, gpg, openssl};
use crate::model::ids::BackupId;
use crate::model::secret::Secret;
use crate::model::strategy::{Export, ExportKind};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Read, Write};

/// What of a format is not the same for every export.
pub enum Recipe {
    /// The only file as it is; several as a tar archive.
    Plain,
    /// All files, as a tar archive that gzip compressed.
    Tar,
    /// The only file, or several as a `.tar.gz`, encrypted as `openssl enc` does.
    Openssl(Secret, Derivation),
    /// The same, encrypted as `gpg --symmetric` does.
    Gpg(Secret),
}

/// What salts are made of. It needs no secrecy, and must be another for everything that is encrypted.
pub struct Seed([u8; 32]);

impl Seed {
    /// Of the export of one backup under one key: nothing else is ever encrypted with it.
    pub fn of(backup: &BackupId, key: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ccb export salt");
        hasher.update(&backup.0).update(key.as_bytes());
        Self(*hasher.finalize().as_bytes())
    }

    /// Of random bytes.
    pub fn random(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    fn part<const N: usize>(&self, from: usize) -> [u8; N] {
        std::array::from_fn(|at| self.0[from + at])
    }
}

impl Recipe {
    /// As the plan file says; `key` reads the passphrase where one is needed.
    pub fn of(export: &Export, key: Option<Secret>) -> Result<Self, ExportError> {
        let missing = || ExportError::NoKey(export.kind.as_str());
        Ok(match export.kind {
            ExportKind::Plain => Self::Plain,
            ExportKind::Tar => Self::Tar,
            ExportKind::Gpg => Self::Gpg(key.ok_or_else(missing)?),
            ExportKind::Openssl => Self::Openssl(
                key.ok_or_else(missing)?,
                Derivation::of(export.pbkdf2_iterations),
            ),
        })
    }

    /// Writes `payload` to `to`. Not for a thread that runs tasks: it waits.
    pub fn write(&self, payload: Payload, seed: &Seed, to: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Plain => match payload {
                Payload::One(file) => copy(file, to),
                Payload::Many(entries) => archive::write(entries, to).map(|_| ()),
            },
            Self::Tar => compressed(payload, to),
            Self::Openssl(passphrase, how) => {
                let mut sealed = openssl::Encrypt::new(to, passphrase, *how, seed.part(0))?;
                inner(payload, &mut sealed)?;
                sealed.finish().map(|_| ())
            }
            Self::Gpg(passphrase) => {
                let fresh = gpg::Fresh {
                    salt: seed.part(0),
                    prefix: seed.part(8),
                };
                let mut sealed = gpg::Encrypt::new(to, passphrase, fresh)?;
                inner(payload, &mut sealed)?;
                sealed.finish().map(|_| ())
            }
        }
    }

    /// Whether all files are wanted, also where there is one that the backup is about.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Tar)
    }
}

fn inner(payload: Payload, to: &mut impl Write) -> io::Result<()> {
    match payload {
        Payload::One(file) => copy(file, to),
        several => compressed(several, to),
    }
}

fn compressed(payload: Payload, to: impl Write) -> io::Result<()> {
    // The fastest level: an export is written besides a backup, and must not be what the run waits for.
    let mut compressed = GzEncoder::new(to, Compression::fast());
    match payload {
        Payload::One(file) => copy(file, &mut compressed)?,
        Payload::Many(entries) => archive::write(entries, &mut compressed)?,
    }
    compressed.finish().map(|_| ())
}

fn copy(mut from: impl Read, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            len => to.write_all(&buffer[..len])?,
        }
    }
}
