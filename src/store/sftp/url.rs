//! `sftp://[USER@]HOST[:PORT]/PATH`, as `ssh` and the SFTP server take it.

use std::fmt;
use std::str::FromStr;

/// A folder on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Whose account; without one, the user's configuration says.
    pub user: Option<String>,
    /// The server's name, an alias of the user's configuration, or an IP address (IPv6 without brackets).
    pub host: String,
    /// The port; without one, the user's configuration says.
    pub port: Option<u16>,
    /// Absolute, or relative to the home folder there. Never ends with `/`.
    pub folder: String,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum AddressError {
    #[error(
        "write it as sftp://[USER@]HOST[:PORT]/PATH, or /~/PATH for one in the home folder there"
    )]
    Shape,
    #[error("ssh takes no password from a URL; give the user a key")]
    Password,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("sftp://").ok_or(AddressError::Shape)?;
        let (place, path) = rest.split_once('/').ok_or(AddressError::Shape)?;
        let (user, place) = match place.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(AddressError::Password),
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, place),
        };
        let (host, port) = host_and_port(place).ok_or(AddressError::Shape)?;
        let path = path.trim_end_matches('/');
        let folder = match path.strip_prefix("~/") {
            Some(below_home) => below_home.to_owned(),
            None => format!("/{path}"),
        };
        if path.is_empty() || path == "~" || host.starts_with('-') || user.as_deref() == Some("") {
            return Err(AddressError::Shape);
        }
        Ok(Self {
            user,
            host,
            port,
            folder,
        })
    }
}

fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let port = match after {
                "" => None,
                after => Some(after.strip_prefix(':')?),
            };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0));
    match port {
        Some(None) => None,
        port => (!host.is_empty()).then(|| (host.to_owned(), port.flatten())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.folder.starts_with('/') {
            true => f.write_str(&self.folder),
            false => write!(f, "/~/{}", self.folder),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::store::sftp::url::{Address, AddressError};

    #[test]
    fn an_address_says_what_ssh_needs() {
        let full: Address = "sftp://backup@nas.example.com:2222/srv/backups/"
            .parse()
            .unwrap();
        let want = Address {
            user: Some("backup".to_owned()),
            host: "nas.example.com".to_owned(),
            port: Some(2222),
            folder: "/srv/backups".to_owned(),
        };
        assert_eq!(full, want);
        assert_eq!(
            full.to_string(),
            "sftp://backup@nas.example.com:2222/srv/backups"
        );
        let home: Address = "sftp://nas/~/backups".parse().unwrap();
        assert_eq!((home.folder.as_str(), home.port), ("backups", None));
        assert_eq!(home.to_string(), "sftp://nas/~/backups");
        let six: Address = "sftp://[::1]:22/x".parse().unwrap();
        assert_eq!((six.host.as_str(), six.port), ("::1", Some(22)));
        assert_eq!(six.to_string(), "sftp://[::1]:22/x");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "sftp://nas",
            "sftp://nas/",
            "sftp://nas/~",
            "sftp:///x",
            "sftp://@nas/x",
            "sftp://nas:port/x",
            "sftp://nas:0/x",
            "sftp://[::1/x",
            "sftp://-oProxyCommand=x/x",
            "ssh://nas/x",
        ] {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Shape), "{text}");
        }
        let password = "sftp://me:secret@nas/x".parse::<Address>();
        assert_eq!(password, Err(AddressError::Password));
    }
}
