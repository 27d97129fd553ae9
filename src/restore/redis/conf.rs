//! The settings of `redis.conf` that decide where a server looks for its data.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Includes are followed so deep.
const DEPTH_MAX: usize = 8;

/// What a server will be started with; `None` where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conf {
    /// `appendonly`.
    pub appendonly: Option<bool>,
    /// `dbfilename`.
    pub dbfilename: Option<String>,
    /// `appendfilename`.
    pub appendfilename: Option<String>,
    /// `appenddirname`.
    pub appenddirname: Option<String>,
}

/// Why a configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the configuration `{}`", path.display())]
pub struct ConfError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

impl Conf {
    /// Reads a configuration and what it includes. What it does not say has Redis's own defaults.
    pub fn read(path: &Path) -> Result<Self, ConfError> {
        let mut settings = BTreeMap::new();
        collect(path, 0, &mut settings)?;
        Ok(Self::of(&settings, Some(false)))
    }

    /// Of settings by name; `unsaid` is what `appendonly` is when they do not say it.
    pub fn of(settings: &BTreeMap<String, String>, unsaid: Option<bool>) -> Self {
        let text = |name: &str| settings.get(name).cloned();
        Self {
            appendonly: text("appendonly")
                .map(|value| value.eq_ignore_ascii_case("yes"))
                .or(unsaid),
            dbfilename: text("dbfilename"),
            appendfilename: text("appendfilename"),
            appenddirname: text("appenddirname"),
        }
    }
}

/// Later lines win over earlier ones, as in Redis.
fn collect(
    path: &Path,
    depth: usize,
    settings: &mut BTreeMap<String, String>,
) -> Result<(), ConfError> {
    let failed = |cause| ConfError {
        path: path.to_path_buf(),
        cause,
    };
    if depth > DEPTH_MAX {
        return Err(failed(io::Error::other("its includes go in circles")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    for line in text.lines().map(str::trim) {
        let Some((name, value)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let value = value.trim().trim_matches(['"', '\'']);
        match name.to_ascii_lowercase().as_str() {
            name if name.starts_with('#') => {}
            "include" => collect(&path.with_file_name(value), depth + 1, settings)?,
            name => {
                settings.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    Ok(())
}
