//! Whether what the plan file names is there: a pattern that matches nothing is a mistake, and a dump that
//! silently lacks a schema, or silently has a table that was to be left out, is not what was asked for.

use crate::model::strategy::PostgresSource;
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::Connection;
use crate::source::program::ProgramError;
use std::io::{self, Read};
use std::time::Duration;

/// Asks `pg_dump` itself, since its patterns are its own.
pub fn check(
    connection: &Connection,
    spec: &PostgresSource,
    lock_wait: Duration,
) -> Result<(), PostgresError> {
    for (setting, option, names) in [
        ("schemas", "--schema", &spec.schemas),
        ("exclude-tables", "--table", &spec.exclude_tables),
    ] {
        if names.is_empty() {
            continue;
        }
        let mut program = connection.program("pg_dump");
        program = program.args(["--schema-only", "--strict-names"]);
        program = program.arg(format!("--lock-wait-timeout={}", lock_wait.as_millis()));
        for name in names {
            program = program.arg(format!("{option}={name}"));
        }
        let (mut stream, _killer) = program.stream()?;
        let read = io::copy(&mut stream.by_ref(), &mut io::sink());
        match read.map_err(|e| e.downcast::<ProgramError>()) {
            Ok(_) => {}
            Err(Ok(ProgramError::Ended { said, .. })) if said.contains("no matching") => {
                let words = said.trim_start_matches("pg_dump: error: ").to_owned();
                return Err(PostgresError::NoMatch { setting, words });
            }
            Err(Ok(error)) => return Err(connection.as_refused(error)),
            Err(Err(cause)) => {
                let program = "pg_dump".to_owned();
                return Err(ProgramError::Pipe { program, cause }.into());
            }
        }
    }
    Ok(())
}
