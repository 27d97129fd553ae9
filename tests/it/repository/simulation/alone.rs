//! A process for a test by itself, where no other test's threads are in the way. Knows nothing of what is run there.

use std::process::{Command, Stdio};

/// Runs the test `name` in a process of its own. `true` where this is that process. What it prints is passed on at
/// once when it is `told`, or else when it failed.
pub(super) fn is_alone(name: &str, is_told: bool) -> bool {
    const ALONE: &str = "CCB_SIMULATION_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let test = format!("repository::simulation::{name}");
    let mut run = Command::new(std::env::current_exe().unwrap());
    run.args(["--exact", &test, "--nocapture"]).env(ALONE, "1");
    if is_told {
        run.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let output = run.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "see above");
    let is_there = is_told || said.contains("1 passed");
    assert!(is_there, "no test of that name: {test}");
    false
}
