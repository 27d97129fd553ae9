//! The server and the database that a dump is put back into: what is there already, and how a database is made,
//! taken away and put in another's place. Never drops a database that it did not make.

use crate::model::postgres::ServerFacts;
use crate::source::postgres::PostgresError;
use crate::source::postgres::archive::Entry;
use crate::source::postgres::connection::{Connection, identifier, literal};
use serde::Deserialize;
use std::time::Duration;

/// How long making, renaming or dropping a database may take: a drop waits for a checkpoint.
const CHANGE_LIMIT: Duration = Duration::from_secs(600);
/// Names that PostgreSQL takes without cutting them short.
const NAME_MAX_BYTES: usize = 63;

/// What is at the target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct There {
    /// Whether the database exists.
    pub exists: bool,
    /// Sessions that use it.
    pub sessions: u64,
    /// Roles of the server.
    pub roles: Vec<String>,
    /// Extensions that could be made there.
    pub extensions: Vec<String>,
    /// Its tablespaces.
    pub tablespaces: Vec<String>,
    /// The server's version, as in [`ServerFacts`].
    pub version_number: u32,
    /// Whether who restores may make databases.
    pub may_create: bool,
}

impl There {
    /// The version as people write it: 15.18.
    pub fn version(&self) -> String {
        format!(
            "{}.{}",
            self.version_number / 10_000,
            self.version_number % 10_000
        )
    }
}

/// Looks at the server, through a database that every server has.
pub fn look(target: &Connection) -> Result<There, PostgresError> {
    let database = literal(target.database());
    maintenance(target).ask(&format!(
        "SELECT json_build_object(
          'exists', EXISTS (SELECT FROM pg_database WHERE datname = {database}),
          'sessions', (SELECT count(*) FROM pg_stat_activity WHERE datname = {database}),
          'roles', (SELECT json_agg(rolname) FROM pg_roles),
          'extensions', (SELECT json_agg(name) FROM pg_available_extensions),
          'tablespaces', (SELECT json_agg(spcname) FROM pg_tablespace),
          'version_number', current_setting('server_version_num')::int,
          'may_create', (SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user))"
    ))
}

/// The connection that databases are made through.
pub fn maintenance(target: &Connection) -> Connection {
    target.to_database("postgres")
}

/// What a database holds: tables, views, sequences, functions and types of its own, sorted; empty for a new
/// one. Extensions and what belongs to them do not count.
pub fn contents(target: &Connection) -> Result<Vec<String>, PostgresError> {
    target.ask(
        "SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM (
           SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid, 'pg_class'::regclass AS of
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           UNION ALL
           SELECT format('%I.%I', n.nspname, p.proname), p.oid, 'pg_proc'::regclass
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           UNION ALL
           SELECT format('%I.%I', n.nspname, t.typname), t.oid, 'pg_type'::regclass
             FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
             WHERE t.typtype IN ('e', 'd', 'r') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
           UNION ALL
           SELECT format('large object %s', m.oid), m.oid, 'pg_largeobject_metadata'::regclass
             FROM pg_largeobject_metadata m
         ) held WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = held.of AND d.objid = held.oid AND d.deptype = 'e')",
    )
}

/// Makes the target's database, as the dump's was. A locale that the server does not have is left to it.
pub fn create(target: &Connection, like: &ServerFacts) -> Result<Option<String>, PostgresError> {
    let name = identifier(target.database());
    let encoding = literal(&like.encoding);
    let sql = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING {encoding}");
    let (collate, ctype) = (literal(&like.collate), literal(&like.ctype));
    let as_source = format!("{sql} LC_COLLATE {collate} LC_CTYPE {ctype};");
    let server = maintenance(target);
    let Err(error) = server.run(&as_source, CHANGE_LIMIT) else {
        return Ok(None);
    };
    let words = format!("{error:?}");
    if !words.contains("locale") {
        return Err(error);
    }
    server.run(&format!("{sql};"), CHANGE_LIMIT)?;
    let has_not = format!(
        "the server does not have the locale {}: {} was made with its own",
        like.collate,
        target.database()
    );
    Ok(Some(has_not))
}

/// Drops a database that was made here, whose sessions are ours and are ended.
pub fn drop_made(target: &Connection) -> Result<(), PostgresError> {
    let (name, text) = (identifier(target.database()), literal(target.database()));
    let sql = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = {text} AND usename = current_user;\nDROP DATABASE IF EXISTS {name};\n"
    );
    maintenance(target).run(&sql, CHANGE_LIMIT)
}

