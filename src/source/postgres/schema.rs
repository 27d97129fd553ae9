//! The schema of a dump, out of the archive's own table of contents: `pg_dump` has parted it into objects
//! already. Definitions of tables are read for their columns, short ones are kept as text laid out one way, and
//! of everything else stands a digest. What can not be parsed is compared as text; it never fails a backup.

use crate::model::postgres::{Object, Schema, table_name};
use crate::source::postgres::archive::{Entry, Scanner};
use sqlparser::ast::{ColumnDef, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Place;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So much is read at once.
const READ_LEN_BYTES: usize = 64 << 10;
/// Longer definitions are not parsed: nobody reads them in a difference.
const PARSED_MAX_BYTES: usize = 256 << 10;
/// Longer ones are not kept as text.
const KEPT_MAX_BYTES: usize = 2 << 10;

/// Settings of the dump, and what belongs to data: no part of the schema.
const NO_SCHEMA: &[&str] = &[
    "ENCODING",
    "STDSTRINGS",
    "SEARCHPATH",
    "BLOB",
    "BLOB METADATA",
    "BLOBS",
    "BLOB COMMENTS",
    "TABLE DATA",
    "SEQUENCE SET",
    "MATERIALIZED VIEW DATA",
    "STATISTICS DATA",
];
/// Kinds whose definition is worth showing when it changed.
const SHOWN: &[&str] = &[
    "VIEW",
    "MATERIALIZED VIEW",
    "TYPE",
    "DOMAIN",
    "INDEX",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "FK CONSTRAINT",
    "DEFAULT",
    "SEQUENCE",
    "TRIGGER",
    "POLICY",
];

/// The schema that these entries make.
pub fn schema(entries: &[Entry]) -> Schema {
    let mut objects: BTreeMap<String, Object> = BTreeMap::new();
    let of_schema = |entry: &&Entry| !NO_SCHEMA.contains(&entry.kind.as_str());
    for entry in entries.iter().filter(of_schema) {
        match objects.entry(key(entry)) {
            Place::Vacant(place) => {
                place.insert(object(entry));
            }
            // Operators of one name and other operands: told apart by what they are together.
            Place::Occupied(mut place) => {
                let both = format!("{}{}", place.get().digest, digest(&entry.definition));
                place.get_mut().digest = digest(&both);
            }
        }
    }
    Schema { objects }
}

/// The schema of an archive, read to its end.
pub fn read(mut archive: impl Read) -> io::Result<Schema> {
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; READ_LEN_BYTES];
    loop {
        match archive.read(&mut buffer)? {
            0 => break,
            len => scanner.feed(&buffer[..len]).map_err(io::Error::other)?,
        }
    }
    let archive = scanner.finish().map_err(io::Error::other)?;
    Ok(schema(&archive.entries))
}

/// `TABLE public.users`, `INDEX public.users_email_idx`, `EXTENSION pgcrypto`.
fn key(entry: &Entry) -> String {
    // Some names are two, such as that of a constraint, and some have arguments: only simple ones are quoted.
    let name = match entry.kind.as_str() {
        "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" | "SEQUENCE" | "INDEX"
        | "TYPE" | "DOMAIN" => table_name(&entry.schema, &entry.name),
        _ if entry.schema.is_empty() => entry.name.clone(),
        _ => format!("{}.{}", table_name("", &entry.schema), entry.name),
    };
    format!("{} {name}", entry.kind)
}

fn object(entry: &Entry) -> Object {
    let statement = parsed(&entry.definition);
    let columns = match &statement {
        Some(Statement::CreateTable(table)) => table.columns.iter().map(column).collect(),
        _ => Vec::new(),
    };
    let is_shown = SHOWN.contains(&entry.kind.as_str());
    let text = is_shown.then(|| match &statement {
        Some(statement) => statement.to_string(),
        None => one_line(&entry.definition),
    });
    Object {
        columns,
        definition: text.filter(|text| text.len() <= KEPT_MAX_BYTES),
        digest: digest(&entry.definition),
    }
}

