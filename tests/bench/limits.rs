//! What the machine allows: media into a store that keeps no pack, beside nothing but what must be done with them, and
//! text beside nothing but zstd over the same chunks. Each runs in a process of its own, so that what it takes is all
//! that it takes.

use crate::Options;
use crate::data::{self, Kind};
use crate::inventory::{draft, surroundings};
use crate::measure::{self, Figures, median};
use crate::rounds::size;
use crate::tools::{Operation, Tool};
use bytes::Bytes;
use ccb::model::strategy::{FilesSource, Kdf, Symlinks};
use ccb::repository::format::chunk::{Chunker, Profile};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::{Keyring, Secret};
use ccb::repository::{Commit, Creation, NewSlot, Repository};
use ccb::source::files::{Request, walk};
use ccb::store::memory::Memory;
use ccb::store::{Backend, Key, Listing, Put, Store, StoreError};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What `--only` calls it.
pub const NAME: &str = "limits";
/// The level at which files are compressed while the CPU is what is waited for.
const LEVEL: i32 = 1;

/// Measures both and prints a table.
pub fn run(options: &Options, dir: &Path) -> io::Result<()> {
    let (media, text) = (dir.join("media"), dir.join("text"));
    let media_len = data::make(Kind::Media, size(Kind::Media, options.scale), &media)?;
    data::make(Kind::Text, size(Kind::Text, options.scale), &text)?;
    rustix::fs::sync();
    let own = std::env::current_exe()?.display().to_string();
    let [mut sink, mut parts, mut discarded, mut stored] = [const { Vec::new() }; 4];
    let mut alone = Vec::new();
    for round in 0..options.rounds {
        eprintln!("bench: limits, round {} of {}", round + 1, options.rounds);
        let of = |word: &str, source: &Path| {
            let environment = [
                ("BENCH".to_owned(), own.clone()),
                ("SRC".to_owned(), source.display().to_string()),
            ];
            let script = format!("exec \"$BENCH\" {word} \"$SRC\" -");
            measure::run(&script, &environment, dir)
        };
        sink.push(of(SINK, &media)?);
        parts.push(of(PARTS, &media)?);
        of(ZSTD, &text)?;
        let said = fs::read_to_string(dir.join("output"))?;
        alone.push(said.trim().parse::<f64>().map_err(io::Error::other)?);
        discarded.push(of(SINK, &text)?);
        stored.push(backed_up(options, dir, &text)?);
    }
    let middle = |of: fn(&Figures) -> f64, all: &[Figures]| median(all.iter().map(of).collect());
    let zstd = median(alone);
    let mut table = String::from("| what | wall s / CPU s / peak MiB | |\n|---|---|---|\n");
    let mut row = |name: &str, all: &[Figures], remark: String| {
        let of = |figure| middle(figure, all);
        let _ = writeln!(
            table,
            "| {name} | {:.2} / {:.2} / {:.0} | {remark} |",
            of(|one| one.wall),
            of(|one| one.cpu),
            of(|one| one.peak)
        );
    };
    for (name, all) in [
        ("media, packs discarded", &sink),
        ("media, only read, cut, named, sealed and hashed", &parts),
    ] {
        let speed = media_len as f64 / middle(|one| one.wall, all) / 1e9;
        row(name, all, format!("{speed:.2} GB/s"));
    }
    for (name, all) in [
        ("text, packs discarded", &discarded),
        ("text, `ccb backup`", &stored),
    ] {
        let ratio = middle(|one| one.cpu, all) / zstd;
        let remark = format!("CPU {ratio:.2} x zstd {LEVEL} over the same chunks ({zstd:.2} s)");
        row(name, all, remark);
    }
    println!("{table}");
    Ok(())
}

/// The first backup of `source`, by the program that is measured.
fn backed_up(options: &Options, dir: &Path, source: &Path) -> io::Result<Figures> {
    let place = dir.join("place");
    fs::create_dir_all(&place)?;
    Tool::Ccb.lay_out(&place, source)?;
    let environment = Tool::Ccb.environment(&place, source, &options.ccb)?;
    let scripts = Tool::Ccb.scripts(Operation::Initial).unwrap_or_default();
    let figures = measure::run(scripts.first().unwrap_or(&"true"), &environment, dir)?;
    fs::remove_dir_all(&place)?;
    rustix::fs::sync();
    Ok(figures)
}

const SINK: &str = "to-sink";
const PARTS: &str = "parts-alone";
const ZSTD: &str = "zstd-alone";

/// What a process of its own is asked for by `word`; nothing where it is not a word of this.
pub fn part(word: &str, source: &Path) -> Option<io::Result<()>> {
    match word {
        SINK => Some(to_sink(source)),
        PARTS => Some(parts_alone(source)),
        ZSTD => Some(zstd_alone(source)),
        _ => None,
    }
}

