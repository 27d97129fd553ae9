//! Runs the commands that a component asks for around its backup. argv only, no shell; killed when they
//! take longer than they may. They see the component's name, never a secret of ccb's.

use crate::apply::error::StepError;
use crate::model::strategy::{Component, HookWhen};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Runs the hooks of `component` for backups at that moment, in the order of the plan file.
pub(crate) async fn run(component: &Component, when: HookWhen) -> Result<(), StepError> {
    for hook in &component.hooks {
        if hook.when != when || hook.on_restore {
            continue;
        }
        let limit = Duration::from_secs(hook.timeout.seconds);
        let outcome = run_one(&hook.run, component, limit).await;
        outcome.map_err(|cause| StepError::Hook {
            command: hook.run.join(" "),
            cause,
        })?;
    }
    Ok(())
}

async fn run_one(argv: &[String], component: &Component, limit: Duration) -> io::Result<()> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::other("it names no program"))?;
    let child = Command::new(program)
        .args(arguments)
        .env("CCB_COMPONENT", component.name.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let Ok(output) = tokio::time::timeout(limit, child.wait_with_output()).await else {
        let words = format!("it was still running after {} s", limit.as_secs());
        return Err(io::Error::new(io::ErrorKind::TimedOut, words));
    };
    let output = output?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(io::Error::other(format!(
        "{}: {}",
        output.status,
        last.unwrap_or("it said nothing")
    )))
}
