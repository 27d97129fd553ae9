//! The payloads that are JSON: what makes a backup exist, what is said of it later, and what a run did.
//! Deterministic (sorted keys, no blanks), so that equal facts are equal bytes; fields that this version
//! does not know are ignored on reading, another version is refused.

pub use crate::model::records::{
    Annotation, Check, ERRORS_MAX, Evidence, ExportRecord, Manifest, Note, PlanRef, PlanText,
    ReadError, RunRecord, Shape, Slot, Stats, StepOutcome, StepRecord, Subtotal, Tomb, Version,
};
use crate::repository::format::FormatError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::BTreeMap;

/// The version that all of them carry.
const KNOWN: u32 = 1;

/// A payload that carries its version as `v`, a [`Version`].
pub trait Payload: Serialize + DeserializeOwned {
    /// What it is called in errors.
    const WHAT: &'static str;

    /// Its bytes: equal facts, equal bytes.
    fn encode(&self) -> Vec<u8> {
        to_json(self)
    }

    /// Reads it; [`FormatError::Version`] when a later ccb wrote it.
    fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Outline {
            v: u32,
        }
        // It is looked at twice only where it is not what it should be: there may be thousands.
        from_json(Self::WHAT, bytes).map_err(|malformed| {
            match serde_json::from_slice::<Outline>(bytes) {
                Ok(Outline { v }) if v != KNOWN => FormatError::Version {
                    what: Self::WHAT,
                    found: v,
                    known: KNOWN,
                },
                _ => malformed,
            }
        })
    }
}

impl Payload for Manifest {
    const WHAT: &'static str = "manifest";
}
impl Payload for Tomb {
    const WHAT: &'static str = "tomb";
}
impl Payload for Annotation {
    const WHAT: &'static str = "annotation";
}
impl Payload for ExportRecord {
    const WHAT: &'static str = "record of an export";
}
impl Payload for RunRecord {
    const WHAT: &'static str = "run record";
}

/// JSON without blanks, keys sorted at every level.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("payloads are plain data with text as keys");
    serde_json::to_vec(&sorted(value)).expect("JSON in memory has no way to fail")
}

/// Whatever order the map of this build of serde_json keeps, sorted keys go in and come out sorted.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().collect();
            Value::Object(map.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

pub(crate) fn from_json<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(|cause| FormatError::malformed(what, cause.to_string()))
}
