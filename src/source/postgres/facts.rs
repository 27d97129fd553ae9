//! What a server says of itself and of one database, asked in one question.

use crate::model::postgres::ServerFacts;
use crate::model::wal::SystemId;
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::Connection;
use serde::Deserialize;

/// Settings that a newer server has and an older one not are asked through the row as JSON: what is not there
/// is null.
const SERVER: &str = "
SELECT json_build_object(
  'version', current_setting('server_version'),
  'version_number', current_setting('server_version_num')::int,
  'database', current_database(),
  'database_bytes', pg_database_size(current_database()),
  'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate,
  'ctype', d.datctype,
  'collation_version', row_to_json(d)->>'datcollversion',
  'extensions', (SELECT coalesce(json_object_agg(extname, extversion ORDER BY extname), '{}') FROM pg_extension),
  'roles', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]') FROM pg_roles WHERE rolname !~ '^pg_'),
  'tls', (SELECT json_build_object('version', version, 'cipher', cipher)
          FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl),
  'in_recovery', pg_is_in_recovery(),
  'is_superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
FROM pg_database d WHERE d.datname = current_database()";

/// Tables that a dump would hold rows of. Members of extensions are made by their extension.
const TABLES: &str = "
SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'name', c.relname) ORDER BY 1), '[]')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
                  AND e.objid = c.oid AND e.deptype = 'e')";

/// Asks the server.
pub fn server(connection: &Connection) -> Result<ServerFacts, PostgresError> {
    let facts: ServerFacts = connection.ask(SERVER)?;
    Ok(ServerFacts {
        system_identifier: system(connection).ok(),
        ..facts
    })
}

/// Which cluster the server is of, or why it does not say.
pub fn system(connection: &Connection) -> Result<SystemId, PostgresError> {
    connection.ask("SELECT to_json(system_identifier::text) FROM pg_control_system()")
}

/// A table, by its names as they are, not quoted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(missing_docs)]
pub struct Table {
    pub schema: String,
    pub name: String,
}

/// The tables of the database.
pub fn tables(connection: &Connection) -> Result<Vec<Table>, PostgresError> {
    let mut tables: Vec<Table> = connection.ask(TABLES)?;
    tables.sort();
    Ok(tables)
}
