//! Names and ids. Each is a type of its own, so that two of them can not be swapped.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Why a text is not a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Names are `[a-z][a-z0-9-]*`, at most 64 bytes.
    #[error(
        "`{0}` is not a name: use a-z, 0-9 and -, starting with a letter, at most 64 characters"
    )]
    Name(String),
    /// Ids are lower-case hexadecimal of a fixed length.
    #[error("`{text}` is not {want} hexadecimal digits")]
    Hex {
        /// The text that was given.
        text: String,
        /// How many digits the id has.
        want: usize,
    },
}

/// Tells whether `text` is a name: `[a-z][a-z0-9-]*`, at most 64 bytes.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, JsonSchema)]
        #[serde(try_from = "String")]
        pub struct $name(String);
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl $name {
            /// The checked name, or why it is none.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(IdError::Name(text)) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&self.0) }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { Self::new(text) }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> { Self::new(text) }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String { name.0 }
        }
    )*};
}

names! {
    /// Name of a component: one thing to protect.
    ComponentName
    /// Name of a destination: a place that a strategy writes to.
    DestinationName
    /// Name of an `encryption` node.
    EncryptionName
    /// Name of a schedule, unique within its component.
    ScheduleName
    /// A tag given to on-demand backups, such as `pre-deploy`.
    Tag
}

/// Where a thing stands in the plan file, as the text an operator types:
/// `component.postgres.schedule.daily`, `destination.offsite`, `policy.copies`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Address(pub String);

impl Address {
    /// `component.NAME`.
    pub fn component(name: &ComponentName) -> Self {
        Self(format!("component.{name}"))
    }
    /// `destination.NAME`.
    pub fn destination(name: &DestinationName) -> Self {
        Self(format!("destination.{name}"))
    }
    /// `encryption.NAME`.
    pub fn encryption(name: &EncryptionName) -> Self {
        Self(format!("encryption.{name}"))
    }
    /// `backup.ID8`.
    pub fn backup(id: &BackupId) -> Self {
        Self(format!("backup.{}", id.short()))
    }
    /// This address with one more part: `component.db` + `retain` = `component.db.retain`.
    pub fn child(&self, part: impl fmt::Display) -> Self {
        Self(format!("{}.{part}", self.0))
    }
    /// The address one level up, if there is one.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('.')
            .map(|(head, _)| Self(head.to_owned()))
    }
    /// Whether this is `other`, or lies below it.
    pub fn is_within(&self, other: &Address) -> bool {
        self.0 == other.0
            || self
                .0
                .strip_prefix(&other.0)
                .is_some_and(|rest| rest.starts_with('.'))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; bytes.len() * 2];
    write_hex(bytes, &mut digits).to_owned()
}

/// Writes them into `digits`, which is twice as long.
fn write_hex<'a>(bytes: &[u8], digits: &'a mut [u8]) -> &'a str {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(digits).expect("digits are ASCII")
}

/// Reads exactly `N` bytes of lower- or upper-case hexadecimal.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], IdError> {
    let wrong = || IdError::Hex {
        text: text.to_owned(),
        want: N * 2,
    };
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return Err(wrong());
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            b'A'..=b'F' => Some(digit - b'A' + 10),
            _ => None,
        };
        *byte = nibble(pair[0]).ok_or_else(wrong)? << 4 | nibble(pair[1]).ok_or_else(wrong)?;
    }
    Ok(out)
}

/// Reads `N` bytes of hexadecimal.
struct Digits<const N: usize>;

impl<const N: usize> Visitor<'_> for Digits<N> {
    type Value = [u8; N];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hexadecimal digits", N * 2)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<[u8; N], E> {
        unhex(text).map_err(E::custom)
    }
}

macro_rules! hex_ids {
    ($($(#[$doc:meta])* $name:ident [$len:literal])*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
        #[schemars(with = "String")]
        pub struct $name(pub [u8; $len]);
        // Thousands of manifests have many: no text is made of each.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(write_hex(&self.0, &mut [0; $len * 2]))
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Digits::<$len>).map(Self)
            }
        }
        impl $name {
            /// The first eight hexadecimal digits: what people read and type.
            pub fn short(&self) -> String { hex(&self.0[..4]) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(&hex(&self.0)) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex(&self.0))
            }
        }
        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> { unhex(text).map(Self) }
        }
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> { text.parse() }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String { hex(&id.0) }
        }
    )*};
}

hex_ids! {
    /// Identifies a backup everywhere: 16 random bytes drawn when it is made. Its copies at other
    /// destinations carry the same id.
    BackupId[16]
    /// Identifies a repository: 16 random bytes drawn when it is created.
    RepositoryId[16]
    /// Identifies one session (lease) in one repository: 16 random bytes.
    SessionId[16]
    /// Names a blob: keyed BLAKE3 of its plaintext (schemas/repository.md).
    BlobId[32]
    /// An unkeyed BLAKE3 of some bytes or document: pack names, plan ids, digests.
    Digest[32]
    /// Names one run of `ccb apply`.
    RunId[16]
}

impl BlobId {
    /// In the order of the bytes, and compared faster: for sorting very many.
    pub(crate) fn words(&self) -> [u64; 4] {
        let (words, _) = self.0.as_chunks();
        [0, 1, 2, 3].map(|at: usize| u64::from_be_bytes(words[at]))
    }
}

impl Digest {
    /// BLAKE3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, BackupId, ComponentName, is_name};

    #[test]
    fn names_are_lower_case_and_start_with_a_letter() {
        assert!(is_name("backup-server-2"));
        for wrong in ["", "2x", "-a", "A", "a_b", "a.b", "ä", &"a".repeat(65)] {
            assert!(!is_name(wrong), "{wrong}");
        }
        assert!(serde_json::from_str::<ComponentName>("\"UPPER\"").is_err());
    }

    #[test]
    fn ids_read_back_what_they_print() {
        let id = BackupId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "30313233");
        assert!("xyz".parse::<BackupId>().is_err());
        assert!("é".repeat(16).parse::<BackupId>().is_err());
    }

    #[test]
    fn an_address_is_within_itself_and_its_parents() {
        let daily = Address("component.db.schedule.daily".into());
        assert!(daily.is_within(&Address("component.db".into())));
        assert!(daily.is_within(&daily));
        assert!(!Address("component.db2".into()).is_within(&Address("component.db".into())));
        assert_eq!(
            daily.parent(),
            Some(Address("component.db.schedule".into()))
        );
    }
}
