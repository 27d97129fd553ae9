//! The benchmark: ccb and its peers in turn, on the same data, encryption on for all. What every other
//! program is measured by here is what its own manual recommends for that use. Prints figures, never judges.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what it is for"
)]

mod chart;
mod data;
mod index;
mod inventory;
mod limits;
mod measure;
mod postgres;
mod redis;
mod rounds;
mod s3;
mod table;
mod tools;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How much data there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// About two minutes.
    Small,
    /// 2 GB of media, 100 000 files, 1 GB of text.
    Full,
}

/// What was asked for.
pub struct Options {
    /// How much.
    pub scale: Scale,
    /// How often.
    pub rounds: usize,
    /// Rows whose name contains this.
    pub only: String,
    /// The binary that is measured.
    pub ccb: PathBuf,
    /// Where everything is made, and removed again.
    pub dir: PathBuf,
    /// Where the chart is written, if anywhere.
    pub chart: Option<PathBuf>,
}

const USAGE: &str = "usage: tests/bench/run [--scale small|full] [--rounds N] [--only media|small|text|inventory|index|limits|postgres|redis|s3] [--dir DIRECTORY] [--chart FILE.svg]";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if let (Some(word), Some(from), Some(to)) =
        (arguments.next(), arguments.next(), arguments.next())
        && let Some(done) = part(&word.to_string_lossy(), from.as_ref(), to.as_ref())
    {
        return match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench: {error}");
                ExitCode::from(1)
            }
        };
    }
    let options = match options(std::env::args().skip(1)) {
        Some(options) => options,
        None => {
            eprintln!("{USAGE}");
            return ExitCode::from(1);
        }
    };
    match rounds::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::from(1)
        }
    }
}

/// What this program does in a process of its own, to be measured like any other; nothing where `word` is an option.
fn part(word: &str, from: &Path, to: &Path) -> Option<io::Result<()>> {
    match word {
        "copy" => Some(measure::copy(from, to)),
        word => limits::part(word, from),
    }
}

fn options(mut arguments: impl Iterator<Item = String>) -> Option<Options> {
    let mut options = Options {
        scale: Scale::Small,
        rounds: 0,
        only: String::new(),
        ccb: PathBuf::from("ccb"),
        dir: std::env::temp_dir(),
        chart: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--scale" if value == "small" => options.scale = Scale::Small,
            "--scale" if value == "full" => options.scale = Scale::Full,
            "--rounds" => options.rounds = value.parse().ok()?,
            "--only" => options.only = value,
            "--ccb" => options.ccb = value.into(),
            "--dir" => options.dir = value.into(),
            "--chart" => options.chart = Some(value.into()),
            _ => return None,
        }
    }
    if options.rounds == 0 {
        options.rounds = match options.scale {
            Scale::Small => 2,
            Scale::Full => 3,
        };
    }
    Some(options)
}
