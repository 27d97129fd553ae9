//! The way into a program's standard input: as wide as the system lets it be, and filled in large steps. Programs
//! such as `pg_restore` take 4 KiB at a time. A writer that simply waits for room in a full pipe is woken for each of
//! these, and then both do little else than take turns; so one that finds the pipe full leaves the program alone for
//! a moment, in which it has more than enough to do.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use std::io::{self, Write};
use std::process::ChildStdin;
use std::thread;
use std::time::Duration;

/// What everybody may ask for.
const LEN_BYTES: usize = 1 << 20;
/// No program takes more in a microsecond: a pause of so long never lets a full pipe run dry.
const TAKEN_BYTES_PER_US: usize = 2 << 10;

/// A program's standard input.
pub(super) struct Inlet {
    pipe: ChildStdin,
    pause: Duration,
}

impl Inlet {
    /// Takes the pipe over.
    pub(super) fn new(pipe: ChildStdin) -> Self {
        // A system that refuses leaves it as it is.
        let wide = fcntl_setpipe_size(&pipe, LEN_BYTES);
        let len = wide.or_else(|_| fcntl_getpipe_size(&pipe)).unwrap_or(0);
        let flags = fcntl_getfl(&pipe);
        // Where it can not be asked whether it is full, a write waits as usual.
        let _ = flags.and_then(|flags| fcntl_setfl(&pipe, flags | OFlags::NONBLOCK));
        let micros = (len / TAKEN_BYTES_PER_US) as u64;
        Self {
            pipe,
            pause: Duration::from_micros(micros),
        }
    }

    /// Waits until there is room, and then a moment for more of it.
    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.pipe, PollFlags::OUT)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => return Ok(()),
            polled => polled?,
        };
        thread::sleep(self.pause);
        Ok(())
    }
}

impl Write for Inlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.pipe.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait()?,
                written => return written,
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        self.pipe.flush()
    }
}

#[cfg(test)]
mod tests {
    use crate::source::pipe::Inlet;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    #[test]
    fn all_of_it_arrives_in_a_program_that_reads_slowly_and_its_end_is_noticed() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        let mut cat = Command::new("sh")
            .args(["-c", "dd bs=4k 2>/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut inlet = Inlet::new(cat.stdin.take().unwrap());
        let mut stdout = cat.stdout.take().unwrap();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            stdout.read_to_end(&mut all).map(|_| all)
        });
        inlet.write_all(&bytes).unwrap();
        drop(inlet);
        assert!(reading.join().unwrap().unwrap() == bytes);
        assert!(cat.wait().unwrap().success());

        let mut ends = Command::new("head")
            .args(["-c", "10"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut inlet = Inlet::new(ends.stdin.take().unwrap());
        let refused = inlet.write_all(&bytes).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::BrokenPipe);
        ends.wait().unwrap();
    }
}
