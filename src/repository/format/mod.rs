//! The repository format "ccb/1" as bytes: what every object looks like, how it is sealed and how it is
//! named. Pure: no store, no clock, no randomness; salts, ids and instants are arguments. The
//! specification, exact to the byte, is `schemas/repository.md`; its test vectors are run against this.

pub mod blob;
pub mod chunk;
pub mod config;
pub mod index;
pub mod key;
pub mod manifest;
pub mod pack;
pub mod parts;
pub mod seal;
pub mod tree;

pub(crate) mod aead;
mod wire;

/// Why bytes are not the object they should be. Callers match on the variant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The first bytes are not those of this type of object.
    #[error("this is not a ccb {0}")]
    Foreign(&'static str),
    /// It ends too early.
    #[error("the {0} is cut short")]
    Truncated(&'static str),
    /// Its tag does not fit: altered bytes, or another object's bytes under this name.
    #[error("the {0} fails authentication: it is damaged, or not the object that its name says")]
    Authentication(&'static str),
    /// It authenticates or carries no tag, and its contents break a rule.
    #[error("the {what} is malformed: {why}")]
    Malformed {
        /// Type of object.
        what: &'static str,
        /// Which rule.
        why: String,
    },
    /// A size in it exceeds what the format allows, or it would decompress to more.
    #[error("the {what} would take more than {limit_bytes} bytes")]
    TooLarge {
        /// Type of object.
        what: &'static str,
        /// The limit.
        limit_bytes: u64,
    },
    /// It was written in a later version of the format.
    #[error("the {what} has format version {found}, this ccb reads up to {known}: use a newer ccb")]
    Version {
        /// Type of object.
        what: &'static str,
        /// What it says.
        found: u32,
        /// The latest that can be read.
        known: u32,
    },
    /// It uses something that this version does not know.
    #[error(
        "the {what} needs the feature {feature}, which this ccb does not have: use a newer ccb"
    )]
    Feature {
        /// Type of object.
        what: &'static str,
        /// The feature, by name or flag.
        feature: String,
    },
    /// It is sealed under a data key that the keyring does not hold.
    #[error(
        "the {what} is sealed under key epoch {epoch}, which the keyring does not hold: keys were rotated after this run began, so run again; or the key is from before a rotation"
    )]
    NoKey {
        /// Type of object.
        what: &'static str,
        /// The epoch.
        epoch: u16,
    },
}

impl FormatError {
    pub(crate) fn malformed(what: &'static str, why: impl Into<String>) -> Self {
        let why = why.into();
        Self::Malformed { what, why }
    }
}
