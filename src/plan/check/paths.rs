//! Paths and URLs as far as their text tells: whether one lies in another, what host a URL names.

/// Whether `path` is `folder` or lies below it. Two paths compare only if both are absolute, or both
/// relative to the same place; links are not followed.
pub(crate) fn lies_in(path: &str, folder: &str) -> bool {
    if path.starts_with('/') != folder.starts_with('/') {
        return false;
    }
    parts(path).starts_with(&parts(folder))
}

/// The host in `scheme://[user[:password]@]host[:port]/…`, without brackets.
pub(crate) fn host(url: &str) -> Option<&str> {
    let authority = authority(url)?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    (!host.is_empty()).then_some(host)
}

/// Whether a URL carries a password, and the URL with the password masked.
pub(crate) fn masked_password(url: &str) -> Option<String> {
    let authority = authority(url)?;
    let (user, host) = authority.rsplit_once('@')?;
    let (user, password) = user.split_once(':')?;
    let shown = url.replacen(authority, &format!("{user}:***@{host}"), 1);
    (!password.is_empty()).then_some(shown)
}

/// Whether a host is this machine, whatever its name.
pub(crate) fn is_loopback(host: &str) -> bool {
    // `core`: an address as text, no socket.
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse::<core::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

fn authority(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#']).next()
}

fn parts(path: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use crate::plan::check::paths::{host, is_loopback, lies_in, masked_password};

    #[test]
    fn a_path_lies_in_a_folder_by_whole_names() {
        for (path, folder, expected) in [
            ("/srv/data/key", "/srv/data", true),
            ("/srv/data", "/srv/data/", true),
            ("/srv/database", "/srv/data", false),
            ("/srv/data/../key", "/srv/data", false),
            ("./data/key", "data", true),
            ("key", ".", true),
            ("../key", "data", false),
            ("key", "/", false),
        ] {
            assert_eq!(lies_in(path, folder), expected, "{path} in {folder}");
        }
    }

    #[test]
    fn hosts_and_passwords_are_found_in_urls() {
        assert_eq!(host("sftp://me@nas:22/x"), Some("nas"));
        assert_eq!(host("http://[::1]:9000"), Some("::1"));
        assert_eq!(host("no url"), None);
        assert_eq!(
            masked_password("sftp://me:hunter2@nas/x").as_deref(),
            Some("sftp://me:***@nas/x")
        );
        assert_eq!(masked_password("sftp://me@nas/x"), None);
        assert!(is_loopback("127.0.0.1") && is_loopback("::1") && !is_loopback("10.0.0.1"));
    }
}
