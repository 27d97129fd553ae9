//! The shell that a throwaway server runs under: it ends the server when its own input ends, which it does when ccb lets
//! go of it, and also when ccb is killed. Knows nothing of what the server is.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

const KEEPER: &str = r#"
signal=$1
shift
exec 3<&0
"$@" 0</dev/null 3<&- &
server=$!
(read -r _ <&3; kill "-$signal" "$server" 2>/dev/null) &
wait "$server"
ended=$?
kill $! 2>/dev/null
exit $ended
"#;

/// Runs `program`, whose arguments may be added; it gets `signal`, such as `QUIT`, when the input ends. Ends as it does.
pub(super) fn kept(signal: &str, program: impl AsRef<OsStr>) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", KEEPER, "sh", signal]).arg(program);
    shell.stdin(Stdio::piped());
    shell
}