fn column(column: &ColumnDef) -> (String, String) {
    let mut said = column.data_type.to_string();
    for option in &column.options {
        said = format!("{said} {option}");
    }
    (column.name.value.clone(), said)
}

/// The first statement of a definition; `None` when it is none that the parser knows.
fn parsed(definition: &str) -> Option<Statement> {
    if definition.len() > PARSED_MAX_BYTES {
        return None;
    }
    // Whatever a parser makes of a definition that it has never met, the backup goes on.
    let parse = || {
        let mut parser = Parser::new(&PostgreSqlDialect {})
            .try_with_sql(definition)
            .ok()?;
        parser.parse_statement().ok()
    };
    catch_unwind(AssertUnwindSafe(parse)).ok().flatten()
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").trim_end_matches(';').to_owned()
}

fn digest(text: &str) -> String {
    let hash = blake3::hash(text.trim_end().as_bytes());
    hash.to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use crate::source::postgres::archive::Entry;
    use crate::source::postgres::schema::schema;

    fn entry(kind: &str, name: &str, definition: &str) -> Entry {
        Entry {
            id: 1,
            kind: kind.to_owned(),
            schema: "public".to_owned(),
            name: name.to_owned(),
            tablespace: String::new(),
            owner: String::new(),
            definition: definition.to_owned(),
            needs: Vec::new(),
            has_data: false,
        }
    }

    #[test]
    fn columns_of_tables_are_read_with_their_types_and_options() {
        let table = "CREATE TABLE public.users (\n    id bigint NOT NULL,\n    email character varying(255) DEFAULT ''::character varying NOT NULL,\n    tags text[],\n    at timestamp(3) with time zone\n)\nPARTITION BY RANGE (at);\n\n\nALTER TABLE ONLY public.users ALTER COLUMN id SET STATISTICS 100;\n";
        let schema = schema(&[entry("TABLE", "users", table)]);
        let columns: Vec<String> = schema.objects["TABLE public.users"]
            .columns
            .iter()
            .map(|(name, said)| format!("{name}: {said}"))
            .collect();
        assert_eq!(
            columns,
            [
                "id: BIGINT NOT NULL",
                "email: CHARACTER VARYING(255) DEFAULT ''::CHARACTER VARYING NOT NULL",
                "tags: TEXT[]",
                "at: TIMESTAMP(3) WITH TIME ZONE",
            ]
        );
    }

    #[test]
    fn what_can_not_be_parsed_is_kept_as_text_or_digest() {
        let odd = "CREATE INDEX i ON ONLY public.t USING btree\n  (a);\n";
        let objects = schema(&[
            entry("INDEX", "i", odd),
            entry("FUNCTION", "f()", "CREATE FUNCTION ((((("),
            entry("TABLE", "broken", "CREATE TABLE nonsense"),
            entry("TABLE DATA", "t", ""),
        ])
        .objects;
        let names: Vec<&str> = objects.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "FUNCTION public.f()",
                "INDEX public.i",
                "TABLE public.broken"
            ]
        );
        let index = &objects["INDEX public.i"];
        let kept = index.definition.as_deref().expect("it is short");
        assert!(
            kept.starts_with("CREATE INDEX i ON ONLY public.t"),
            "{kept}"
        );
        assert!(objects["FUNCTION public.f()"].definition.is_none());
        assert!(objects["TABLE public.broken"].columns.is_empty());
    }

    #[test]
    fn objects_of_one_name_are_told_apart_together() {
        let one = entry("OPERATOR", "===", "CREATE OPERATOR one");
        let two = entry("OPERATOR", "===", "CREATE OPERATOR two");
        let both = schema(&[one.clone(), two]);
        assert_eq!(both.objects.len(), 1);
        assert_ne!(both, schema(&[one]));
    }
}
