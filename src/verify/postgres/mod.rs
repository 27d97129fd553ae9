//! The checks of a PostgreSQL dump: what it lists against what was counted when it was made, and whether it
//! really comes back, where nothing else is. `pg_restore --list` proves neither.

mod contents;
mod found;
mod given;
mod place;
mod restore_test;
pub mod server;
pub(crate) mod user;

pub use crate::verify::postgres::contents::contents;
pub use crate::verify::postgres::restore_test::{DumpTest, restore_test};

use crate::model::postgres::{DumpFacts, Schema};
use crate::model::records::{Check, Manifest};
use crate::model::tree::Node;
use crate::repository::Reader;
use crate::restore::postgres::schema;
use crate::verify::{Against, Finding, chain};

/// The facts of a dump, or a finding that there are none.
fn facts_of(manifest: &Manifest, check: Check) -> Result<DumpFacts, Finding> {
    DumpFacts::of(manifest).ok_or_else(|| {
        let mut against = Against::default();
        against.push("the backup does not say what its dump holds".to_owned());
        Finding::new(check, [], &against, String::new())
    })
}

/// The schema that is stored beside a dump.
async fn stored_schema(facts: &DumpFacts, reader: &Reader, root: &Node) -> Result<Schema, String> {
    schema(facts, reader, root).await.map_err(|e| chain(&e))
}
