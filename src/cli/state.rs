//! Where this machine remembers things about a plan file. What is there can be lost without any harm to
//! backups.

use crate::cli::world;
use crate::model::ids::Digest;
use crate::model::strategy::Strategy;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The place for one `kind` of memory of a plan file; two files of one name in two places have their own.
pub fn of_plan(kind: &str, file: &str, strategy: &Strategy) -> Option<PathBuf> {
    let place = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let place = Digest::of(place.as_os_str().as_bytes()).short();
    let name = format!("{}-{}-{place}", strategy.name, strategy.environment);
    let plain = |c: char| match c.is_ascii_alphanumeric() || c == '-' {
        true => c,
        false => '_',
    };
    let name: String = name.chars().map(plain).collect();
    Some(world::state_dir()?.join(kind).join(name))
}
