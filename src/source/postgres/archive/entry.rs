//! The table of contents: how the fixed parts of the format are read from bytes that may not all be there.

use crate::source::postgres::archive::{ArchiveError, Header, NEWEST, OLDEST};

/// Longest text or entry that is believed: PostgreSQL's own values end at 1 GiB, definitions far below.
const LEN_MAX: u64 = 512 << 20;
/// Format code of `pg_dump -Fc`, and of `toc.dat` in `-Fd`.
const CUSTOM: u8 = 1;

/// One thing in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// What it is, as `pg_restore --list` prints it: `TABLE`, `TABLE DATA`, `FK CONSTRAINT`.
    pub kind: String,
    /// The schema it is in; empty for what is in none.
    pub schema: String,
    /// Its name, for some kinds with that of what it belongs to.
    pub name: String,
    /// Where its files lie at the source, when that is not the default.
    pub tablespace: String,
    /// The role that owns it.
    pub owner: String,
    /// The SQL that makes it; empty for data.
    pub definition: String,
    /// Numbers of the entries that must be restored before it.
    pub needs: Vec<i64>,
    /// Whether a block of data belongs to it.
    pub has_data: bool,
}

impl Entry {
    /// Whether its block holds the rows of a table.
    pub fn is_table_data(&self) -> bool {
        self.has_data && self.kind == "TABLE DATA"
    }
    /// For messages: `TABLE DATA public.users`.
    pub(crate) fn title(&self) -> String {
        match self.schema.is_empty() {
            true => format!("{} {}", self.kind, self.name),
            false => format!("{} {}.{}", self.kind, self.schema, self.name),
        }
    }
}

/// Why an item was not read.
pub(crate) enum Stop {
    /// Its end has not arrived.
    Short,
    /// It can not be right.
    Bad(String),
}

pub(crate) type Read<T> = Result<T, Stop>;

/// How the archive writes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) version: (u8, u8),
    int_len: usize,
    offset_len: usize,
}

/// Reads items from the front of what has arrived.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    /// How many bytes were read.
    pub(crate) used: usize,
    format: Format,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], format: Format) -> Self {
        Self {
            bytes,
            used: 0,
            format,
        }
    }

    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let end = self.used.checked_add(len).ok_or(Stop::Short)?;
        let taken = self.bytes.get(self.used..end).ok_or(Stop::Short)?;
        self.used = end;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    /// A sign byte and the magnitude, lowest byte first.
    pub(crate) fn int(&mut self) -> Read<i64> {
        let sign = self.byte()?;
        let bytes = self.take(self.format.int_len)?;
        let magnitude = bytes
            .iter()
            .rev()
            .fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
        match sign {
            0 => Ok(magnitude),
            1 => Ok(-magnitude),
            _ => Err(Stop::Bad(format!("a number has the sign {sign}"))),
        }
    }

    /// A length of what follows.
    pub(crate) fn len(&mut self) -> Read<u64> {
        let len = self.int()?;
        u64::try_from(len)
            .ok()
            .filter(|len| *len <= LEN_MAX * 4)
            .ok_or_else(|| Stop::Bad(format!("a length of {len} bytes")))
    }

    /// A text, `None` where the archive says that there is none. Bytes that are no UTF-8 are replaced: a
    /// database in another encoding is dumped in that, and what is kept of it here is for people.
    fn text(&mut self) -> Read<Option<String>> {
        let len = self.int()?;
        if len == -1 {
            return Ok(None);
        }
        let len = u64::try_from(len).ok().filter(|len| *len <= LEN_MAX);
        let len = len.ok_or_else(|| Stop::Bad("a text has no possible length".to_owned()))?;
        let bytes = self.take(len as usize)?;
        Ok(Some(String::from_utf8_lossy(bytes).into_owned()))
    }

    /// Passes over a text.
    fn skip(&mut self) -> Read<bool> {
        let len = self.int()?;
        if len == -1 {
            return Ok(false);
        }
        let len = u64::try_from(len).ok().filter(|len| *len <= LEN_MAX);
        let len = len.ok_or_else(|| Stop::Bad("a text has no possible length".to_owned()))?;
        self.take(len as usize)?;
        Ok(true)
    }

    /// One entry of the table of contents.
    pub(crate) fn entry(&mut self) -> Read<Entry> {
        let id = self.int()?;
        let has_data = self.int()? != 0;
        self.skip()?; // catalogue of the object
        self.skip()?; // its number there
        let name = self.text()?.unwrap_or_default();
        let kind = self.text()?.unwrap_or_default();
        self.int()?; // section
        let definition = self.text()?.unwrap_or_default();
        self.skip()?; // how to drop it
        self.skip()?; // how to copy it
        let schema = self.text()?.unwrap_or_default();
        let tablespace = self.text()?.unwrap_or_default();
        if self.format.version >= (1, 14) {
            self.skip()?; // access method
        }
        if self.format.version >= (1, 16) {
            self.int()?; // kind of relation
        }
        let owner = self.text()?.unwrap_or_default();
        self.skip()?; // whether it has OIDs
        let mut needs = Vec::new();
        while let Some(id) = self.text()? {
            needs.extend(id.parse::<i64>().ok());
        }
        self.byte()?; // whether the place of its data is known
        self.take(self.format.offset_len)?;
        Ok(Entry {
            id,
            kind,
            schema,
            name,
            tablespace,
            owner,
            definition,
            needs,
            has_data,
        })
    }
}

/// What the archive begins with, its format, and how many entries follow; the bytes that were read.
pub(crate) fn header(bytes: &[u8]) -> Result<(Header, Format, i64, usize), HeaderStop> {
    const MAGIC: &[u8] = b"PGDMP";
    let seen = bytes.len().min(MAGIC.len());
    if bytes[..seen] != MAGIC[..seen] {
        return Err(HeaderStop::Not(ArchiveError::NotAnArchive));
    }
    let mut format = Format {
        version: (0, 0),
        int_len: 4,
        offset_len: 8,
    };
    let mut cursor = Cursor::new(bytes, format);
    cursor.take(MAGIC.len())?;
    format.version = (cursor.byte()?, cursor.byte()?);
    cursor.byte()?; // revision
    if !(OLDEST..=NEWEST).contains(&format.version) {
        return Err(HeaderStop::Not(ArchiveError::Version(format.version)));
    }
    format.int_len = usize::from(cursor.byte()?);
    format.offset_len = usize::from(cursor.byte()?);
    let kind = cursor.byte()?;
    if !(1..=7).contains(&format.int_len) || format.offset_len > 32 || kind != CUSTOM {
        return Err(HeaderStop::Not(ArchiveError::NotAnArchive));
    }
    cursor.format = format;
    let is_compressed = match format.version >= (1, 15) {
        true => cursor.byte()? != 0,
        false => cursor.int()? != 0,
    };
    for _ in 0..7 {
        cursor.int()?; // when it was made: seconds to years, and whether summer time was on
    }
    let header = Header {
        version: format.version,
        is_compressed,
        database: cursor.text()?.unwrap_or_default(),
        server: cursor.text()?.unwrap_or_default(),
        pg_dump: cursor.text()?.unwrap_or_default(),
    };
    let entries = cursor.int()?;
    Ok((header, format, entries, cursor.used))
}

/// Why a header was not read.
pub(crate) enum HeaderStop {
    Stop(Stop),
    Not(ArchiveError),
}

impl From<Stop> for HeaderStop {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
