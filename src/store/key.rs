//! Names of objects in a store: checked once, so that no backend ever meets a path that leaves it.

use std::{fmt, str::FromStr};

/// A checked relative key: parts of printable ASCII joined with `/`, none empty, none starting with a
/// dot (so neither `..` nor a backend's private files can be named).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a key: use parts of printable ASCII joined with /, none empty or starting with a dot"
)]
pub struct KeyError(String);

/// S3 allows 1024 bytes; the rest is room for a bucket prefix.
const LEN_MAX: usize = 900;
/// What a part can be on every local file system.
const PART_LEN_MAX: usize = 255;

impl Key {
    /// The checked key, or why it is none.
    pub fn new(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        if text.len() <= LEN_MAX && text.split('/').all(is_part) {
            Ok(Self(text))
        } else {
            Err(KeyError(text))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`.
    pub fn last_part(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }
}

/// Whether `text` can be one part of a key.
pub(crate) fn is_part(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= PART_LEN_MAX
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\'))
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn keys_are_relative_printable_and_never_hidden() {
        for good in ["CCB", "packs/d/00/ab12", "a+b=c@d,e~f/%41", "x"] {
            assert_eq!(Key::new(good).unwrap().as_str(), good);
        }
        let long = "a".repeat(256);
        for wrong in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", ".tmp/x", "a/.b", "a b", "ä", "a\\b",
            "a\nb", "a\0", &long,
        ] {
            assert!(Key::new(wrong).is_err(), "{wrong}");
        }
    }
}
