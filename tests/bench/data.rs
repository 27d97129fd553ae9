//! Data that is the same at every run: media, many small files, text; and the changes of the rounds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Large files that do not compress.
    Media,
    /// Small files in many directories.
    Small,
    /// Text of which 30 % is there twice.
    Text,
}

impl Kind {
    /// What rows call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Small => "small",
            Self::Text => "text",
        }
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Regular files.
    pub files: u64,
    /// Average length of one.
    pub len: u64,
}

/// A generator of numbers that look random: SplitMix64.
pub struct Numbers(u64);

impl Numbers {
    /// The same seed, the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Bytes that do not compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = (0..len.div_ceil(8)).map(|_| self.next().to_le_bytes());
        let mut bytes = words.flatten().collect::<Vec<u8>>();
        bytes.truncate(len);
        bytes
    }
}

/// Files of one directory.
const PER_DIRECTORY: u64 = 100;
/// Text is made of pieces of this length; a repeated piece starts anywhere.
const PIECE: usize = 512 << 10;

/// Makes the data below `root`. Gives its length in bytes.
pub fn make(kind: Kind, size: Size, root: &Path) -> io::Result<u64> {
    let mut numbers = Numbers::new(kind as u64 + 1);
    let mut pieces = Vec::new();
    let mut total = 0;
    for number in 0..size.files {
        let path = path_of(root, "a", number);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        total += write(kind, size, &path, &mut numbers, &mut pieces)?;
    }
    Ok(total)
}

/// `root/d00042/f00004217`.
fn path_of(root: &Path, prefix: &str, number: u64) -> PathBuf {
    let directory = root.join(format!("{prefix}{:05}", number / PER_DIRECTORY));
    directory.join(format!("f{number:08}"))
}

fn write(
    kind: Kind,
    size: Size,
    path: &Path,
    numbers: &mut Numbers,
    pieces: &mut Vec<Vec<u8>>,
) -> io::Result<u64> {
    let mut file = BufWriter::new(File::create(path)?);
    // From a half to one and a half times the average.
    let len = size.len / 2 + numbers.below(size.len);
    let mut left = len as usize;
    while left > 0 {
        let bytes = match kind {
            Kind::Media => numbers.bytes(left.min(1 << 20)),
            Kind::Small => words(numbers, left.min(1 << 20)),
            Kind::Text => piece(numbers, pieces, left.min(PIECE)),
        };
        file.write_all(&bytes)?;
        left -= bytes.len();
    }
    file.flush()?;
    Ok(len)
}

fn piece(numbers: &mut Numbers, pieces: &mut Vec<Vec<u8>>, len: usize) -> Vec<u8> {
    if pieces.len() > 4 && numbers.below(10) < 3 {
        let old = &pieces[numbers.below(pieces.len() as u64) as usize];
        return old[..old.len().min(len)].to_vec();
    }
    let new = words(numbers, len);
    // What can be repeated is bounded, for memory's sake.
    let slot = numbers.below(256) as usize;
    match pieces.get_mut(slot) {
        Some(old) => old.clone_from(&new),
        None => pieces.push(new.clone()),
    }
    new
}

/// Lines of words and numbers, which compress as sources and logs do.
pub fn words(numbers: &mut Numbers, len: usize) -> Vec<u8> {
    const SYLLABLES: [&str; 16] = [
        "ba", "con", "de", "er", "fil", "get", "in", "ket", "lo", "mut", "new", "out", "put",
        "ref", "str", "ty",
    ];
    let mut text = Vec::with_capacity(len + 32);
    while text.len() < len {
        let number = numbers.next();
        // Frequent words are short and few.
        let syllables = 1 + (number & 3).min((number >> 2) & 3);
        for part in 0..syllables {
            let at = (number >> (8 + 4 * part)) & 15;
            text.extend_from_slice(SYLLABLES[at as usize].as_bytes());
        }
        match number >> 60 {
            0 => text.extend_from_slice(format!(" = {};\n", number >> 40 & 0xffff).as_bytes()),
            1 => text.extend_from_slice(b"(\n    "),
            _ => text.push(b' '),
        }
    }
    text.truncate(len);
    text
}

/// Overwrites 1 %: every hundredth small file, a hundredth of the bytes of large ones, in 64 KiB pieces.
pub fn change(kind: Kind, size: Size, root: &Path, round: u64) -> io::Result<()> {
    let mut numbers = Numbers::new(1000 + round);
    if kind == Kind::Small {
        for number in (round..size.files).step_by(100) {
            let len = size.len / 2 + numbers.below(size.len);
            fs::write(
                path_of(root, "a", number),
                words(&mut numbers, len as usize),
            )?;
        }
        return Ok(());
    }
    let piece = 64 << 10;
    for _ in 0..(size.files * size.len / 100 / piece).max(1) {
        let path = path_of(root, "a", numbers.below(size.files));
        let file = OpenOptions::new().write(true).open(path)?;
        let end = file.metadata()?.len().saturating_sub(piece);
        let bytes = match kind {
            Kind::Media => numbers.bytes(piece as usize),
            _ => words(&mut numbers, piece as usize),
        };
        file.write_all_at(&bytes, numbers.below(end))?;
    }
    Ok(())
}

/// Adds 5 % new files.
pub fn add(kind: Kind, size: Size, root: &Path, round: u64) -> io::Result<()> {
    let mut numbers = Numbers::new(2000 + round);
    for number in 0..(size.files / 20).max(1) {
        let path = path_of(root, "new", number);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        write(kind, size, &path, &mut numbers, &mut Vec::new())?;
    }
    Ok(())
}

/// Renames the first directory.
pub fn rename(root: &Path) -> io::Result<()> {
    fs::rename(root.join("a00000"), root.join("renamed"))
}

/// Takes [`add`] and [`rename`] back, for the next round.
pub fn reset(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("new") {
            fs::remove_dir_all(&path)?;
        } else if name == "renamed" {
            fs::rename(&path, root.join("a00000"))?;
        }
    }
    Ok(())
}

/// Length of all files below `root`.
pub fn len_of(root: &Path) -> io::Result<u64> {
    let meta = fs::symlink_metadata(root)?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut len = 0;
    for entry in fs::read_dir(root)? {
        len += len_of(&entry?.path())?;
    }
    Ok(len)
}
