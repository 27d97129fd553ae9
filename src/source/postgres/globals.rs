//! What belongs to the server and not to a database: roles, their memberships and settings, tablespaces. A
//! dump has none of it.

use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::Connection;
use crate::source::program::ProgramError;
use std::time::Duration;

const MAX_BYTES: usize = 256 << 20;
const LIMIT: Duration = Duration::from_secs(300);
/// `pg_dumpall` writes this last, but for a closing `\unrestrict`.
const END: &str = "-- PostgreSQL database cluster dump complete";

/// `globals.sql`, or why this role may not have it. Only a superuser is given password hashes.
pub fn globals(
    connection: &Connection,
    is_superuser: bool,
) -> Result<Result<Vec<u8>, String>, PostgresError> {
    let mut program = connection.program("pg_dumpall").arg("--globals-only");
    program = program.arg("--lock-wait-timeout=60000");
    if !is_superuser {
        program = program.arg("--no-role-passwords");
    }
    match program.output(MAX_BYTES, LIMIT) {
        Ok(printed) => {
            let text = String::from_utf8_lossy(&printed.stdout);
            match text.contains(END) {
                true => Ok(Ok(printed.stdout)),
                false => Err(PostgresError::NotEnded {
                    what: "globals.sql",
                    program: "pg_dumpall",
                }),
            }
        }
        Err(ProgramError::Ended { said, .. }) if said.contains("permission denied") => {
            Ok(Err(said))
        }
        Err(cause) => Err(connection.as_refused(cause)),
    }
}
