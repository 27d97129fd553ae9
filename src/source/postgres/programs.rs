//! Which client programs are used: those of the server's own version where they are installed, else the next
//! newer ones. An older `pg_dump` does not know what a newer server has, and refuses.

use crate::source::postgres::PostgresError;
use crate::source::postgres::connection::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where systems put several versions beside each other, with the version where `*` stands.
const PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
];

/// The connection with programs that fit a server of `major`, and the version of `program` among them.
pub fn fitting(
    connection: &Connection,
    program: &str,
    major: u32,
) -> Result<(Connection, String), PostgresError> {
    let mut found = Vec::new();
    let mut failed = None;
    for bin in candidates(connection, program) {
        let connection = connection.with_programs_of(bin);
        match version(&connection, program) {
            Ok(version) => found.push((major_of(&version).unwrap_or(0), connection, version)),
            Err(error) => failed = Some(error),
        }
    }
    found.sort_by_key(|(of, _, _)| *of);
    if let Some(place) = found.iter().position(|(of, _, _)| *of >= major) {
        let (_, connection, version) = found.swap_remove(place);
        return Ok((connection, version));
    }
    match (found.pop(), failed) {
        (Some((_, _, version)), _) => Err(PostgresError::Older {
            program: program.to_owned(),
            version,
            major,
        }),
        (None, Some(error)) => Err(error),
        (None, None) => Err(PostgresError::NotInstalled(program.to_owned())),
    }
}

/// Folders to look in; `None` is PATH.
fn candidates(connection: &Connection, program: &str) -> Vec<Option<PathBuf>> {
    if connection.is_via() {
        return vec![None];
    }
    let installed = installed(program).into_iter().map(|(_, bin)| Some(bin));
    installed.chain([None]).collect()
}

/// Where `program` is installed, by version, oldest first.
pub fn installed(program: &str) -> Vec<(u32, PathBuf)> {
    let mut found: Vec<(u32, PathBuf)> = PLACES
        .iter()
        .flat_map(|place| versions_at(place))
        .filter(|(_, bin)| bin.join(program).exists())
        .collect();
    found.sort();
    found
}

fn versions_at(place: &str) -> Vec<(u32, PathBuf)> {
    let Some((before, after)) = place.split_once('*') else {
        return Vec::new();
    };
    let (folder, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let version = |name: &str| name.strip_prefix(prefix)?.parse().ok();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let bin = format!("{}{after}", entry.path().display());
            Some((version(name.to_str()?)?, Path::new(&bin).to_path_buf()))
        })
        .collect()
}

/// What `program --version` says: `15.18`.
fn version(connection: &Connection, program: &str) -> Result<String, PostgresError> {
    let asked = connection.bare(program).arg("--version");
    let printed = asked.output(4096, Duration::from_secs(30))?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    // pg_dump (PostgreSQL) 15.18 (Debian 15.18-1)
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "(PostgreSQL)");
    let version = words.nth(1).unwrap_or("").to_owned();
    Ok(version)
}

/// `15` of `15.18`, `17beta1` and `15.18 (Debian …)`.
pub fn major_of(version: &str) -> Option<u32> {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use crate::source::postgres::programs::{installed, major_of};

    #[test]
    fn versions_are_read() {
        assert_eq!(major_of("15.18"), Some(15));
        assert_eq!(major_of("17beta1"), Some(17));
        assert_eq!(major_of("devel"), None);
    }

    #[test]
    fn what_is_installed_is_found_oldest_first() {
        let versions: Vec<u32> = installed("pg_dump").into_iter().map(|(v, _)| v).collect();
        assert!(versions.is_sorted());
    }
}
