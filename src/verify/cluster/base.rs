//! Whether a base backup is whole: every file that PostgreSQL's own manifest lists, with its length and
//! checksum, and none besides. Reads every byte; starts no server.

use crate::model::ids::hex;
use crate::model::records::{Check, Manifest};
use crate::model::tree::{Content, Node, printable};
use crate::model::wal::BaseFacts;
use crate::repository::{Reader, RepositoryError};
use crate::verify::cluster::files;
use crate::verify::{Against, Finding, chain};
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where the server's manifest is, which does not list itself.
const MANIFEST: &[u8] = b"backup_manifest";
/// Hundred thousands of files take some ten MiB.
const MANIFEST_MAX_BYTES: u64 = 1 << 30;
/// Without these it is no data directory that recovers.
const NEEDED: [&[u8]; 3] = [b"PG_VERSION", b"backup_label", b"global/pg_control"];

/// What the server wrote of its files.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Files")]
    files: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    /// Hexadecimal, where the path is no text.
    #[serde(rename = "Encoded-Path")]
    encoded: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl ListedFile {
    fn path(&self) -> Option<Vec<u8>> {
        match (&self.path, &self.encoded) {
            (Some(path), _) => Some(path.as_bytes().to_vec()),
            (None, Some(encoded)) => {
                let digit = |at: usize| u8::from_str_radix(encoded.get(at..at + 2)?, 16).ok();
                (0..encoded.len()).step_by(2).map(digit).collect()
            }
            (None, None) => None,
        }
    }
}

/// Checks the base backup under `root` against what the server wrote of it.
pub async fn base(manifest: &Manifest, reader: &Reader, root: &Node) -> Finding {
    let mut against = Against::default();
    if BaseFacts::of(manifest).is_none() {
        against.push("its manifest does not say which WAL it needs".to_owned());
    }
    let mut files = files(reader, root, &mut against).await;
    for needed in NEEDED.iter().filter(|needed| !files.contains_key(**needed)) {
        against.push(format!("`{}` is not in it", printable(needed)));
    }
    let (count, bytes) = (
        files.len() as u64,
        files.values().map(|(size, _)| size).sum::<u64>(),
    );
    let mut compared = 0;
    match listed(reader, files.remove(MANIFEST)).await {
        Err(why) => against.push(format!("`{}`: {why}", printable(MANIFEST))),
        Ok(listed) => {
            let wanted = listed
                .iter()
                .filter_map(|file| wanted(file, &mut files, &mut against))
                .collect();
            compared = compare(reader, wanted, &mut against).await;
            for path in files.keys() {
                against.push(format!(
                    "`{}` is in no list of the server's",
                    printable(path)
                ));
            }
        }
    }
    let facts = [
        ("files", count.into()),
        ("bytes", bytes.into()),
        ("checksums", compared.into()),
    ];
    let good =
        format!("{count} files, {bytes} bytes, {compared} checksums as the server wrote them");
    Finding::new(Check::Contents, facts, &against, good)
}

async fn listed(
    reader: &Reader,
    manifest: Option<(u64, Content)>,
) -> Result<Vec<ListedFile>, String> {
    let (size, content) = manifest.ok_or("it is not in it")?;
    if size > MANIFEST_MAX_BYTES {
        return Err(format!("it has {size} bytes"));
    }
    let mut text = Vec::new();
    let mut reading = reader.content(&content);
    while let Some(part) = reading.next().await.map_err(|e| chain(&e))? {
        text.extend_from_slice(&part);
    }
    let listed: Listed = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    Ok(listed.files)
}

/// A file that is as long as it was, and the checksum that it must have.
struct Wanted<'a> {
    path: Vec<u8>,
    content: Content,
    checksum: &'a str,
}

impl Wanted<'_> {
    fn wrong(&self, why: String, against: &mut Against) {
        against.push(format!("`{}`: {why}", printable(&self.path)));
    }
}

/// Takes one file of the list off `files`, and holds its length against it.
fn wanted<'a>(
    listed: &'a ListedFile,
    files: &mut BTreeMap<Vec<u8>, (u64, Content)>,
    against: &mut Against,
) -> Option<Wanted<'a>> {
    let Some(path) = listed.path() else {
        against.push("the server's list has a file without a path".to_owned());
        return None;
    };
    let mut wrong = |why: String| against.push(format!("`{}`: {why}", printable(&path)));
    let Some((size, content)) = files.remove(&path) else {
        wrong("it is not in it".to_owned());
        return None;
    };
    if size != listed.size {
        wrong(format!("it has {size} bytes, and had {}", listed.size));
        return None;
    }
    let (Some("CRC32C"), Some(checksum)) = (listed.algorithm.as_deref(), &listed.checksum) else {
        return None;
    };
    Some(Wanted {
        path,
        content,
        checksum,
    })
}

/// Reads the files and holds each against its checksum; how many could be.
async fn compare(reader: &Reader, wanted: Vec<Wanted<'_>>, against: &mut Against) -> u64 {
    let contents = wanted.iter().map(|file| file.content.clone());
    let mut reading = reader.contents(contents);
    let mut found: Vec<Result<u32, RepositoryError>> = vec![Ok(0); wanted.len()];
    loop {
        match reading.next_parts().await {
            Ok(None) => break,
            Ok(Some(parts)) => {
                for (number, part) in parts {
                    let crc = &mut found[number];
                    match (crc, part) {
                        (Ok(crc), Ok(part)) => *crc = crc32c::crc32c_append(*crc, &part),
                        (crc @ Ok(_), Err(error)) => *crc = Err(error),
                        (Err(_), _) => {}
                    }
                }
            }
            Err(error) => {
                against.push(chain(&error));
                return 0;
            }
        }
    }
    let mut compared = 0;
    for (file, found) in wanted.iter().zip(found) {
        // PostgreSQL writes the bytes of the number as they lie in memory.
        match found.map(|crc| hex(&crc.to_le_bytes())) {
            Ok(found) => {
                compared += 1;
                if !found.eq_ignore_ascii_case(file.checksum) {
                    let want = file.checksum;
                    file.wrong(format!("its checksum is {found}, and was {want}"), against);
                }
            }
            Err(error) => file.wrong(chain(&error), against),
        }
    }
    compared
}
