//! Takes an archive as it comes, in pieces of any size, and says at the end whether it was whole.

use crate::model::ids::Digest;
use crate::source::postgres::archive::blocks::{Block, Counter};
use crate::source::postgres::archive::entry::{self, Cursor, Entry, Format, HeaderStop, Stop};
use crate::source::postgres::archive::{Archive, ArchiveError, Data, Header, LargeObjects};
use std::collections::{BTreeMap, BTreeSet};

/// Longest item that is waited for: what is longer is no table of contents.
const PENDING_MAX_BYTES: usize = 1 << 30;
/// What a block begins with.
const BLOCK_DATA: u8 = 1;
const BLOCK_LARGE_OBJECTS: u8 = 3;

/// What comes next.
enum State {
    Header,
    /// So many entries of the table of contents.
    Entries(i64),
    /// A block, or the end.
    Block,
    /// The length of the next piece of a block, 0 at its end.
    Piece,
    /// So many bytes of a piece.
    Bytes(u64),
    /// The number of the next large object, 0 after the last.
    LargeObject,
}

/// Reads one archive.
pub struct Scanner {
    state: State,
    /// The beginning of an item whose end has not arrived.
    pending: Vec<u8>,
    /// Bytes of the archive before the next item.
    at_bytes: u64,
    header: Option<(Header, Format)>,
    entries: Vec<Entry>,
    /// Places in `entries` by number, of those that have data.
    with_data: BTreeMap<i64, usize>,
    /// Those of them whose block was seen to its end.
    ended: BTreeSet<i64>,
    data: BTreeMap<i64, Data>,
    large_objects: LargeObjects,
    /// The block that is being read.
    block: Option<Reading>,
    counter: Counter,
    content: blake3::Hasher,
}

struct Reading {
    id: i64,
    kind: u8,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            state: State::Header,
            pending: Vec::new(),
            at_bytes: 0,
            header: None,
            entries: Vec::new(),
            with_data: BTreeMap::new(),
            ended: BTreeSet::new(),
            data: BTreeMap::new(),
            large_objects: LargeObjects::default(),
            block: None,
            counter: Counter::new(),
            content: blake3::Hasher::new(),
        }
    }
}

