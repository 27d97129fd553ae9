//! Which database a person means who writes where a dump is to be restored to: a URL, or a database of the source's
//! server. A password is never part of it. Reads text, and connects to nothing.

use crate::model::strategy::SslMode;
use crate::source::postgres::connection::{Change, Connection};

/// Why a target can not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum TargetError {
    #[error(
        "`{0}` has a password in it, where everybody sees it: put it into PGPASSWORD or a password file"
    )]
    Password(String),
    #[error(
        "`{0}` is no target: write postgres://USER@HOST:PORT/DATABASE, database=NAME, or a path"
    )]
    Unknown(String),
    #[error("`{0}` names no database")]
    NoDatabase(String),
}

/// The connection that a target names: a URL, or another database of the source's server.
pub fn connection(target: &str, source: &Connection) -> Result<Connection, TargetError> {
    if let Some(database) = target.strip_prefix("database=") {
        return match database.is_empty() {
            true => Err(TargetError::NoDatabase(target.to_owned())),
            false => Ok(source.to_database(database)),
        };
    }
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| target.strip_prefix(scheme));
    let rest = rest.ok_or_else(|| TargetError::Unknown(target.to_owned()))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    if database.is_empty() {
        return Err(TargetError::NoDatabase(target.to_owned()));
    }
    let (user, host) = match place.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) || query.contains("password=") {
        let hidden = format!(
            "postgres://{}@{host}/{database}",
            user.and_then(|u| u.split(':').next()).unwrap_or("")
        );
        return Err(TargetError::Password(hidden));
    }
    let mut changes = vec![Change::Database(decoded(database))];
    changes.extend(user.map(|user| Change::User(decoded(user))));
    // An IPv6 address stands in brackets.
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (host, None),
    };
    let host = decoded(host.trim_start_matches('[').trim_end_matches(']'));
    let unknown = || TargetError::Unknown(target.to_owned());
    if let Some(port) = port {
        changes.push(Change::Port(port.parse().map_err(|_| unknown())?));
    }
    if !host.is_empty() {
        changes.push(Change::Host(host));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(unknown)?;
        changes.push(match name {
            "sslmode" => Change::SslMode(SslMode::of(value).ok_or_else(unknown)?),
            "host" => Change::Host(decoded(value)),
            "port" => Change::Port(value.parse().map_err(|_| unknown())?),
            "user" => Change::User(decoded(value)),
            _ => return Err(unknown()),
        });
    }
    Ok(changes
        .into_iter()
        .fold(Connection::bare_server(), Connection::with))
}

/// `%2F` and the like.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use crate::restore::postgres::address::{TargetError, connection};
    use crate::source::postgres::connection::Connection;

    fn title(target: &str) -> Result<String, TargetError> {
        let source = Connection::local("/run/source", "ana", "app");
        connection(target, &source).map(|connection| connection.title())
    }

    #[test]
    fn targets_are_read() {
        for (target, named) in [
            ("database=copy", "copy at /run/source"),
            (
                "postgres://ana@db.example.com/app",
                "app at db.example.com:5432",
            ),
            (
                "postgresql://db.example.com:5433/a%20b?sslmode=verify-full",
                "a b at db.example.com:5433",
            ),
            ("postgres://ana@%2Frun%2Fpg/app", "app at /run/pg"),
            ("postgres:///app?host=/run/pg", "app at /run/pg"),
            ("postgres://[::1]:5433/app", "app at ::1:5433"),
        ] {
            assert_eq!(title(target).as_deref(), Ok(named), "{target}");
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_and_not_repeated() {
        let error = title("postgres://ana:hunter2@db/app").expect_err("it has one");
        assert!(matches!(error, TargetError::Password(_)));
        assert!(!error.to_string().contains("hunter2"));
        for wrong in [
            "postgres://db",
            "database=",
            "mysql://db/app",
            "postgres://db/app?x=1",
        ] {
            assert!(title(wrong).is_err(), "{wrong}");
        }
    }
}
