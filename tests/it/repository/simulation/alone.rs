//! Processes for jobs of a test: each does one by itself, where no other test's threads are in the way, on one
//! processor: its threads hand over to one another all the time, and only one is at work at a time. Knows nothing of
//! what is done there.

use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

/// By this a process is told its job.
const JOB: &str = "CCB_SIMULATION_JOB";

/// What becomes of what a process prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prints {
    AtOnce,
    ToBeRead,
}

/// The job of this process, if it was started for one.
pub(super) fn job() -> Option<String> {
    std::env::var(JOB).ok()
}

/// Does `work` for each of `items`, as many at a time as there are processors: it is given the one to use.
pub(super) fn beside<T: Send>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    work: impl Fn(T, usize) + Sync,
) {
    let items = Mutex::new(items.into_iter());
    let next = || items.lock().unwrap().next();
    std::thread::scope(|scope| {
        for processor in processors() {
            let (next, work) = (&next, &work);
            scope.spawn(move || {
                while let Some(item) = next() {
                    work(item, processor);
                }
            });
        }
    });
}

/// Those that this process may use.
pub(super) fn processors() -> Vec<usize> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.split("\nCpus_allowed_list:").nth(1).unwrap();
    let parts = list.lines().next().unwrap().trim().split(',');
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        first.parse().unwrap()..=last.parse::<usize>().unwrap()
    };
    parts.flat_map(range).collect()
}

/// Does a job of the test `name` in a process of its own. Returns what that printed, or lets it print where this one
/// does.
pub(super) fn do_alone(name: &str, job: &str, processor: usize, prints: Prints) -> Output {
    let test = format!("repository::simulation::{name}");
    let mut run = Command::new("taskset");
    run.args(["--cpu-list", &processor.to_string()])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(JOB, job);
    if prints == Prints::AtOnce {
        run.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let is_there = prints == Prints::AtOnce || said.contains("running 1 test");
    assert!(is_there, "no test of that name: {test}");
    output
}
