//! What a database is now, without its data: its schema, as a dump of it would say. Reads only, and waits for
//! no lock for long.

use crate::model::postgres::Schema;
use crate::model::secret::Secret;
use crate::model::strategy::{DumpFormat, PostgresSource};
use crate::source::SourceError;
use crate::source::postgres::connection::Connection;
use crate::source::postgres::{PostgresError, dump, facts, programs, schema};
use crate::source::program::ProgramError;
use std::time::Duration;

/// Whoever looks does not wait for long.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Asks the server for the schema of what a backup would hold.
pub fn live(spec: &PostgresSource, password: Option<Secret>) -> Result<Schema, SourceError> {
    let connection = Connection::new(spec, password);
    let server = facts::server(&connection)?;
    let (connection, _) = programs::fitting(&connection, "pg_dump", server.major())?;
    let program = dump::program(&connection, spec, DumpFormat::Custom, LOCK_WAIT);
    let (stream, killer) = program.arg("--schema-only").stream()?;
    let _ended = killer.guard();
    let read = schema::read(stream);
    Ok(
        read.map_err(|cause| match cause.downcast::<ProgramError>() {
            Ok(ended) => connection.as_refused(ended),
            Err(cause) => PostgresError::Program(ProgramError::Pipe {
                program: "pg_dump".to_owned(),
                cause,
            }),
        })?,
    )
}
