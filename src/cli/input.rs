//! Reads plan files from disk, with their includes, and shows every problem at once.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::output::{self, Terminal};
use crate::cli::world;
use crate::model::strategy::Strategy;
use crate::plan_file::{self, Problem, UnsetEnv, diagnostic};
use crate::render::event::Level;
use std::collections::BTreeMap;
use std::{fs, io};

/// Longest plan file that is read. The largest real ones are a few hundred lines.
const PLAN_FILE_MAX_BYTES: u64 = 4 << 20;

/// A longer report of problems is cut: it is of a file that is no plan file at all.
const REPORT_MAX_BYTES: usize = 60_000;

/// What reading a plan file needs besides its path.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Variables {
    /// Set a variable of the plan file
    #[arg(long = "var", value_name = "NAME=VALUE", global = true)]
    var: Vec<String>,
    /// Read variables from a file with one NAME=VALUE a line
    #[arg(long = "var-file", value_name = "FILE", global = true)]
    var_file: Vec<String>,
}

impl Variables {
    /// The flags again, for a program that another one runs elsewhere.
    pub fn as_arguments(&self) -> Result<Vec<String>, Trouble> {
        let mut words = Vec::new();
        for path in &self.var_file {
            let whole = std::path::absolute(path).map_err(|e| read_failed(path, &e))?;
            words.extend([
                "--var-file".to_owned(),
                whole.to_string_lossy().into_owned(),
            ]);
        }
        for pair in &self.var {
            words.extend(["--var".to_owned(), pair.clone()]);
        }
        Ok(words)
    }

    /// `CCB_VAR_*`, then files, then flags: the later wins.
    pub fn values(&self) -> Result<BTreeMap<String, String>, Trouble> {
        let mut values: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| {
                let name = name.to_str()?.strip_prefix("CCB_VAR_")?.to_lowercase();
                Some((name, value.to_str()?.to_owned()))
            })
            .collect();
        for path in &self.var_file {
            let text = read_text(path).map_err(|e| read_failed(path, &e))?;
            let lines = text.lines().map(str::trim);
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                insert(&mut values, line, path)?;
            }
        }
        for pair in &self.var {
            insert(&mut values, pair, "--var")?;
        }
        Ok(values)
    }
}

fn insert(values: &mut BTreeMap<String, String>, pair: &str, from: &str) -> Result<(), Trouble> {
    let Some((name, value)) = pair.split_once('=') else {
        let words = format!("{from}: `{pair}` is not NAME=VALUE");
        return Err(Trouble::new(Exit::Error, words));
    };
    values.insert(name.trim().to_owned(), value.trim().to_owned());
    Ok(())
}

/// Reads a text file, `-` for standard input.
pub fn read_text(path: &str) -> io::Result<String> {
    if path == "-" {
        return io::read_to_string(io::stdin().lock());
    }
    let meta = fs::metadata(path)?;
    if meta.is_file() && meta.len() > PLAN_FILE_MAX_BYTES {
        return Err(io::Error::other(
            "it is larger than 4 MiB; is it a plan file?",
        ));
    }
    let text = fs::read_to_string(path)?;
    match text.contains('\0') {
        true => Err(io::Error::other("it holds zero bytes, so it is no text")),
        false => Ok(text),
    }
}

/// The trouble of a file that can not be read.
pub fn read_failed(path: &str, error: &io::Error) -> Trouble {
    Trouble::new(Exit::Error, format!("read `{path}`: {error}"))
}

/// Reads a plan file and shows its warnings; its problems are shown all at once and are the error.
pub fn strategy(
    path: &str,
    variables: &Variables,
    unset_env: UnsetEnv,
    terminal: &Terminal,
) -> Result<Strategy, Trouble> {
    let text = read_text(path).map_err(|e| read_failed(path, &e))?;
    let parsed = parse(path, &text, variables, unset_env)?;
    match parsed {
        Ok(parsed) => {
            if !parsed.warnings.is_empty() {
                output::report(Level::Warning, &problems(&parsed.warnings, terminal));
            }
            Ok(parsed.strategy)
        }
        Err(error) => Err(show_error(path, &error, terminal)),
    }
}

/// Shows every problem of a plan file; what remains to be said is how many.
pub fn show_error(path: &str, error: &plan_file::PlanFileError, terminal: &Terminal) -> Trouble {
    output::report(Level::Error, &problems(&error.problems, terminal));
    Trouble::new(Exit::Error, format!("{path}: {error}"))
}

/// Problems as people read them; only the beginning, where nobody would read all.
pub fn problems(problems: &[Problem], terminal: &Terminal) -> String {
    let mut report = diagnostic::report(problems, terminal.color_err, terminal.width);
    if report.len() > REPORT_MAX_BYTES {
        report.truncate(report.floor_char_boundary(REPORT_MAX_BYTES));
        report += "\n… and much more: is this a plan file?";
    }
    report
}

/// Reads a plan file without showing anything.
pub fn parse(
    path: &str,
    text: &str,
    variables: &Variables,
    unset_env: UnsetEnv,
) -> Result<Result<plan_file::Parsed, plan_file::PlanFileError>, Trouble> {
    let vars = variables.values()?;
    let request = plan_file::Request {
        path,
        text,
        read: &|path| read_text(path),
        env: &world::variable,
        vars: &vars,
        unset_env,
    };
    Ok(plan_file::parse(&request))
}