impl Scanner {
    /// Takes the next bytes. After an error there is nothing more to be learnt.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            if let State::Bytes(left) = self.state {
                let len = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.counter.add(&bytes[..len]);
                self.at_bytes += len as u64;
                bytes = &bytes[len..];
                self.state = match left - len as u64 {
                    0 => State::Piece,
                    left => State::Bytes(left),
                };
                continue;
            }
            let used = if self.pending.is_empty() {
                let used = self.item(bytes)?;
                if used == 0 {
                    self.pending.extend_from_slice(bytes);
                    return Ok(());
                }
                used
            } else {
                // As much again as was not enough: long items are looked at a few times only.
                let before = self.pending.len();
                let more = bytes.len().min(before.max(64));
                let mut pending = std::mem::take(&mut self.pending);
                pending.extend_from_slice(&bytes[..more]);
                let used = self.item(&pending)?;
                if used == 0 {
                    if pending.len() > PENDING_MAX_BYTES {
                        return Err(self.damaged("an entry has no end"));
                    }
                    self.pending = pending;
                    more
                } else {
                    // It did not end within what was there before.
                    used - before
                }
            };
            bytes = &bytes[used..];
        }
        Ok(())
    }

    /// The table of contents, once all of it has come.
    pub fn entries(&self) -> Option<&[Entry]> {
        let is_read = !matches!(self.state, State::Header | State::Entries(_));
        is_read.then_some(self.entries.as_slice())
    }

    /// What the archive holds, when it is whole.
    pub fn finish(mut self) -> Result<Archive, ArchiveError> {
        let at_end = matches!(self.state, State::Block) && self.pending.is_empty();
        let Some((header, _)) = self.header.take().filter(|_| at_end) else {
            return Err(ArchiveError::Truncated {
                at_bytes: self.at_bytes + self.pending.len() as u64,
                within: self.within(),
            });
        };
        let mut with_data = self.with_data.iter();
        let lacking = with_data.find(|(id, _)| !self.ended.contains(id));
        if let Some((_, place)) = lacking {
            return Err(ArchiveError::NoData(self.entries[*place].title()));
        }
        Ok(Archive {
            header,
            entries: self.entries,
            data: self.data,
            large_objects: self.large_objects,
            content: Digest(*self.content.finalize().as_bytes()),
            len_bytes: self.at_bytes,
        })
    }

    /// Reads the next item from the front of `bytes`, and gives its length; 0 when its end has not arrived.
    fn item(&mut self, bytes: &[u8]) -> Result<usize, ArchiveError> {
        let read = match self.header {
            None => self.read_header(bytes),
            Some((_, format)) => self.read_item(Cursor::new(bytes, format), bytes),
        };
        match read {
            Ok(used) => {
                self.at_bytes += used as u64;
                Ok(used)
            }
            Err(HeaderStop::Stop(Stop::Short)) => Ok(0),
            Err(HeaderStop::Stop(Stop::Bad(what))) => Err(self.damaged(&what)),
            Err(HeaderStop::Not(error)) => Err(error),
        }
    }

    fn read_header(&mut self, bytes: &[u8]) -> Result<usize, HeaderStop> {
        let (header, format, count, used) = entry::header(bytes)?;
        self.state = match count {
            ..0 => return Err(Stop::Bad(format!("{count} entries")).into()),
            0 => State::Block,
            _ => State::Entries(count),
        };
        self.header = Some((header, format));
        Ok(used)
    }

    fn read_item(&mut self, mut cursor: Cursor<'_>, bytes: &[u8]) -> Result<usize, HeaderStop> {
        match self.state {
            State::Entries(left) => {
                let entry = cursor.entry()?;
                self.content.update(&bytes[..cursor.used]);
                self.keep(entry)?;
                self.state = match left - 1 {
                    0 => State::Block,
                    left => State::Entries(left),
                };
            }
            State::Block => {
                let (kind, id) = (cursor.byte()?, cursor.int()?);
                self.start(kind, id)?;
            }
            State::Piece => match cursor.len()? {
                0 => self.end_of_pieces()?,
                len => self.state = State::Bytes(len),
            },
            State::LargeObject => match cursor.int()? {
                0 => self.end_of_block(),
                oid => {
                    self.content.update(&oid.to_le_bytes());
                    self.large_objects.count += 1;
                    self.state = State::Piece;
                }
            },
            // Both are dealt with by who calls this.
            State::Header | State::Bytes(_) => {}
        }
        Ok(cursor.used)
    }

    fn keep(&mut self, entry: Entry) -> Result<(), Stop> {
        if entry.has_data
            && self
                .with_data
                .insert(entry.id, self.entries.len())
                .is_some()
        {
            return Err(Stop::Bad(format!("entry {} is there twice", entry.id)));
        }
        self.entries.push(entry);
        Ok(())
    }

    fn start(&mut self, kind: u8, id: i64) -> Result<(), Stop> {
        if !self.with_data.contains_key(&id) {
            return Err(Stop::Bad(format!("data of entry {id}, which has none")));
        }
        if self.ended.contains(&id) {
            return Err(Stop::Bad(format!("data of entry {id} a second time")));
        }
        self.state = match kind {
            BLOCK_DATA => State::Piece,
            BLOCK_LARGE_OBJECTS => State::LargeObject,
            _ => return Err(Stop::Bad(format!("a block of kind {kind}"))),
        };
        self.content.update(&[kind]);
        self.content.update(&id.to_le_bytes());
        self.block = Some(Reading { id, kind });
        self.counter.restart();
        Ok(())
    }

    /// After the last piece of a table or of one large object.
    fn end_of_pieces(&mut self) -> Result<(), HeaderStop> {
        let Some(Reading { id, kind }) = self.block else {
            return Err(Stop::Bad("a piece outside of a block".to_owned()).into());
        };
        let title = || {
            let place = self.with_data.get(&id);
            place.map_or(String::new(), |place| self.entries[*place].title())
        };
        let is_compressed = self.header.as_ref().is_some_and(|(h, _)| h.is_compressed);
        let is_rows = kind == BLOCK_DATA && !is_compressed;
        let what = if is_rows { Block::Rows } else { Block::Other };
        let data = self.counter.finish(what).ok_or_else(|| {
            HeaderStop::Not(ArchiveError::NotEnded {
                table: title(),
                at_bytes: self.at_bytes,
            })
        })?;
        self.content.update(&data.digest.0);
        if kind == BLOCK_LARGE_OBJECTS {
            self.large_objects.bytes += data.bytes;
            self.counter.restart();
            self.state = State::LargeObject;
        } else {
            self.data.insert(id, data);
            self.end_of_block();
        }
        Ok(())
    }

    fn end_of_block(&mut self) {
        self.state = State::Block;
        self.ended.extend(self.block.take().map(|block| block.id));
    }

    fn damaged(&self, what: &str) -> ArchiveError {
        ArchiveError::Damaged {
            at_bytes: self.at_bytes,
            what: what.to_owned(),
        }
    }

    /// Where the next byte would belong.
    fn within(&self) -> String {
        let block = self
            .block
            .as_ref()
            .and_then(|block| self.with_data.get(&block.id));
        match (block, &self.state) {
            (Some(place), _) => self.entries[*place].title(),
            (None, State::Header | State::Entries(_)) => "its table of contents".to_owned(),
            (None, _) => "the beginning of a block".to_owned(),
        }
    }
}
