//! Names of WAL files, and the numbers in them. A segment's name is its timeline and its place in the log;
//! how many segments there are between two names depends on how long a segment is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What tells one database cluster from all others: drawn by `initdb`, kept by restores and standbys.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct SystemId(pub u64);

/// A place in the log: how many bytes were written before it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct Lsn(pub u64);

/// How long the segments of a cluster are: a power of two from 1 MiB to 1 GiB.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "u64", into = "u64")]
pub struct SegmentBytes(u64);

/// The name of a segment.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub struct SegmentName {
    /// The timeline that it is on.
    pub timeline: u32,
    high: u32,
    low: u32,
}

/// The name of any file that a server archives.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
pub enum WalName {
    /// A segment.
    Segment(SegmentName),
    /// The last segment of a timeline, as far as it had come when another one began.
    Partial(SegmentName),
    /// What a base backup says of itself: the segment that it starts in, and where in it.
    Label(SegmentName, u32),
    /// Where a timeline came from.
    History(u32),
}

/// Why a text is none of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}")]
pub struct NameError {
    text: String,
    what: &'static str,
}

fn wrong(text: impl Into<String>, what: &'static str) -> NameError {
    let text = text.into();
    NameError { text, what }
}

impl SegmentBytes {
    /// What servers use unless told otherwise.
    pub const USUAL: Self = Self(16 << 20);

    /// The checked length.
    pub fn new(bytes: u64) -> Option<Self> {
        let fits = bytes.is_power_of_two() && (1 << 20..=1 << 30).contains(&bytes);
        fits.then_some(Self(bytes))
    }
    /// In bytes.
    pub fn get(self) -> u64 {
        self.0
    }
    fn per_high(self) -> u64 {
        (1 << 32) / self.0
    }
}

impl SegmentName {
    /// The segment number `number` of a timeline; `None` beyond the end of every log.
    pub fn new(timeline: u32, number: u64, bytes: SegmentBytes) -> Option<Self> {
        Some(Self {
            timeline,
            high: u32::try_from(number / bytes.per_high()).ok()?,
            low: u32::try_from(number % bytes.per_high()).ok()?,
        })
    }
    /// The segment that holds the byte at `lsn`.
    pub fn holding(timeline: u32, lsn: Lsn, bytes: SegmentBytes) -> Option<Self> {
        Self::new(timeline, lsn.0 / bytes.get(), bytes)
    }
    /// How many segments come before it in the log; `None` when no segment of that length has this name.
    pub fn number(&self, bytes: SegmentBytes) -> Option<u64> {
        let low = u64::from(self.low);
        (low < bytes.per_high()).then(|| u64::from(self.high) * bytes.per_high() + low)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!(
            "{:08X}{:08X}{:08X}",
            self.timeline, self.high, self.low
        ))
    }
}

impl FromStr for SegmentName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts = || {
            let timeline = hex8(text.get(..8)?)?;
            let (high, low) = (hex8(text.get(8..16)?)?, hex8(text.get(16..)?)?);
            (timeline > 0).then_some(Self {
                timeline,
                high,
                low,
            })
        };
        parts().ok_or_else(|| wrong(text, "the name of a WAL segment"))
    }
}

impl WalName {
    /// The segment whose bytes it has.
    pub fn segment(&self) -> Option<SegmentName> {
        match self {
            Self::Segment(name) | Self::Partial(name) => Some(*name),
            Self::Label(..) | Self::History(_) => None,
        }
    }
    /// The timeline that it belongs to.
    pub fn timeline(&self) -> u32 {
        match self {
            Self::Segment(name) | Self::Partial(name) | Self::Label(name, _) => name.timeline,
            Self::History(timeline) => *timeline,
        }
    }
}

impl fmt::Display for WalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&match self {
            Self::Segment(name) => name.to_string(),
            Self::Partial(name) => format!("{name}.partial"),
            Self::Label(name, offset) => format!("{name}.{offset:08X}.backup"),
            Self::History(timeline) => format!("{timeline:08X}.history"),
        })
    }
}

