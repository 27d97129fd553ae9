//! Runs one command and says what it took: wall time, CPU time of all its processes, peak memory of the
//! largest.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Seconds.
    pub wall: f64,
    /// Seconds, user and system.
    pub cpu: f64,
    /// MiB.
    pub peak: f64,
    /// MB in the repository afterwards.
    pub stored: f64,
}

/// `time` of bash counts in milliseconds, that of GNU knows the memory.
const MEASURE: &str = r#"
TIMEFORMAT='%3R %3U %3S'
time /usr/bin/time -q -f %M -o "$MEASURE/peak" bash -c "$SCRIPT" >"$MEASURE/output" 2>&1
"#;

/// Runs `script` with `environment`. What it printed stands in the error when it failed.
pub fn run(script: &str, environment: &[(String, String)], scratch: &Path) -> io::Result<Figures> {
    let output = Command::new("bash")
        .args(["-c", MEASURE])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("SCRIPT", script)
        .env("MEASURE", scratch)
        .stdin(Stdio::null())
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        let printed = fs::read_to_string(scratch.join("output")).unwrap_or_default();
        let last = printed.lines().rev().take(8).collect::<Vec<_>>();
        let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(io::Error::other(format!(
            "`{script}` failed:\n{last}\n{words}"
        )));
    }
    let times: Vec<f64> = words
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let peak = fs::read_to_string(scratch.join("peak"))?;
    let (&[wall, user, system], Ok(peak)) = (times.as_slice(), peak.trim().parse::<f64>()) else {
        return Err(io::Error::other(format!(
            "`time` printed {words:?} and {peak:?}"
        )));
    };
    Ok(Figures {
        wall,
        cpu: user + system,
        peak: peak / 1024.0,
        stored: 0.0,
    })
}

/// Runs `script` without measuring it.
pub fn prepare(script: &str, environment: &[(String, String)], scratch: &Path) -> io::Result<()> {
    run(script, environment, scratch).map(|_| ())
}

/// Uses so much memory once and gives it back: the host of a virtual machine may have taken what was free, and gives
/// it anew slowly (`dd` of 2.1 GB took 5.8 s the first time, and 0.6 s the next). So nobody pays for coming first.
pub fn warm_up(bytes: u64) {
    const PAGE: usize = 4096;
    let mut memory = vec![0_u8; bytes as usize];
    for byte in memory.iter_mut().step_by(PAGE) {
        *byte = 1;
    }
    std::hint::black_box(&memory);
}

/// Copies a file as `cp` does, and syncs it and its folder: the least that a push of WAL must do.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    File::open(to)?.sync_all()?;
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// The middle one; of an even number the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}