/// Puts the database `new` in the place of `old`, which gets the name `aside`. Either both are renamed or none:
/// a session in the old one makes it fail.
pub fn swap(target: &Connection, old: &str, new: &str, aside: &str) -> Result<(), PostgresError> {
    let (old, new, aside) = (identifier(old), identifier(new), identifier(aside));
    let sql = format!(
        "BEGIN;\nALTER DATABASE {old} RENAME TO {aside};\nALTER DATABASE {new} RENAME TO {old};\nCOMMIT;\n"
    );
    maintenance(target).run(&sql, CHANGE_LIMIT)
}

/// Gives the database `made` its name.
pub fn rename(target: &Connection, made: &str, name: &str) -> Result<(), PostgresError> {
    let (made, name) = (identifier(made), identifier(name));
    let sql = format!("ALTER DATABASE {made} RENAME TO {name};");
    maintenance(target).run(&sql, CHANGE_LIMIT)
}

/// Settings, owner and grants of the database itself, as the dump has them, for a database of any name.
pub fn settings_of(entries: &[Entry]) -> Vec<String> {
    let of_database = |entry: &&Entry| match entry.kind.as_str() {
        "DATABASE PROPERTIES" => true,
        "ACL" | "COMMENT" => entry.name.starts_with("DATABASE "),
        _ => false,
    };
    let definitions = entries.iter().filter(of_database);
    definitions.map(|entry| entry.definition.clone()).collect()
}

/// Gives a database those settings. What of them the server refuses is told, and the rest is done.
pub fn settings(target: &Connection, settings: &[String]) -> Vec<String> {
    let name = identifier(target.database());
    let mut notes = Vec::new();
    for definition in settings {
        let lines: Vec<String> = definition
            .lines()
            .map(|line| renamed(line, &name))
            .collect();
        if let Err(error) = maintenance(target).run(&lines.join("\n"), CHANGE_LIMIT) {
            let first = lines.first().map_or("", String::as_str);
            notes.push(format!(
                "without `{first}`: {}",
                crate::restore::postgres::chain(&error)
            ));
        }
    }
    notes
}

/// A statement about a database as one about `name`.
fn renamed(line: &str, name: &str) -> String {
    let Some((before, after)) = line.split_once(" DATABASE ") else {
        return line.to_owned();
    };
    let rest = match after.strip_prefix('"') {
        // Quotes within a quoted name are doubled.
        Some(quoted) => {
            let mut bytes = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = bytes.next() {
                if c == '"' && bytes.next_if(|(_, next)| *next == '"').is_none() {
                    end = at + 1;
                    break;
                }
            }
            &quoted[end..]
        }
        None => &after[after.find([' ', ';']).unwrap_or(after.len())..],
    };
    format!("{before} DATABASE {name}{rest}")
}

/// A name made of a database's and something that tells it apart, as long as a name may be.
pub fn name_beside(database: &str, suffix: &str) -> String {
    let mut keep = NAME_MAX_BYTES
        .saturating_sub(suffix.len())
        .min(database.len());
    while !database.is_char_boundary(keep) {
        keep -= 1;
    }
    format!("{}{suffix}", &database[..keep])
}

#[cfg(test)]
mod tests {
    use crate::restore::postgres::target::{name_beside, renamed};

    #[test]
    fn statements_about_a_database_are_made_about_another() {
        for (line, renamed_to) in [
            (
                "ALTER DATABASE app SET work_mem TO '8MB';",
                "ALTER DATABASE \"new\" SET work_mem TO '8MB';",
            ),
            (
                "ALTER ROLE ana IN DATABASE \"a \"\"b\" SET x TO '1';",
                "ALTER ROLE ana IN DATABASE \"new\" SET x TO '1';",
            ),
            (
                "GRANT CONNECT ON DATABASE app TO ana;",
                "GRANT CONNECT ON DATABASE \"new\" TO ana;",
            ),
            ("", ""),
        ] {
            assert_eq!(renamed(line, "\"new\""), renamed_to);
        }
    }

    #[test]
    fn names_stay_within_what_postgresql_takes() {
        assert_eq!(name_beside("app", "_ccb_1"), "app_ccb_1");
        let long = "ä".repeat(40);
        assert!(name_beside(&long, "_ccb_1").len() <= 63);
    }
}
