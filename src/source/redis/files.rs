//! Reads the server's files: here, or on the far side of `via` by `cat` and the like. Writes nothing
//! there. What was opened stays what it was when the server replaces or deletes it.

use crate::source::program::{Program, ProgramStream};
use crate::source::redis::error::RedisError;
use crate::source::redis::server::ANSWER_LIMIT;
use crate::source::redis::stop::Stop;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A shell on the far side holds each file open under a number of one digit, from this one on.
const FIRST_NUMBER: usize = 3;
/// So many files can be held there.
const FAR_FILES_MAX: usize = 10 - FIRST_NUMBER;
/// No manifest is longer.
const MANIFEST_LEN_MAX_BYTES: u64 = 1 << 20;

/// Opens one file to read it once, from beginning to end.
pub(crate) fn open(
    via: &[String],
    path: &Path,
    stop: &Stop,
) -> Result<Box<dyn Read + Send>, RedisError> {
    if via.is_empty() {
        let file = File::open(path).map_err(|cause| failed(path, cause))?;
        return Ok(Box::new(file));
    }
    let cat = Program::new("cat").via(via).arg("--").arg(path);
    let (stream, killer) = cat.stream().map_err(RedisError::Cli)?;
    stop.on_give_up(move || killer.kill());
    Ok(Box::new(stream.silent_at_most(ANSWER_LIMIT)))
}

/// The text of a small file; `None` when there is none.
pub(crate) fn text(via: &[String], path: &Path, stop: &Stop) -> Result<Option<String>, RedisError> {
    if via.is_empty() {
        return match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(text)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed(path, cause)),
        };
    }
    let mut text = String::new();
    let file = open(via, path, stop)?;
    let read = file.take(MANIFEST_LEN_MAX_BYTES).read_to_string(&mut text);
    read.map_err(|cause| failed(path, cause))?;
    Ok(Some(text))
}

fn failed(path: &Path, cause: io::Error) -> RedisError {
    RedisError::File {
        path: path.to_path_buf(),
        cause,
    }
}

/// Files of one directory, opened together, and how long each was then.
pub(crate) struct Opened {
    files: Vec<(String, u64, Source)>,
}

enum Source {
    Here(Arc<File>),
    Far(Arc<Mutex<FarStream>>),
}

/// Opens `names`, which are sorted, in `folder`. `is_current` gets the text of the file `manifest`, read
/// when all were open; `None` is returned when it says no, or when a file could not be opened and it says
/// no since.
pub(crate) fn open_together(
    via: &[String],
    folder: &Path,
    names: &[String],
    manifest: Option<&str>,
    is_current: impl Fn(&str) -> bool,
    stop: &Stop,
) -> Result<Option<Opened>, RedisError> {
    let opened = match via {
        [] => open_here(folder, names, manifest, &is_current, stop),
        _ => open_far(via, folder, names, manifest, &is_current, stop),
    };
    // A rewrite takes files away, but only after a manifest that no longer names them is in place.
    let (Err(_), Some(manifest)) = (&opened, manifest) else {
        return opened;
    };
    match text(via, &folder.join(manifest), stop) {
        Ok(Some(text)) if !is_current(&text) => Ok(None),
        _ => opened,
    }
}

fn open_here(
    folder: &Path,
    names: &[String],
    manifest: Option<&str>,
    is_current: impl Fn(&str) -> bool,
    stop: &Stop,
) -> Result<Option<Opened>, RedisError> {
    let mut files = Vec::new();
    for name in names {
        let path = folder.join(name);
        let file = File::open(&path).map_err(|cause| failed(&path, cause))?;
        files.push((name, file));
    }
    if let Some(manifest) = manifest {
        let text = text(&[], &folder.join(manifest), stop)?;
        if !text.is_some_and(|text| is_current(&text)) {
            return Ok(None);
        }
    }
    let with_len = |(name, file): (&String, File)| {
        let len = file
            .metadata()
            .map_err(|cause| failed(&folder.join(name), cause))?
            .len();
        Ok((name.clone(), len, Source::Here(Arc::new(file))))
    };
    let files = files
        .into_iter()
        .map(with_len)
        .collect::<Result<_, RedisError>>()?;
    Ok(Some(Opened { files }))
}

impl Opened {
    /// Each file, in order: its name, and how to read it. Those of the far side come in one stream: they
    /// must be read to their ends, in this order.
    pub(crate) fn into_files(self) -> impl Iterator<Item = (String, OpenedFile)> {
        let last = self.files.len().saturating_sub(1);
        self.files
            .into_iter()
            .enumerate()
            .map(move |(index, (name, len, source))| {
                let is_last = index == last;
                (
                    name,
                    OpenedFile {
                        source,
                        len,
                        is_last,
                    },
                )
            })
    }
}

