//! What a dump of a PostgreSQL database says of itself, as it is kept with the backup: facts about the server,
//! what each table held, and the schema. Plain data, with the names by which tables are asked for.

pub mod drift;

use crate::model::ids::Digest;
use crate::model::records::Manifest;
use crate::model::wal::SystemId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Under this name the facts stand in a manifest's `source`.
pub const FACTS_KEY: &str = "postgres";

/// What is known of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpFacts {
    /// The server.
    pub server: ServerFacts,
    /// Name of the file with the dump in the backup.
    pub file: String,
    /// `custom` or `plain`.
    pub format: String,
    /// Entries of the table of contents; 0 for a plain dump, which has none.
    pub entries: u64,
    /// Of everything that was dumped, but not of when and by which program: equal for two dumps of a database
    /// that did not change.
    pub content: Digest,
    /// What was dumped of each table, by [`table_name`].
    pub tables: BTreeMap<String, TableFacts>,
    /// Large objects.
    pub large_objects: LargeObjectFacts,
    /// What the plan file leaves out, in its words; empty for the whole database.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Whether the roles' password hashes are in `globals.sql`.
    pub has_role_passwords: bool,
    /// What `pg_dump` said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl DumpFacts {
    /// Those of a backup, if it is a dump.
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let facts = manifest.source.get(FACTS_KEY)?;
        serde_json::from_value(facts.clone()).ok()
    }

    /// Rows of all tables; `None` where they could not be counted.
    pub fn rows(&self) -> Option<u64> {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// The tables that `wanted` names: see [`is_named`].
    pub fn named<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = (&'a str, &'a TableFacts)> {
        let tables = self
            .tables
            .iter()
            .map(|(name, facts)| (name.as_str(), facts));
        tables.filter(move |(name, _)| is_named(name, wanted))
    }
}

/// What a server said of itself and of one database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Its version as it writes it: `15.18 (Debian 15.18-1.pgdg120+1)`.
    pub version: String,
    /// The same as a number that can be compared: 150018.
    pub version_number: u32,
    /// The database.
    pub database: String,
    /// What it takes on the server's disk.
    pub database_bytes: u64,
    /// Encoding of the database.
    pub encoding: String,
    /// LC_COLLATE.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// Version of that collation where the server's system knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
    /// Extensions of the database and their versions.
    pub extensions: BTreeMap<String, String>,
    /// Roles of the server, sorted.
    pub roles: Vec<String>,
    /// How the connection was encrypted; `None`: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    /// Which cluster it is of, a standby of it too; `None` where that was not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<SystemId>,
    /// Whether it is a standby.
    pub in_recovery: bool,
    /// Whether who asked is superuser.
    pub is_superuser: bool,
}

impl ServerFacts {
    /// The number before the first dot, by which versions differ in what they can read: 15, 9 of 9.6.
    pub fn major(&self) -> u32 {
        self.version_number / 10_000
    }
}

/// How a connection was encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct TlsFacts {
    pub version: String,
    pub cipher: String,
}

/// What a dump holds of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Rows; `None` where the dump is compressed, so that they could not be counted.
    pub rows: Option<u64>,
    /// Bytes in the dump.
    pub bytes: u64,
    /// BLAKE3 of those.
    pub blake3: Digest,
}

/// Large objects of a dump.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct LargeObjectFacts {
    pub count: u64,
    pub bytes: u64,
}

/// The schema of a dump: everything in it that is not data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// What there is, by kind and name: `TABLE public.users`, `FK CONSTRAINT public.orders orders_user_fkey`.
    pub objects: BTreeMap<String, Object>,
}

impl Schema {
    /// Whether it has the table that `wanted` names, one in partitions too: see [`is_named`].
    pub fn has_table(&self, wanted: &str) -> bool {
        let tables = self.objects.keys();
        let mut names = tables.filter_map(|object| object.strip_prefix("TABLE "));
        names.any(|name| is_named(name, wanted))
    }
}

/// One thing of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Columns of a table in order, each with its type and what else is said of it: `id`, `BIGINT NOT NULL`. Empty
    /// for what is no table, and for a table whose definition could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<(String, String)>,
    /// The definition, laid out one way, of what is short and worth showing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// The first 16 bytes of the BLAKE3 of the definition as it was dumped.
    pub digest: String,
}

/// A table's name as SQL would have it, quoted where it must be: `public.users`, `public."Odd name"`.
pub fn table_name(schema: &str, table: &str) -> String {
    let part = |name: &str| match is_plain(name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    match schema.is_empty() {
        true => part(table),
        false => format!("{}.{}", part(schema), part(table)),
    }
}

fn is_plain(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_$".contains(&b))
}

/// Whether a plan file that says `wanted` means the table `name`, which is as [`table_name`] makes it. Without
/// a schema a table of that name in any schema is meant.
pub fn is_named(name: &str, wanted: &str) -> bool {
    let ends_with = |table: &str| {
        name.strip_suffix(table)
            .is_some_and(|schema| schema.ends_with('.'))
    };
    name == wanted || ends_with(wanted) || ends_with(&table_name("", wanted))
}

#[cfg(test)]
mod tests {
    use crate::model::postgres::{is_named, table_name};

    #[test]
    fn names_are_quoted_where_sql_wants_it() {
        assert_eq!(table_name("public", "users"), "public.users");
        assert_eq!(table_name("", "users"), "users");
        assert_eq!(table_name("App", "odd \"name\""), r#""App"."odd ""name""""#);
        assert_eq!(table_name("public", "2024"), "public.\"2024\"");
    }

    #[test]
    fn a_name_without_a_schema_means_any_and_one_with_it_that_one() {
        for (name, wanted, means) in [
            ("public.users", "users", true),
            ("public.users", "public.users", true),
            ("public.users", "app.users", false),
            ("public.super_users", "users", false),
            ("public.\"Users\"", "Users", true),
            ("public.\"Users\"", "users", false),
        ] {
            assert_eq!(is_named(name, wanted), means, "{name} {wanted}");
        }
    }
}
