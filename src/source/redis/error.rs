//! Why a Redis server could not be read. Names the server by host and port or socket, never by its URL,
//! which may hold a password.

use crate::source::program::ProgramError;
use crate::source::redis::aof::{AofError, ManifestError};
use crate::source::redis::rdb::RdbError;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a Redis server could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RedisError {
    #[error(
        "the URL of the Redis server is not understood: {0}; write redis://[USER:PASSWORD@]HOST[:PORT], rediss://… for TLS, or unix:///PATH/OF/SOCKET"
    )]
    Url(String),
    #[error("connect to Redis at {place}{}", hint(cause))]
    Connect {
        place: String,
        #[source]
        cause: redis::RedisError,
    },
    #[error("connect to Redis at {place}")]
    Link {
        place: String,
        #[source]
        cause: io::Error,
    },
    #[error("ask Redis at {place} for {command}")]
    Ask {
        place: String,
        command: String,
        #[source]
        cause: redis::RedisError,
    },
    #[error("run `redis-cli` on the far side of `via`")]
    Cli(#[source] ProgramError),
    #[error(
        "Redis at {place} answered {command} with {answer:?}{}",
        hint_of_answer(answer)
    )]
    Answered {
        place: String,
        command: String,
        answer: String,
    },
    #[error("Redis at {place} {state}; waited {} s", waited.as_secs())]
    Busy {
        place: String,
        state: String,
        waited: Duration,
    },
    #[error(
        "Redis at {place} is a replica that has lost its master: what it holds may be old; back up the master, or repair the link"
    )]
    LostMaster { place: String },
    #[error(
        "BGSAVE failed at Redis at {place}: its log says why; often its disk is full, or `vm.overcommit_memory` is not 1 and there is no memory to fork"
    )]
    SaveFailed { place: String },
    #[error("read `{}`, which Redis has just saved", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "`{}` was not written by the save that was asked for: `data-dir` is not the data directory of Redis at {place}",
        path.display()
    )]
    OtherFile { path: PathBuf, place: String },
    #[error("`{file}`")]
    Rdb {
        file: String,
        #[source]
        cause: RdbError,
    },
    #[error("`{file}`")]
    Aof {
        file: String,
        #[source]
        cause: AofError,
    },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(
        "Redis at {place} has `appendonly no`: there is no append-only file to back up; use method \"rdb\", or turn it on"
    )]
    NoAppendOnly { place: String },
    #[error(
        "method \"aof\" reads the files of Redis: say where they lie with `data-dir`, or use method \"rdb\", which needs no files"
    )]
    NoDataDir,
    #[error(
        "Redis at {place} can not write its append-only file (`aof_last_write_status` is err): its log says why; method \"rdb\" may still work"
    )]
    AppendFailed { place: String },
    #[error("the stream from Redis at {place} ended before its end{}", .after)]
    Cut { place: String, after: String },
    #[error("it was given up")]
    GivenUp,
}

impl RedisError {
    /// As the error of a stream.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }
}

fn hint(cause: &redis::RedisError) -> &'static str {
    match cause.kind() {
        redis::ErrorKind::AuthenticationFailed => ": user or password is not right",
        _ if cause.is_connection_refusal() => ": is it running?",
        _ => "",
    }
}

fn hint_of_answer(answer: &str) -> &'static str {
    match answer.split_whitespace().next() {
        Some("NOAUTH" | "WRONGPASS") => ": user or password is not right",
        Some("NOPERM") => {
            ": its user needs +info +config|get, and +bgsave or, to be streamed, +psync +replconf"
        }
        Some("MISCONF") => ": an earlier save failed; its log says why",
        _ => "",
    }
}
