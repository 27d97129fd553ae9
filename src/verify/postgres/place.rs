//! Where a dump is restored as a test: in a server of one's own, or in a database of its own on a server that the
//! plan file names. Either is gone afterwards.

use crate::model::postgres::DumpFacts;
use crate::restore::postgres::{roles, target};
use crate::source::postgres::connection::Connection;
use crate::verify::chain;
use crate::verify::postgres::DumpTest;
use crate::verify::postgres::given::TemporaryDatabase;
use crate::verify::postgres::server::{Make, Server};
use crate::verify::temporary::TemporaryDirectory;
use std::path::Path;
use std::time::Duration;

/// The database that is made in a server of one's own.
const DATABASE: &str = "ccb_restore_test";
/// Roles take no time to make.
const ROLES_LIMIT: Duration = Duration::from_secs(120);

/// A place that is there, with all that a dump needs around it.
pub(super) enum Place {
    /// A server that was made for the test, and its version.
    Own(Server, String),
    /// A database on a server that is there for tests.
    Given(TemporaryDatabase),
}

impl Place {
    /// Makes it. A server of one's own gets the roles of `globals`. On another nothing is made that would stay:
    /// there the dump does without roles.
    pub(super) fn make(
        facts: &DumpFacts,
        request: &DumpTest,
        globals: &str,
    ) -> Result<Self, String> {
        if let Some(server) = &request.server {
            let made = TemporaryDatabase::make(server, request.random, &facts.server)?;
            let on = format!("the server at {}", made.place());
            check_extensions(facts, made.extensions(), &on)?;
            return Ok(Self::Given(made));
        }
        let directory = TemporaryDirectory::new(&request.parent, request.random);
        let directory = directory.map_err(|e| format!("make a temporary directory: {e}"))?;
        let make = Make {
            major: facts.server.major(),
            encoding: &facts.server.encoding,
            locale: (&facts.server.collate, &facts.server.ctype),
        };
        let server = Server::start(directory, &make).map_err(|e| chain(&e))?;
        let version = prepare(&server.connection(DATABASE), facts, globals)?;
        Ok(Self::Own(server, version))
    }

    /// The database that the dump is restored into.
    pub(super) fn connection(&self) -> Connection {
        match self {
            Self::Own(server, _) => server.connection(DATABASE),
            Self::Given(database) => database.connection().clone(),
        }
    }

    /// Where its files lie, when that is on this machine.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Own(server, _) => Some(server.folder()),
            Self::Given(_) => None,
        }
    }

    /// For people.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Own(..) => "a temporary server".to_owned(),
            Self::Given(database) => format!("a temporary database at {}", database.place()),
        }
    }

    /// Ends and removes it.
    pub(super) fn remove(self) -> Result<(), String> {
        match self {
            Self::Own(server, _) => server.remove().map_err(|e| chain(&e)),
            Self::Given(database) => database.remove().map_err(|e| chain(&e)),
        }
    }

    /// The version of its server.
    pub(super) fn version(&self) -> &str {
        match self {
            Self::Own(_, version) => version,
            Self::Given(database) => database.version(),
        }
    }
}

/// Makes roles and the database; the version of the server.
fn prepare(connection: &Connection, facts: &DumpFacts, globals: &str) -> Result<String, String> {
    let there = target::look(connection).map_err(|e| chain(&e))?;
    check_extensions(facts, &there.extensions, "this machine's PostgreSQL")?;
    let roles = roles::missing(globals, &there.roles);
    let server = target::maintenance(connection);
    let made = server.run(&roles.sql, ROLES_LIMIT);
    made.map_err(|e| format!("make the roles of globals.sql: {}", chain(&e)))?;
    target::create(connection, &facts.server).map_err(|e| chain(&e))?;
    Ok(there.version())
}

fn check_extensions(facts: &DumpFacts, there: &[String], who: &str) -> Result<(), String> {
    let extensions = facts.server.extensions.keys();
    let lacking: Vec<&str> = extensions
        .filter(|name| !there.contains(name))
        .map(String::as_str)
        .collect();
    match lacking.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "not tested: {who} lacks the extensions {}",
            lacking.join(", ")
        )),
    }
}
