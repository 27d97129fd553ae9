//! Exit codes: what a script learns from a run without reading it. Several at once: the one that stands
//! first in [`PRECEDENCE`] wins.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Usage, configuration, I/O or a bug.
    Error = 1,
    /// It worked, and there is a difference (`plan --detailed-exitcode`, `fmt --check`).
    Difference = 2,
    /// Some steps failed or things were left out; the rest is done, run again to go on.
    Incomplete = 3,
    /// A rule with level deny is violated.
    Violation = 4,
    /// The saved plan is stale.
    Stale = 5,
    /// Damaged or missing data was found.
    Damaged = 6,
    /// Approval was refused, or nobody could be asked.
    NotApproved = 7,
    /// A destination or what was asked for is not there.
    Absent = 10,
    /// Another run has the lock.
    Locked = 11,
    /// The key is missing or wrong.
    Key = 12,
    /// Ended by SIGINT.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
    /// `wal fetch`: recovery must stop. Up to 125, PostgreSQL takes a code for the end of the archive, opens
    /// what it has come to, and the rest is lost.
    Stop = 200,
}

/// Which code wins when there are several.
const PRECEDENCE: [Exit; 12] = [
    Exit::Stop,
    Exit::Terminated,
    Exit::Interrupted,
    Exit::Key,
    Exit::Locked,
    Exit::Absent,
    Exit::Stale,
    Exit::Violation,
    Exit::Damaged,
    Exit::Incomplete,
    Exit::Difference,
    Exit::NotApproved,
];

impl Exit {
    /// The code of two things that happened in one command.
    pub fn and(self, other: Exit) -> Exit {
        let worst = PRECEDENCE
            .into_iter()
            .find(|exit| [self, other].contains(exit));
        worst.unwrap_or(if self == Exit::Ok { other } else { self })
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command could not do what it was asked: words for the operator, and the code.
#[derive(Debug)]
pub struct Trouble {
    /// The code.
    pub exit: Exit,
    /// The whole message, without `Error: `; empty when everything was said already.
    pub message: String,
}

impl Trouble {
    /// With that code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
    /// An error and all its causes, as `what > why > why`.
    pub fn from_error(exit: Exit, error: &dyn std::error::Error) -> Self {
        Self::new(exit, chain(error))
    }
}

/// An error and its causes in one line, outermost first.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if parts.last() != Some(&words) {
            parts.push(words);
        }
        cause = error.source();
    }
    parts.join(" > ")
}

#[cfg(test)]
mod tests {
    use crate::cli::exit::Exit;

    #[test]
    fn of_several_codes_the_gravest_wins() {
        assert_eq!(Exit::Ok.and(Exit::Incomplete), Exit::Incomplete);
        assert_eq!(Exit::Stale.and(Exit::Violation), Exit::Stale);
        assert_eq!(Exit::Damaged.and(Exit::Key), Exit::Key);
        assert_eq!(Exit::Ok.and(Exit::Ok), Exit::Ok);
        assert_eq!(Exit::Error.and(Exit::Ok), Exit::Error);
    }
}
