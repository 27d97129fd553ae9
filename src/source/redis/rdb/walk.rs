//! Walks a whole RDB, from its magic to its checksum, and says what it meets. Everything that is not
//! understood for certain is an error, never passed over.

use crate::source::redis::rdb::RdbError;
use crate::source::redis::rdb::input::{Input, Sink};
use crate::source::redis::rdb::value;
use std::io::{self, Read};

/// The newest version that is understood: Redis 7.4 and 8.0 write it. 11 is 7.2 and Valkey 8, 10 is 7.0.
const VERSION_MAX: u32 = 12;
/// The oldest one: with a checksum at the end.
const VERSION_MIN: u32 = 5;
/// Longer names are not sorted, nor are longer functions kept in memory.
const NAME_LEN_MAX_BYTES: u64 = 16 << 20;

const FUNCTION: u8 = 0xf5;
const SLOT_INFO: u8 = 0xf4;
const FREQUENCY: u8 = 0xf9;
const IDLE: u8 = 0xf8;
const AUX: u8 = 0xfa;
const RESIZE: u8 = 0xfb;
const EXPIRES_MS: u8 = 0xfc;
const EXPIRES_S: u8 = 0xfd;
const SELECT: u8 = 0xfe;
const END: u8 = 0xff;

/// Facts about a file that stand in front of its keys, and are no data: they differ between two saves of
/// the same data.
const VOLATILE: [&[u8]; 5] = [
    b"ctime",
    b"used-mem",
    b"repl-stream-db",
    b"repl-id",
    b"repl-offset",
];

/// What stands before a key's value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyFacts {
    pub(crate) database: u32,
    /// What kind of value it has.
    pub(crate) kind: &'static str,
    /// When it expires, in milliseconds since the Unix epoch.
    pub(crate) expires_ms: Option<i64>,
}

/// Hears of what a walk meets, in the order of the file.
pub(crate) trait Visitor {
    /// Takes a key's record.
    type Record: Sink;
    /// The file's version.
    fn version(&mut self, version: u32);
    /// An entry of the header. `is_volatile`: it says nothing of the data.
    fn aux(&mut self, name: &[u8], value: &[u8], is_volatile: bool);
    /// A library of functions.
    fn function(&mut self, code: &[u8]);
    /// A key. Its record is put into what comes back, until [`Visitor::key_end`].
    fn key(&mut self, name: &[u8], facts: KeyFacts) -> io::Result<&mut Self::Record>;
    /// All of the key's record was put.
    fn key_end(&mut self) -> io::Result<()>;
}

/// The checksum at the end of an RDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// It was there, and is right.
    Right,
    /// The server writes none (`rdbchecksum no`).
    Absent,
}

/// Walks one RDB; what follows it in `input` is not taken.
pub(crate) fn walk<R: Read>(
    input: &mut Input<R>,
    visitor: &mut impl Visitor,
) -> Result<Checksum, RdbError> {
    input.restart_checksum();
    visitor.version(version(input)?);
    let mut database = 0;
    let mut expires: Option<(u8, i64)> = None;
    let mut has_keys = false;
    loop {
        let at = input.offset();
        match input.byte()? {
            AUX => {
                let name = input.text(NAME_LEN_MAX_BYTES)?;
                let value = input.text(NAME_LEN_MAX_BYTES)?;
                // Scripts that Redis 6 knows by hash stand after the keys. What other servers put
                // between keys may belong to the next one.
                if has_keys && name != b"lua" {
                    let name = String::from_utf8_lossy(&name).into_owned();
                    let what = format!("entry `{name}` among the keys at byte {at}");
                    return Err(RdbError::Unknown { what });
                }
                visitor.aux(&name, &value, VOLATILE.contains(&name.as_slice()));
            }
            FUNCTION => visitor.function(&input.text(NAME_LEN_MAX_BYTES)?),
            RESIZE => {
                input.count()?;
                input.count()?;
            }
            SLOT_INFO => {
                for _ in 0..3 {
                    input.count()?;
                }
            }
            SELECT => {
                let number = input.count()?;
                let wrong = |_| RdbError::malformed(format!("database {number}"), at);
                database = u32::try_from(number).map_err(wrong)?;
            }
            EXPIRES_MS => expires = Some((EXPIRES_MS, i64::from_le_bytes(input.array()?))),
            EXPIRES_S => {
                expires = Some((EXPIRES_S, i32::from_le_bytes(input.array()?).into()));
            }
            IDLE => {
                input.count()?;
            }
            FREQUENCY => {
                input.byte()?;
            }
            END => return check(input),
            type_byte => {
                has_keys = true;
                key(input, visitor, type_byte, database, expires.take())?;
            }
        }
    }
}

fn version<R: Read>(input: &mut Input<R>) -> Result<u32, RdbError> {
    let magic: [u8; 9] = match input.array() {
        Err(RdbError::Ends { .. }) => return Err(RdbError::NotAnRdb),
        magic => magic?,
    };
    let digits = magic
        .strip_prefix(b"REDIS")
        .filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let version = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match version {
        None => Err(RdbError::NotAnRdb),
        Some(known @ VERSION_MIN..=VERSION_MAX) => Ok(known),
        Some(other) => Err(RdbError::Unknown {
            what: format!("RDB version {other}"),
        }),
    }
}

fn key<R: Read>(
    input: &mut Input<R>,
    visitor: &mut impl Visitor,
    type_byte: u8,
    database: u32,
    expires: Option<(u8, i64)>,
) -> Result<(), RdbError> {
    let at = input.offset();
    let kind = value::kind(type_byte).ok_or_else(|| RdbError::Unknown {
        what: match type_byte {
            6 | 7 | 0xf7 => format!("a module's data at byte {at}"),
            other => format!("type {other} at byte {at}"),
        },
    })?;
    let name = input.text(NAME_LEN_MAX_BYTES)?;
    let facts = KeyFacts {
        database,
        kind,
        expires_ms: expires.map(|(unit, time)| match unit {
            EXPIRES_S => time * 1000,
            _ => time,
        }),
    };
    let record = visitor.key(&name, facts).map_err(RdbError::Scratch)?;
    let mut put = |bytes: &[u8]| record.put(bytes).map_err(RdbError::Scratch);
    match expires {
        Some((EXPIRES_S, time)) => {
            put(&[EXPIRES_S])?;
            put(&(time as i32).to_le_bytes())?;
        }
        Some((unit, time)) => {
            put(&[unit])?;
            put(&time.to_le_bytes())?;
        }
        None => {}
    }
    put(&[type_byte])?;
    crate::source::redis::rdb::input::put_text(&name, record)?;
    value::copy(type_byte, input, record)?;
    visitor.key_end().map_err(RdbError::Scratch)
}

fn check<R: Read>(input: &mut Input<R>) -> Result<Checksum, RdbError> {
    let computed = input.checksum();
    let stored = u64::from_le_bytes(input.array()?);
    match stored {
        0 => Ok(Checksum::Absent),
        _ if stored == computed => Ok(Checksum::Right),
        _ => Err(RdbError::Checksum { stored, computed }),
    }
}