impl FromStr for WalName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let known = || -> Option<Self> {
            let Some((stem, end)) = text.split_once('.') else {
                return Some(Self::Segment(text.parse().ok()?));
            };
            Some(match end.rsplit_once('.') {
                None if end == "partial" => Self::Partial(stem.parse().ok()?),
                None if end == "history" => Self::History(hex8(stem).filter(|t| *t > 0)?),
                Some((offset, "backup")) => Self::Label(stem.parse().ok()?, hex8(offset)?),
                _ => return None,
            })
        };
        known().ok_or_else(|| wrong(text, "a file that PostgreSQL archives"))
    }
}

/// Eight upper-case hexadecimal digits: PostgreSQL writes no others.
fn hex8(text: &str) -> Option<u32> {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    let fits = text.len() == 8 && text.bytes().all(is_digit);
    fits.then(|| u32::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Display for SystemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_string())
    }
}

impl FromStr for SystemId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.parse().ok().filter(|number| *number > 0);
        let is_plain = number.is_some_and(|number: u64| number.to_string() == text);
        match number.filter(|_| is_plain) {
            Some(number) => Ok(Self(number)),
            None => Err(wrong(text, "a system identifier")),
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF))
    }
}

impl FromStr for Lsn {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let read = || {
            let (high, low) = text.split_once('/')?;
            let half = |text: &str| u32::from_str_radix(text, 16).ok();
            Some(Self(u64::from(half(high)?) << 32 | u64::from(half(low)?)))
        };
        read().ok_or_else(|| wrong(text, "a place in the log, such as 0/2000028"))
    }
}

impl TryFrom<u64> for SegmentBytes {
    type Error = NameError;
    fn try_from(bytes: u64) -> Result<Self, NameError> {
        Self::new(bytes).ok_or_else(|| wrong(bytes.to_string(), "a length of WAL segments"))
    }
}

impl From<SegmentBytes> for u64 {
    fn from(bytes: SegmentBytes) -> u64 {
        bytes.0
    }
}

macro_rules! as_text {
    ($($name:ident)*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> { text.parse() }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String { value.to_string() }
        }
    )*};
}

as_text! { SystemId Lsn SegmentName WalName }

#[cfg(test)]
mod tests {
    use crate::model::wal::{Lsn, SegmentBytes, SegmentName, WalName};

    #[test]
    fn names_read_back_what_they_print() {
        for name in [
            "000000010000000000000001",
            "0000000A000000FF000000FF",
            "000000010000000000000002.00000028.backup",
            "000000010000000000000005.partial",
            "00000002.history",
        ] {
            let read: WalName = name.parse().unwrap();
            assert_eq!(read.to_string(), name);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "",
            "00000000.history",
            "000000000000000000000001",
            "00000001000000000000000g",
            "0000000a000000000000000b",
            "00000001000000000000001",
            "0000000100000000000000011",
            "00000001000000000000000é",
            "000000010000000000000001.tmp",
            "000000010000000000000001.00000028.backup.backup",
            "../000000010000000000000001",
            "RECOVERYXLOG",
        ] {
            assert!(name.parse::<WalName>().is_err(), "{name}");
        }
    }

    #[test]
    fn numbers_go_on_over_the_end_of_the_low_part() {
        for (bytes, last_low) in [(16 << 20, 0xFF), (1 << 30, 3), (1 << 20, 0xFFF)] {
            let bytes = SegmentBytes::new(bytes).unwrap();
            let last: SegmentName = format!("0000000100000000{last_low:08X}").parse().unwrap();
            let number = last.number(bytes).unwrap();
            let next = SegmentName::new(1, number + 1, bytes).unwrap();
            assert_eq!(next.to_string(), "000000010000000100000000");
            let beyond: SegmentName = format!("0000000100000000{:08X}", last_low + 1)
                .parse()
                .unwrap();
            assert_eq!(beyond.number(bytes), None);
        }
        let lsn: Lsn = "1/2000028".parse().unwrap();
        let holding = SegmentName::holding(3, lsn, SegmentBytes::USUAL).unwrap();
        assert_eq!(holding.to_string(), "000000030000000100000002");
        assert_eq!(lsn.to_string(), "1/2000028");
    }
}