/// One of them.
pub(crate) struct OpenedFile {
    source: Source,
    len: u64,
    is_last: bool,
}

impl OpenedFile {
    /// Its bytes, as many as there were when it was opened.
    pub(crate) fn read(&self) -> Box<dyn Read + Send> {
        match &self.source {
            Source::Here(file) => Box::new(Section {
                file: file.clone(),
                at: 0,
                end: self.len,
            }),
            Source::Far(stream) => Box::new(Portion {
                stream: stream.clone(),
                left: self.len,
                is_last: self.is_last,
            }),
        }
    }

    /// Whether [`OpenedFile::read`] can be called again.
    pub(crate) fn can_be_read_again(&self) -> bool {
        matches!(self.source, Source::Here(_))
    }
}

/// The first bytes of a file that may grow.
struct Section {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Section {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let len = (to.len() as u64).min(self.end - self.at) as usize;
        let read = self.file.read_at(&mut to[..len], self.at)?;
        if read == 0 && len > 0 {
            return Err(shorter());
        }
        self.at += read as u64;
        Ok(read)
    }
}

fn shorter() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "it became shorter while it was read",
    )
}

type FarStream = BufReader<ProgramStream>;

/// One file of the far side's stream.
struct Portion {
    stream: Arc<Mutex<FarStream>>,
    left: u64,
    is_last: bool,
}

impl Read for Portion {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let len = (to.len() as u64).min(self.left) as usize;
        if len == 0 {
            // Only the end of the whole stream proves that the far side did all that it was asked for.
            if self.is_last && !to.is_empty() && stream.read(&mut [0])? > 0 {
                return Err(io::Error::other("the far side sent more than it said"));
            }
            return Ok(0);
        }
        let read = stream.read(&mut to[..len])?;
        if read == 0 {
            return Err(shorter());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// One shell on the far side opens all files, says how long they are and what the manifest says then, and
/// prints one after the other.
fn open_far(
    via: &[String],
    folder: &Path,
    names: &[String],
    manifest: Option<&str>,
    is_current: impl Fn(&str) -> bool,
    stop: &Stop,
) -> Result<Option<Opened>, RedisError> {
    let far = |cause| failed(folder, cause);
    if names.len() > FAR_FILES_MAX {
        let why = format!(
            "it has {} files; BGREWRITEAOF makes two of them",
            names.len()
        );
        return Err(far(io::Error::other(why)));
    }
    let shell = Program::new("sh")
        .via(via)
        .args(["-c", &script(names.len()), "sh"]);
    let shell = shell
        .arg(folder)
        .args(names)
        .arg(manifest.unwrap_or("/dev/null"));
    let (stream, killer) = shell.stream().map_err(RedisError::Cli)?;
    stop.on_give_up(move || killer.kill());
    let mut stream = BufReader::new(stream.silent_at_most(ANSWER_LIMIT));
    let mut lens = Vec::new();
    for _ in names {
        let line = line(&mut stream).map_err(far)?;
        let len = line
            .trim()
            .parse()
            .map_err(|_| far(io::Error::other("its length is no number")))?;
        lens.push(len);
    }
    let mut text = String::new();
    loop {
        let line = line(&mut stream).map_err(far)?;
        if line == ".\n" {
            break;
        }
        text.push_str(&line);
    }
    if manifest.is_some() && !is_current(&text) {
        return Ok(None);
    }
    let stream = Arc::new(Mutex::new(stream));
    let files = names.iter().zip(lens);
    let files = files.map(|(name, len)| (name.clone(), len, Source::Far(stream.clone())));
    Ok(Some(Opened {
        files: files.collect(),
    }))
}

fn line(stream: &mut FarStream) -> io::Result<String> {
    let mut line = String::new();
    stream.take(MANIFEST_LEN_MAX_BYTES).read_line(&mut line)?;
    match line.ends_with('\n') {
        true => Ok(line),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// `$1` is the directory, then come the files, then the manifest.
fn script(count: usize) -> String {
    let numbers = || (0..count).map(|index| (FIRST_NUMBER + index, index + 2));
    let mut script = "cd \"$1\"".to_owned();
    // Writing into a string has no way to fail.
    let _ = script.write_str(" && exec");
    for (number, argument) in numbers() {
        let _ = write!(script, " {number}<\"${argument}\"");
    }
    // Of what is open: what has the name by now may be another file. `wc` of some systems reads all of it.
    for (number, _) in numbers() {
        let open = format!("/proc/self/fd/{number}");
        let _ = write!(
            script,
            " && n{number}=$(stat -L -c %s {open} 2>/dev/null || wc -c <{open}) && echo \"$n{number}\""
        );
    }
    let _ = write!(script, " && cat \"${{{}}}\" && echo .", count + 2);
    for (number, _) in numbers() {
        let _ = write!(script, " && head -c \"$n{number}\" <&{number}");
    }
    script
}
