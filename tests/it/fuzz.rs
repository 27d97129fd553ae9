//! What is fuzzed at night (`tests/fuzz`) also holds here for a moment: the targets get the corpus, in which all that
//! was ever found stays, and mutations of it, in a process with little memory and little patience.
//! `CCB_FUZZ_SECONDS=n` goes on for so long with each target, `CCB_FUZZ_SEED=n` begins elsewhere.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use targets::{TARGETS, Target};

/// Mutations for each target in the normal run.
const MUTATIONS: u64 = 150;
/// What the process that is fuzzed in may take, in KiB of address space.
const MEMORY_MAX_KIB: u64 = 3 << 20;
/// And of CPU time in a normal run, in seconds; a hang takes more than any honest machine for all of it.
const CPU_MAX_SECONDS: u64 = 600;
/// Longer inputs are rarely more interesting.
const LEN_MAX: usize = 16 << 10;
/// Where the process that is fuzzed in notes its input, before it is tried.
const NOTE: &str = "CCB_FUZZ_NOTE";

#[test]
fn whatever_foreign_bytes_are_given_an_answer_comes() {
    if let Some(note) = std::env::var_os(NOTE) {
        return fuzz(&PathBuf::from(note));
    }
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("input");
    let seconds = number("CCB_FUZZ_SECONDS") * TARGETS.len() as u64 + CPU_MAX_SECONDS;
    let limits = format!("ulimit -v {MEMORY_MAX_KIB} -t {seconds}; exec \"$@\"");
    let name = "fuzz::whatever_foreign_bytes_are_given_an_answer_comes";
    let output = Command::new("bash")
        .args(["-c", &limits, "bash"])
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(NOTE, &note)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    let kept = std::env::temp_dir().join("ccb-fuzz-input");
    fs::copy(&note, &kept).unwrap();
    panic!(
        "an input does not come back ({}); it lies in {}:\n{said}\n{}",
        output.status,
        kept.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn fuzz(note: &Path) {
    let mut dice = Dice(number("CCB_FUZZ_SEED"));
    let each = Duration::from_secs(number("CCB_FUZZ_SECONDS"));
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        for input in &corpus {
            attempt(note, target, input);
        }
        let (begun, mut done) = (Instant::now(), 0);
        while done < MUTATIONS || begun.elapsed() < each {
            attempt(note, target, &dice.mutated(&corpus));
            done += 1;
        }
    }
}

fn attempt(note: &Path, target: Target, input: &[u8]) {
    fs::write(note, input).unwrap();
    target(input);
}

fn number(name: &str) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The inputs that are kept for a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("tests/fuzz/corpus").join(name)];
    if name == "plan_file" {
        folders.push(root.join("plans"));
    }
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| fs::read(path).unwrap())
        .collect()
}

/// Numbers that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// One of `corpus`, changed in one to eight places.
    fn mutated(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        input.truncate(LEN_MAX);
        for _ in 0..=self.below(8) {
            self.mutate(&mut input, corpus);
        }
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 if at < input.len() => input[at] = self.next() as u8,
            // Lengths and counts at their ends.
            3 => {
                let extreme = [0, 0x7f, 0x80, 0xff][self.below(4)];
                input[at.min(end)..end].fill(extreme);
            }
            4 => drop(input.drain(at.min(end)..end)),
            5 => {
                let again = input[at.min(end)..end].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                let len = self.below(64).min(other.len() - from);
                input.splice(at..at, other[from..from + len].iter().copied());
            }
            _ => input.insert(at, self.next() as u8),
        }
    }
}