/// Keeps everything but packs.
#[derive(Debug)]
struct Sink(Memory);

impl Backend for Sink {
    fn location(&self) -> String {
        "sink".to_owned()
    }

    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.0.get(key, range)
    }

    fn put(&self, key: &Key, body: Bytes, how: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        match key.as_str().starts_with("packs/") {
            true => Box::pin(async { Ok(()) }),
            false => self.0.put(key, body, how),
        }
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.0.list(prefix)
    }

    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.delete(key)
    }
}

/// Backs `source` up into a store that discards packs, encrypted, as `ccb backup` does.
fn to_sink(source: &Path) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(discard(source));
    done.map_err(|error| io::Error::other(error.to_string()))
}

async fn discard(source: &Path) -> Result<(), Box<dyn Error>> {
    let now = Timestamp::now();
    let secret = Secret::new("5a".repeat(32).into_bytes());
    let creation = Creation {
        cipher: CipherSuite::Aes256Gcm,
        slot: Some(NewSlot {
            name: "main",
            secret: &secret,
            kdf: Kdf::Raw,
        }),
        keyring_of: None,
    };
    let store = Store::new(Arc::new(Sink(Memory::new(now))), 8);
    let surroundings = surroundings(Arc::new(Mutex::new(now)), false);
    let repository = Repository::create(store, &creation, &surroundings).await?;
    let mut session = repository.begin(draft(0, now)?, None).await?;
    let walk = walk(Request {
        spec: FilesSource {
            path: source.display().to_string(),
            subdirectories: Vec::new(),
            exclude: Vec::new(),
            symlinks: Symlinks::Keep,
        },
        root: source.to_owned(),
        previous: None,
        leave_out: Vec::new(),
    })?;
    session.write_tree(Box::new(walk), Arc::new(())).await?;
    session.commit(Commit::default()).await?;
    Ok(())
}

/// Does once with each byte of `source` what no backup gets around, on all cores, with the fastest code that there is
/// for each: a part of a file that the cache holds is read, cut, named, encrypted, and hashed for the name of its pack.
fn parts_alone(source: &Path) -> io::Result<()> {
    let chunker = Chunker::new(&Keyring::public().chunker_key(), Profile::Media);
    let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).map_err(refused)?;
    let key = LessSafeKey::new(key);
    let done = files_below(source)?
        .par_iter()
        .map_init(
            || vec![0; Profile::Media.max_len()],
            |part, path| {
                let mut file = fs::File::open(path)?;
                let mut hasher = blake3::Hasher::new();
                loop {
                    let len = file.read(part)?;
                    let mut rest = &mut part[..len];
                    while !rest.is_empty() {
                        let (chunk, after) = rest.split_at_mut(chunker.cut(rest));
                        let name = blake3::keyed_hash(&[7; 32], chunk);
                        let nonce = Nonce::try_assume_unique_for_key(&name.as_bytes()[..12]);
                        let nonce = nonce.map_err(refused)?;
                        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk);
                        hasher.update(chunk).update(tag.map_err(refused)?.as_ref());
                        rest = after;
                    }
                    if len == 0 {
                        return Ok(hasher.finalize());
                    }
                }
            },
        )
        .collect::<io::Result<Vec<_>>>()?;
    println!("{} files", done.len());
    Ok(())
}

fn refused(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("ring refused")
}

/// Compresses the chunks of `source`, each once, on all cores, and prints what that alone takes: CPU seconds. Reading
/// and cutting come before.
fn zstd_alone(source: &Path) -> io::Result<()> {
    let chunker = Chunker::new(&Keyring::public().chunker_key(), Profile::Files);
    let (mut seen, mut chunks) = (HashSet::new(), Vec::new());
    for file in files_below(source)? {
        let content = fs::read(file)?;
        let mut rest = content.as_slice();
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunker.cut(rest));
            if seen.insert(blake3::hash(chunk)) {
                chunks.push(chunk.to_vec());
            }
            rest = after;
        }
    }
    let started = clock_gettime(ClockId::ProcessCPUTime);
    let compressed = chunks.par_iter().map_init(
        || zstd::bulk::Compressor::new(LEVEL).expect("zstd knows its own levels"),
        |zstd, chunk| {
            zstd.compress(chunk)
                .map_or(usize::MAX, |packed| packed.len())
        },
    );
    let longest = compressed.max();
    let ended = clock_gettime(ClockId::ProcessCPUTime);
    if longest.is_none_or(|len| len == usize::MAX) {
        return Err(io::Error::other("zstd failed, or had nothing to do"));
    }
    let seconds = |at: rustix::time::Timespec| at.tv_sec as f64 + at.tv_nsec as f64 / 1e9;
    println!("{}", seconds(ended) - seconds(started));
    Ok(())
}

fn files_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)?),
            false => files.push(path),
        }
    }
    files.sort();
    Ok(files)
}
