//! Repositories with very many files: an index that is made, of packs that have a length and nothing in them, since
//! nobody who only backs up reads them. Measured is a backup of one new file, which needs the whole index.

use crate::data::Numbers;
use crate::inventory::{lay_out, surroundings};
use crate::measure::{self, median};
use crate::tools::Tool;
use crate::{Options, Scale};
use ccb::model::ids::{Digest, SessionId};
use ccb::repository::format::blob::BlobKind;
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::index::{BlobPrefix, FrameRef, IndexEntry, PackRef, Segment, encode};
use ccb::repository::format::key::{Keyring, Keys};
use ccb::repository::format::pack::{Encoding, Frame, PackHeader};
use ccb::repository::format::seal::{ObjectType, seal};
use ccb::repository::{Creation, Repository};
use ccb::store::Store;
use ccb::store::memory::Memory;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What `--only` calls it.
pub const NAME: &str = "index";

/// Small files are stored in frames of so many, of this length each; as many as a pack of 16 MiB holds.
const FILES_PER_FRAME: u32 = 32;
const FILE_LEN_BYTES: u32 = 4 << 10;
const FRAME_STORED_BYTES: u32 = 48 << 10;
const FRAMES_PER_PACK: u32 = 312;
/// One segment describes so many packs.
const PACKS_PER_SEGMENT: u64 = 100;

/// Measures repositories of several sizes and prints a table.
pub fn run(options: &Options, dir: &Path) -> io::Result<()> {
    let files_of: &[u64] = match options.scale {
        Scale::Small => &[100_000, 1_000_000],
        Scale::Full => &[1_000_000, 10_000_000, 100_000_000],
    };
    let mut table = String::from(
        "Backup of one new file into a repository that holds so many; wall s / CPU s / peak MiB.\n\n\
         | files there | index, MB | first | with a warm cache |\n|---|---|---|---|\n",
    );
    for files in files_of {
        let place = dir.join("many");
        eprintln!("bench: an index of {files} files is made");
        let index_len = make(&place, *files)?;
        let environment = Tool::Ccb.environment(&place, &place, &options.ccb)?;
        let mut figures = Vec::new();
        for round in 0..=options.rounds {
            fs::write(place.join("data/file"), format!("file {round}"))?;
            let script = "exec \"$CCB\" backup \"$PLAN\" data --method incremental";
            figures.push(measure::run(script, &environment, dir)?);
        }
        let of = |figure: fn(&measure::Figures) -> f64| {
            median(figures[1..].iter().map(figure).collect())
        };
        let first = figures[0];
        let _ = writeln!(
            table,
            "| {files} | {:.1} | {:.2} / {:.2} / {:.0} | {:.2} / {:.2} / {:.0} |",
            index_len as f64 / 1e6,
            first.wall,
            first.cpu,
            first.peak,
            of(|one| one.wall),
            of(|one| one.cpu),
            of(|one| one.peak)
        );
        fs::remove_dir_all(&place)?;
    }
    println!("{table}");
    Ok(())
}

/// Makes a repository, its plan file and a file to back up. Gives the length of the index.
fn make(place: &Path, files: u64) -> io::Result<u64> {
    fs::create_dir_all(place.join("data"))?;
    fs::write(place.join("plan.kdl"), plan(place))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let repository = runtime.block_on(create(&place.join("repository")));
    let repository = repository.map_err(|error| io::Error::other(error.to_string()))?;
    let keys = Keys::new(Keyring::public(), repository.id(), CipherSuite::None);
    let per_segment = PACKS_PER_SEGMENT * u64::from(FRAMES_PER_PACK) * u64::from(FILES_PER_FRAME);
    let (mut left, mut len, mut number) = (files, 0, 0);
    while left > 0 {
        let count = left.min(per_segment);
        len += add_segment(&place.join("repository"), &keys, number, count)?;
        left -= count;
        number += 1;
    }
    Ok(len)
}

async fn create(to: &Path) -> Result<Repository, Box<dyn std::error::Error>> {
    let now = Timestamp::now();
    let memory = Memory::new(now);
    let creation = Creation {
        cipher: CipherSuite::None,
        slot: None,
        keyring_of: None,
    };
    let store = Store::new(Arc::new(memory.clone()), 8);
    let surroundings = surroundings(Arc::new(Mutex::new(now)), false);
    let repository = Repository::create(store, &creation, &surroundings).await?;
    lay_out(&memory, to).await?;
    Ok(repository)
}

/// Writes one segment and the packs that it describes. Gives its length.
fn add_segment(repository: &Path, keys: &Keys, number: u64, files: u64) -> io::Result<u64> {
    let mut numbers = Numbers::new(number);
    let mut random = move || {
        let mut bytes = [0; 32];
        for part in bytes.chunks_exact_mut(8) {
            part.copy_from_slice(&numbers.next().to_le_bytes());
        }
        bytes
    };
    let mut segment = Segment::new(SessionId([0; 16]), 0);
    let mut left = files;
    while left > 0 {
        let pack = segment.packs.len() as u32;
        let mut offset = size_of::<[u8; 40]>() as u32;
        for _ in 0..FRAMES_PER_PACK {
            let blobs = left.min(u64::from(FILES_PER_FRAME)) as u32;
            if blobs == 0 {
                break;
            }
            let frame = segment.frames.len() as u32;
            segment.entries.extend((0..blobs).map(|blob| IndexEntry {
                id: BlobPrefix(random()[..16].try_into().expect("it is longer")),
                frame,
                offset: blob * FILE_LEN_BYTES,
                len: FILE_LEN_BYTES,
            }));
            segment.frames.push(FrameRef {
                pack,
                frame: Frame {
                    offset,
                    stored_len: FRAME_STORED_BYTES,
                    plain_len: blobs * FILE_LEN_BYTES,
                    encoding: Encoding::Zstd,
                    depth: 0,
                    bases: Vec::new(),
                },
            });
            offset += FRAME_STORED_BYTES + 16;
            left -= u64::from(blobs);
        }
        let (name, salt, size) = (Digest(random()), random(), u64::from(offset) + 4096);
        let hex = name.to_string();
        let folder = repository.join("packs/d").join(&hex[..2]);
        fs::create_dir_all(&folder)?;
        File::create(folder.join(hex))?.set_len(size)?;
        let (kind, epoch) = (BlobKind::Data, 1);
        let header = PackHeader { kind, epoch, salt };
        segment.packs.push(PackRef { name, size, header });
    }
    let sealed = seal(keys, ObjectType::Index, "", &encode(&segment), random());
    fs::create_dir_all(repository.join("index"))?;
    let name = blake3::hash(&sealed).to_hex().to_string();
    fs::write(repository.join("index").join(name), &sealed)?;
    Ok(sealed.len() as u64)
}

fn plan(place: &Path) -> String {
    format!(
        r#"plan "bench" environment="development" timezone="UTC"
destination "primary" {{
    local "{place}/repository"
    encrypt none=#true
}}
component "data" sensitive=#false {{
    source "files" {{ path "{place}/data" }}
    store "primary"
    schedule "manual" when="on-demand" method="incremental"
}}
policy preset="development" {{
    set "encrypted-at-rest" level="off"
}}
"#,
        place = place.display()
    )
}
