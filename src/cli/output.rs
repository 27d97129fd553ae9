//! Standard output and standard error. A reader that goes away ends the command quietly; nothing here
//! decides what is said.

use crate::cli::args::{Global, LogFormat};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::world;
use crate::model::ids::RunId;
use crate::render::event::{self, Event, Level};
use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

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

/// Hears of diagnostics, besides standard error.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;
/// Writes text where lines are being redrawn.
pub type Above = Arc<dyn Fn(&str) + Send + Sync>;

/// How diagnostics are written: one for the whole program, because there is one standard error.
struct Voice {
    is_json: bool,
    is_quiet: bool,
    is_verbose: bool,
    run: Option<RunId>,
    above: Option<Above>,
    listeners: Vec<Listener>,
}

static VOICE: RwLock<Voice> = RwLock::new(Voice {
    is_json: false,
    is_quiet: false,
    is_verbose: false,
    run: None,
    above: None,
    listeners: Vec::new(),
});

/// Nobody takes what is offered any more.
static STDOUT_GONE: AtomicBool = AtomicBool::new(false);

/// Speaks from now on as the flags say.
pub fn configure(global: &Global) {
    with_voice(|voice| {
        voice.is_json = global.log_format == LogFormat::Json;
        voice.is_quiet = global.quiet;
        voice.is_verbose = global.verbose;
    });
}

/// Speaks from now on as part of a run, for all that listen to it.
pub fn begin_run(run: RunId, listeners: Vec<Listener>) {
    with_voice(|voice| (voice.run, voice.listeners) = (Some(run), listeners));
}

/// Redrawn lines begin or end: text goes above them.
pub fn redraw(above: Option<Above>) {
    with_voice(|voice| voice.above = above);
}

fn with_voice<T>(work: impl FnOnce(&mut Voice) -> T) -> T {
    work(&mut VOICE.write().unwrap_or_else(PoisonError::into_inner))
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

/// Writes to standard output what must not stop the work: a reader that went away hears no more, and one that
/// can not take it is told so.
pub fn offer(text: &str) {
    if STDOUT_GONE.load(Relaxed) {
        return;
    }
    if let Err(trouble) = print(text) {
        // Before anything is said: who listens may write to standard output, too.
        STDOUT_GONE.store(true, Relaxed);
        if trouble.exit != Exit::Ok {
            say(&format!("Warning: {}", trouble.message));
        }
    }
}

/// Says a diagnostic on standard error. It begins with `Error: `, `Warning: ` or neither.
pub fn say(text: &str) {
    let (level, message) = event::level_of(text);
    speak(level, message, text);
}

/// Says a diagnostic that is laid out already.
pub fn report(level: Level, text: &str) {
    speak(level, text, text);
}

/// Says what is good to know, unless only results and errors are wanted.
pub fn note(text: &str) {
    if !voice(|voice| voice.is_quiet) {
        say(text);
    }
}

/// Says what only somebody who looks closely wants to know.
pub fn detail(text: &str) {
    if voice(|voice| voice.is_verbose) {
        say(text);
    }
}

/// Writes a line of progress to standard error.
pub fn tell(text: &str) {
    write_err(text);
}

fn voice<T>(look: impl FnOnce(&Voice) -> T) -> T {
    look(&VOICE.read().unwrap_or_else(PoisonError::into_inner))
}

fn speak(level: Level, message: &str, text: &str) {
    let message = message.trim_end_matches('\n').to_owned();
    let diagnostic = Event::Diagnostic { level, message };
    let (is_json, run, above, listeners) = voice(|voice| {
        let all = voice.listeners.clone();
        (voice.is_json, voice.run, voice.above.clone(), all)
    });
    match (is_json, above) {
        (true, _) => write_err(&event::line(world::now(), run, &diagnostic)),
        (false, Some(above)) => above(text.trim_end_matches('\n')),
        (false, None) => write_err(text),
    }
    for listener in listeners {
        listener(&diagnostic);
    }
}

/// There is nobody to tell when that fails.
fn write_err(text: &str) {
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
