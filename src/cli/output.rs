//! Standard output and standard error. A reader that goes away ends the command quietly; nothing here
//! decides what is said.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::world;
use std::io::{self, BufWriter, Write};

/// How output looks.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Colours on standard output.
    pub color: bool,
    /// Colours on standard error.
    pub color_err: bool,
    /// Columns.
    pub width: usize,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Terminal {
    /// As the flags and the environment say.
    pub fn new(color: Color) -> Self {
        let wanted = |is_terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let is_off = world::variable("NO_COLOR").is_some_and(|v| !v.is_empty());
                is_terminal && !is_off && world::variable("TERM").as_deref() != Some("dumb")
            }
        };
        let columns = world::variable("COLUMNS").and_then(|text| text.parse().ok());
        Self {
            color: wanted(world::stdout_is_terminal()),
            color_err: wanted(world::stderr_is_terminal()),
            width: columns.unwrap_or(100).clamp(40, 400),
        }
    }
}

/// Writes `text` to standard output, with a newline at its end if it has none.
pub fn print(text: &str) -> Result<(), Trouble> {
    write_all(
        &mut io::stdout().lock(),
        text.as_bytes(),
        text.ends_with('\n'),
    )
}

/// Writes bytes to standard output as they are.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Trouble> {
    write_all(&mut io::stdout().lock(), bytes, true)
}

/// Standard output, for much text: written in large pieces.
pub struct Out(BufWriter<io::Stdout>);

impl Out {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 16, io::stdout()))
    }
    /// Writes a line.
    pub fn line(&mut self, text: &str) -> Result<(), Trouble> {
        let written = writeln!(self.0, "{text}");
        written.map_err(|e| failed(&e))
    }
    /// Writes text as it is.
    pub fn text(&mut self, text: &str) -> Result<(), Trouble> {
        let written = self.0.write_all(text.as_bytes());
        written.map_err(|e| failed(&e))
    }
    /// Writes what is left.
    pub fn finish(mut self) -> Result<(), Trouble> {
        self.0.flush().map_err(|e| failed(&e))
    }
}

/// Writes a line to standard error. There is nobody to tell when that fails.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end_matches('\n'));
}

fn write_all(to: &mut dyn Write, bytes: &[u8], ended: bool) -> Result<(), Trouble> {
    let end: &[u8] = if ended || bytes.is_empty() {
        b""
    } else {
        b"\n"
    };
    let written = to
        .write_all(bytes)
        .and_then(|()| to.write_all(end))
        .and_then(|()| to.flush());
    written.map_err(|error| failed(&error))
}

fn failed(error: &io::Error) -> Trouble {
    match error.kind() {
        // `ccb list | head`: the reader has what it wanted.
        io::ErrorKind::BrokenPipe => Trouble::new(Exit::Ok, ""),
        _ => Trouble::new(Exit::Error, format!("write to standard output: {error}")),
    }
}
