//! A database for a restore test, on a server that the plan file names and that is not the one which was backed up:
//! there it would flood the log, the archive and the standbys. It is dropped whatever becomes of the test; what a
//! killed run left is dropped by the next, which tells it by a lock that its run does not hold any more.

use crate::model::postgres::ServerFacts;
use crate::restore::postgres::target;
use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::{Connection, identifier, literal};
use crate::source::postgres::{facts, programs};
use crate::source::program::Fed;
use crate::verify::chain;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

/// What they are called; 16 hexadecimal digits follow.
const PREFIX: &str = "ccb_verify_";
/// How long dropping may take: it waits for sessions that are being ended, and for a checkpoint.
const DROP_LIMIT: Duration = Duration::from_secs(600);
/// How long a session may take to have its lock, which nobody else wants.
const LOCK_LIMIT: Duration = Duration::from_secs(120);
const LOCK_LOOK: Duration = Duration::from_millis(20);

/// A database that is gone when this is dropped.
pub(super) struct TemporaryDatabase {
    connection: Connection,
    version: String,
    extensions: Vec<String>,
    is_there: bool,
    /// A session that has the lock as long as its input is open: until then, or until this process ends.
    _holder: Fed,
}

impl TemporaryDatabase {
    /// Makes one as the source was. `random` makes its name.
    pub(super) fn make(
        server: &Connection,
        random: u64,
        source: &ServerFacts,
    ) -> Result<Self, String> {
        let number = random & i64::MAX as u64;
        let target = server.to_database(&format!("{PREFIX}{number:016x}"));
        let maintenance = target::maintenance(&target);
        check_is_another(&maintenance, source)?;
        remove_stale(&maintenance).map_err(|e| {
            let at = maintenance.server();
            format!("drop what an earlier test left at {at}: {}", chain(&e))
        })?;
        let there = target::look(&target).map_err(|e| chain(&e))?;
        check_is_able(&maintenance, &there, source)?;
        let major = there.version_number / 10_000;
        let fitting = programs::fitting(&target, "pg_restore", major.max(source.major()));
        let (connection, _) = fitting.map_err(|e| chain(&e))?;
        let mut made = Self {
            version: there.version(),
            extensions: there.extensions,
            connection,
            is_there: false,
            _holder: hold(&maintenance, number)?,
        };
        // Also where the answer is lost: dropping one that is not there is no error.
        made.is_there = true;
        target::create(&made.connection, source).map_err(|e| chain(&e))?;
        Ok(made)
    }

    /// How it is reached.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The version of its server.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// Extensions that can be made in it.
    pub(super) fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> String {
        self.connection.server()
    }

    /// Drops it, and says when that failed.
    pub(super) fn remove(mut self) -> Result<(), PostgresError> {
        self.is_there = false;
        drop_database(&self.connection)
    }
}

impl Drop for TemporaryDatabase {
    fn drop(&mut self) {
        if self.is_there {
            // What could not be dropped now is dropped by the next run.
            let _ = drop_database(&self.connection);
        }
    }
}

/// Refuses the server that was backed up, its standbys and its copies.
fn check_is_another(server: &Connection, source: &ServerFacts) -> Result<(), String> {
    let at = server.server();
    let system = facts::system(server).map_err(|e| chain(&e))?;
    match source.system_identifier {
        Some(of_source) if of_source != system => Ok(()),
        Some(_) => Err(format!(
            "not tested: the server at {at} is the one that was backed up, or a copy of it (system identifier {system}), and a restore there would flood its log, its archive and its standbys; name another server, or none"
        )),
        None => Err(format!(
            "not tested: the backup does not say which server it is of, so that it can not be told from the one at {at}; a newer backup does"
        )),
    }
}

fn check_is_able(
    server: &Connection,
    there: &target::There,
    source: &ServerFacts,
) -> Result<(), String> {
    let at = server.server();
    if !there.may_create {
        return Err(format!(
            "not tested: the role may not make databases at {at}: ALTER ROLE … CREATEDB"
        ));
    }
    if there.version_number / 10_000 < source.major() {
        return Err(format!(
            "not tested: the server at {at} is PostgreSQL {}, and the dump is of {}",
            there.version(),
            source.major()
        ));
    }
    Ok(())
}

/// Takes a lock that says that the database of this number is in use.
fn hold(server: &Connection, number: u64) -> Result<Fed, String> {
    let failed = |e: &dyn std::error::Error| format!("lock a name for it: {}", chain(e));
    let mut holder = server.script().feed().map_err(|e| failed(&e))?;
    // A session that only holds a lock must not be taken for one that was forgotten.
    let sql = format!(
        "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout';\nSELECT pg_advisory_lock({number});\n"
    );
    let written = holder.write_all(sql.as_bytes());
    written.map_err(|e| failed(&e))?;
    let is_held = format!(
        "SELECT to_json(EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
           AND (classid::bigint << 32 | objid::bigint) = {number}))"
    );
    let started = Instant::now();
    while !server.ask::<bool>(&is_held).map_err(|e| failed(&e))? {
        if started.elapsed() > LOCK_LIMIT {
            return Err(format!(
                "lock a name for it: no answer in {} s",
                LOCK_LIMIT.as_secs()
            ));
        }
        thread::sleep(LOCK_LOOK);
    }
    Ok(holder)
}

/// Drops databases that killed runs left: those of such a name and this role whose lock nobody holds.
fn remove_stale(server: &Connection) -> Result<(), PostgresError> {
    let sql = format!(
        "SELECT coalesce(json_agg(datname ORDER BY datname), '[]') FROM (
           SELECT datname FROM pg_database
           WHERE datname ~ '^{PREFIX}[0-9a-f]{{16}}$'
             AND datdba = (SELECT oid FROM pg_roles WHERE rolname = current_user)
           OFFSET 0) made
         WHERE pg_try_advisory_xact_lock(('x' || right(datname, 16))::bit(64)::bigint)"
    );
    let stale: Vec<String> = server.ask(&sql)?;
    stale
        .iter()
        .try_for_each(|name| drop_database(&server.to_database(name)))
}

/// Drops it, also when something still works in it: the programs of a run that was killed.
fn drop_database(made: &Connection) -> Result<(), PostgresError> {
    let (name, quoted) = (literal(made.database()), identifier(made.database()));
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = {name} AND usesysid = (SELECT oid FROM pg_roles WHERE rolname = current_user);
         DROP DATABASE IF EXISTS {quoted};"
    );
    target::maintenance(made).run(&sql, DROP_LIMIT)
}
