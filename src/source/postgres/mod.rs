//! PostgreSQL, through its own client programs: what libpq, `pg_dump` and `psql` mean by a setting is what it
//! means here. A server that is backed up is only read.

pub mod archive;
pub mod connection;
mod dump;
pub mod facts;
mod globals;
mod held;
mod live;
mod patterns;
mod plain;
pub mod programs;
pub mod schema;

pub use crate::source::postgres::dump::{GLOBALS, Request, dump, schema_name};
pub use crate::source::postgres::held::{CUSTOM, Held, PLAIN, Reading};
pub use crate::source::postgres::live::live;

use crate::model::units::Period;
use crate::source::postgres::archive::ArchiveError;
use crate::source::program::ProgramError;

/// Why a PostgreSQL server could not be read or put back.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum PostgresError {
    #[error("ask PostgreSQL about {at}")]
    Ask {
        at: String,
        #[source]
        cause: ProgramError,
    },
    #[error("read what PostgreSQL answers about {at}")]
    Answer {
        at: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error(
        "{0}: a pooler such as pgbouncer stands between, and a dump needs a session of its own: give the server's own host and port"
    )]
    Pooler(String),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(
        "`{0}` is not installed here: install PostgreSQL's client programs, or name a container with `via`"
    )]
    NotInstalled(String),
    #[error(
        "`{program}` {version} is older than the server, which is PostgreSQL {major}: install the client programs of {major} or newer"
    )]
    Older {
        program: String,
        version: String,
        major: u32,
    },
    #[error("`{setting}`: {words}")]
    NoMatch {
        setting: &'static str,
        words: String,
    },
    #[error(
        "the dump of {database} still ran after {limit}, and was ended: as long as a dump runs, the server can not clean up dead rows; give it longer with `timeout` in the component's source, or dump a standby"
    )]
    TookTooLong { database: String, limit: Period },
    #[error("the dump is not whole")]
    NotWhole(#[source] ArchiveError),
    #[error("{what} does not end as `{program}` ends it")]
    NotEnded {
        what: &'static str,
        program: &'static str,
    },
}
