//! Gives a dump to `pg_restore` or `psql`: through its standard input, or, for several jobs, as a file.

use crate::restore::postgres::prepare::{Into, Prepared};
use crate::restore::postgres::{READ_LEN_BYTES, Request, RestoreError, Stored, waiting};
use crate::source::postgres::PLAIN;
use crate::source::postgres::connection::Connection;
use crate::source::program::{Killer, Program};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Longest that `pg_restore` may print.
const SAID_MAX_BYTES: usize = 1 << 20;
/// How long a restore may take.
const LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Feeds the dump. `at_end` is called when the program has all of it and still makes indexes and constraints of
/// what others can see already.
pub(crate) async fn feed(
    dump: Stored,
    request: &Request,
    prepared: &Prepared,
    at_end: impl FnOnce() + Send + 'static,
) -> Result<(), RestoreError> {
    let at = request.target.title();
    if request.facts.format == PLAIN {
        let psql = prepared.connection.script();
        let psql = psql.args(["--single-transaction", "--file=-"]);
        return stdin(dump, psql, at, || ()).await;
    }
    let ids = prepared.ids.as_deref();
    let list = ids.map(|ids| List::of(ids, &request.scratch)).transpose()?;
    let mut program = pg_restore(&prepared.connection, request.no_owner);
    if let Some(list) = &list {
        program = program.arg(list.argument());
    }
    if prepared.has_other_places {
        program = program.arg("--no-tablespaces");
    }
    if prepared.clean {
        program = program.args(["--clean", "--if-exists"]);
    }
    // Into what was there everything goes in at once or not at all. Where it is new one transaction would only
    // need a lock for each table and large object at once.
    let jobs = match &prepared.into {
        Into::There => {
            return stdin(dump, program.arg("--single-transaction"), at, || ()).await;
        }
        Into::New | Into::Beside { .. } => request.jobs,
    };
    if jobs <= 1 || prepared.connection.is_via() {
        return stdin(dump, program, at, at_end).await;
    }
    let file = as_file(dump, &request.scratch).await?;
    let program = program.arg(format!("--jobs={jobs}")).arg(file.path());
    run(program, at).await
}

/// `pg_restore` into a database, which ends at the first error.
pub fn pg_restore(connection: &Connection, no_owner: bool) -> Program {
    let program = connection.program("pg_restore").arg("--exit-on-error");
    match no_owner {
        true => program.args(["--no-owner", "--no-privileges"]),
        false => program,
    }
}

/// Runs a program to its end.
pub async fn run(program: Program, at: String) -> Result<(), RestoreError> {
    let ran = waiting(move || {
        let ran = program.output(SAID_MAX_BYTES, LIMIT);
        ran.map_err(|cause| RestoreError::Restore { at, cause })
    });
    ran.await.map(|_| ())
}

/// Gives the dump to a program's standard input. The program is ended when the dump can not be read through:
/// it must not take what it has for everything. `at_end` is called when it has taken it all.
pub async fn stdin(
    mut dump: Stored,
    program: Program,
    at: String,
    at_end: impl FnOnce() + Send + 'static,
) -> Result<(), RestoreError> {
    let feed = move || {
        let failed = |cause| RestoreError::Restore {
            at: at.clone(),
            cause,
        };
        let mut fed = program.feed().map_err(failed)?;
        let mut buffer = vec![0; READ_LEN_BYTES];
        loop {
            match dump.stream.read(&mut buffer) {
                Ok(0) => {
                    at_end();
                    break;
                }
                Ok(len) => {
                    // A program that takes no more has ended, and its status says why.
                    if fed.write_all(&buffer[..len]).is_err() {
                        break;
                    }
                }
                Err(error) => {
                    fed.killer().iter().for_each(Killer::kill);
                    let _ = fed.finish();
                    return Err(RestoreError::Read(error));
                }
            }
        }
        fed.finish().map(|_| ()).map_err(failed)
    };
    waiting(feed).await
}

/// The dump as a file, that only this user can read, gone when dropped.
pub async fn as_file(mut dump: Stored, folder: &Path) -> Result<NamedTempFile, RestoreError> {
    let folder = folder.to_owned();
    let write = move || {
        let failed = |cause| RestoreError::Io {
            doing: format!(
                "write the dump of {} bytes to a file in `{}`",
                dump.len_bytes,
                folder.display()
            ),
            cause,
        };
        let mut file = temporary(&folder).map_err(failed)?;
        let mut buffer = vec![0; READ_LEN_BYTES];
        loop {
            match dump.stream.read(&mut buffer).map_err(RestoreError::Read)? {
                0 => break,
                len => file.write_all(&buffer[..len]).map_err(failed)?,
            }
        }
        Ok(file)
    };
    waiting(write).await
}

fn temporary(scratch: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new()
        .prefix("ccb-restore-")
        .tempfile_in(scratch)
}

/// The entries to restore, as `pg_restore --use-list` reads them: a file, gone when dropped.
pub struct List(NamedTempFile);

impl List {
    /// Writes the numbers of the entries into a file in `scratch`.
    pub fn of(ids: &[i64], scratch: &Path) -> Result<Self, RestoreError> {
        let failed = |cause| RestoreError::Io {
            doing: format!("write a list of entries in `{}`", scratch.display()),
            cause,
        };
        let mut file = temporary(scratch).map_err(failed)?;
        let lines: String = ids.iter().map(|id| format!("{id};\n")).collect();
        file.write_all(lines.as_bytes())
            .and_then(|()| file.flush())
            .map_err(failed)?;
        Ok(Self(file))
    }

    /// What `pg_restore` is told.
    pub fn argument(&self) -> String {
        format!("--use-list={}", self.0.path().display())
    }
}
