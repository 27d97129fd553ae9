//! This process, and whether another one of this machine is still there. Reads /proc; what can not be read
//! there is taken for unknown, never for gone.

use crate::cli::world;
use crate::model::holder::{Holder, ProcessMark};
use crate::model::ids::RunId;
use crate::model::records::Version;
use crate::model::strategy::Strategy;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs;

/// Who carries this run out.
pub fn holder(run: RunId, strategy: &Strategy) -> Holder {
    Holder {
        v: Version,
        run,
        plan: format!("{} / {}", strategy.name, strategy.environment),
        user: world::user(),
        host: world::surroundings().host,
        process: mark(),
        since: world::now(),
    }
}

/// This process.
fn mark() -> ProcessMark {
    let pid = std::process::id();
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // In a namespace whose /proc is another one's, the numbers there are not ours.
    let is_own = stat.split(' ').next() == Some(pid.to_string().as_str());
    ProcessMark {
        pid,
        boot: boot(),
        namespace: namespace(),
        started: is_own.then(|| state(&stat)).flatten().map_or(0, |it| it.1),
    }
}

/// Whether that process is surely gone: it was one of this machine, and is not there any more.
pub fn is_gone(process: &ProcessMark) -> bool {
    if !process.is_comparable_with(&mark()) {
        return false;
    }
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else {
        return false;
    };
    if test_kill_process(pid) == Err(Errno::SRCH) {
        return true;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid));
    match stat.ok().as_deref().and_then(state) {
        // It has ended and only waits to be collected, or its number is another one's now.
        Some((letter, started)) => matches!(letter, 'Z' | 'X') || started != process.started,
        None => false,
    }
}

/// Whether a run of this machine is over, also one from before its last start.
pub fn has_ended(holder: &Holder) -> bool {
    let own = mark();
    let is_here = holder.host == world::surroundings().host;
    let was_before = is_here && !own.boot.is_empty() && holder.process.boot != own.boot;
    was_before || is_gone(&holder.process)
}

/// Whether that process is surely still there.
pub fn is_alive(process: &ProcessMark) -> bool {
    process.is_comparable_with(&mark()) && !is_gone(process)
}

/// The state and the start of a process, from its line in /proc. Its name may hold anything, so what counts
/// begins after the last bracket.
fn state(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let letter = fields.next()?.chars().next()?;
    // Field 22 of proc_pid_stat(5); the state was field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some((letter, started))
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map_or_else(|_| String::new(), |id| id.trim().to_owned())
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid");
    link.map_or_else(|_| String::new(), |to| to.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use crate::cli::process::{is_gone, mark, state};
    use std::process::Command;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_program_is_called() {
        let line = "7 (a) b) c (d) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2";
        assert_eq!(state(line), Some(('S', 4711)));
        assert_eq!(state("7 (cut off"), None);
    }

    #[test]
    fn a_process_is_gone_when_it_ended_and_not_before() {
        let own = mark();
        assert!(own.started > 0, "{own:?}");
        assert!(!is_gone(&own));
        let mut child = Command::new("true").spawn().expect("it starts");
        let pid = child.id();
        child.wait().expect("it ends");
        let mut ended = own.clone();
        ended.pid = pid;
        assert!(is_gone(&ended), "its number is free, or another process's");
        let mut elsewhere = ended.clone();
        elsewhere.boot = "another machine".to_owned();
        assert!(!is_gone(&elsewhere));
        ended.started = 0;
        assert!(!is_gone(&ended), "nothing can be said of an unknown start");
    }
}
