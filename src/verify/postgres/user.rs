//! Whom a test server runs as: who runs ccb, or, where that is root, which PostgreSQL refuses, a user without rights.

use std::fs;

/// Users that a server may run as when ccb runs as root, which PostgreSQL refuses; the first that there is.
const UNPRIVILEGED: &[&str] = &["postgres", "nobody"];

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whom the server runs as when ccb runs as root, which PostgreSQL refuses; nobody where it does not, or where
/// there is no such user.
pub(crate) fn unprivileged() -> Option<User> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |name: &&'static str| {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(User {
            name,
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    };
    UNPRIVILEGED.iter().find_map(user)
}
