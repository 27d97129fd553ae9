//! What a restored server is told: where its WAL comes from, how far it goes, and that it archives nothing.
//! Pure. A command passes through a file of settings, the server's own `%`, and a shell, so it is quoted for
//! each of them.

use jiff::Timestamp;
use std::fmt::Write;

/// How far a recovery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// As far as there is WAL.
    End,
    /// To the last transaction that was committed by then.
    Time(Timestamp),
    /// No further than it takes to be consistent.
    Consistent,
}

/// How a restored server recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What it runs to get a file; see [`command_line`].
    pub restore_command: String,
    /// How far it goes.
    pub until: Until,
    /// Along which timeline.
    pub timeline: u32,
}

/// Settings for the end of `postgresql.auto.conf`, where the last one counts.
pub fn settings(recovery: &Recovery) -> String {
    let mut text = String::from("\n# Written by ccb restore\n");
    let mut set = |name: &str, value: &str| {
        // Writing into a string has no way to fail.
        let _ = writeln!(text, "{name} = {}", quoted(value));
    };
    // What the original was told to recover to must not get in the way.
    for target in ["", "_name", "_xid", "_lsn", "_time"] {
        set(&format!("recovery_target{target}"), "");
    }
    set("restore_command", &recovery.restore_command);
    set("recovery_target_timeline", &recovery.timeline.to_string());
    match recovery.until {
        Until::End => {}
        Until::Time(time) => set(
            "recovery_target_time",
            &time.strftime("%F %T%.6f+00").to_string(),
        ),
        Until::Consistent => set("recovery_target", "immediate"),
    }
    set("recovery_target_action", "promote");
    // What it archives would go among the original's files.
    set("archive_mode", "off");
    set("archive_cleanup_command", "");
    set("recovery_end_command", "");
    text
}

/// The command line of these arguments, as `restore_command` wants it. `%f` and `%p` as a whole argument are
/// what the server puts in.
pub fn command_line(arguments: &[String]) -> String {
    let words: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.as_str() {
            "%f" | "%p" => argument.clone(),
            _ => shell(argument).replace('%', "%%"),
        })
        .collect();
    words.join(" ")
}

fn shell(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,+@".contains(c);
    match !argument.is_empty() && argument.chars().all(is_plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    }
}

/// A value as a file of settings wants it.
fn quoted(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('\'', "''");
    format!("'{}'", escaped.replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use crate::restore::cluster::{Recovery, Until, command_line, settings};

    #[test]
    fn a_command_is_quoted_for_shell_server_and_file() {
        let arguments = [
            "/opt/my ccb",
            "wal",
            "fetch",
            r"/etc/100%\o'neil.kdl",
            "db",
            "%f",
            "%p",
        ];
        let line = command_line(&arguments.map(str::to_owned));
        assert_eq!(
            line,
            r"'/opt/my ccb' wal fetch '/etc/100%%\o'\''neil.kdl' db %f %p"
        );
        let recovery = Recovery {
            restore_command: line,
            until: Until::Time("2026-11-26T20:46:49.25Z".parse().unwrap()),
            timeline: 2,
        };
        let text = settings(&recovery);
        let want = r"restore_command = '''/opt/my ccb'' wal fetch ''/etc/100%%\\o''\\''''neil.kdl'' db %f %p'";
        assert!(text.contains(want), "{text}");
        assert!(text.contains("recovery_target_time = '2026-11-26 20:46:49.250000+00'\n"));
        assert!(text.contains("archive_mode = 'off'\n"));
    }
}
