//! The settings of `redis.conf` that decide where a server looks for its data.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Includes are followed so deep.
const DEPTH_MAX: usize = 8;

/// What Redis does when nobody says otherwise.
pub(crate) const DBFILENAME: &str = "dump.rdb";
pub(crate) const APPENDFILENAME: &str = "appendonly.aof";
pub(crate) const APPENDDIRNAME: &str = "appendonlydir";
pub(crate) const DATABASES: &str = "16";
const MAXMEMORY_POLICY: &str = "noeviction";

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
    /// `maxmemory`, in bytes; 0 is as much as there is.
    pub maxmemory: Option<u64>,
    /// `maxmemory-policy`.
    pub maxmemory_policy: Option<String>,
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
        let said = |name: &str| settings.get(name).cloned();
        let or = |name: &str, usual: &str| Some(said(name).unwrap_or_else(|| usual.to_owned()));
        Ok(Self {
            appendonly: Some(said("appendonly").is_some_and(|v| v.eq_ignore_ascii_case("yes"))),
            dbfilename: or("dbfilename", DBFILENAME),
            appendfilename: or("appendfilename", APPENDFILENAME),
            appenddirname: or("appenddirname", APPENDDIRNAME),
            maxmemory: said("maxmemory").map_or(Some(0), |text| memory(&text)),
            maxmemory_policy: or("maxmemory-policy", MAXMEMORY_POLICY),
        })
    }
}

/// An amount of memory as Redis reads it: `1k` is 1000 and `1kb` is 1024 bytes.
fn memory(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
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
