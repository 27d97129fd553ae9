//! A URL that is told of a run. Its path is often all that guards it, so it is a secret: what is printed is
//! the host.

use crate::plan::check::is_loopback;
use hyper::Uri;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use std::fmt;

/// Whether `http://` may be used for hosts elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// It may.
    Allowed,
    /// Only to this machine.
    LoopbackOnly,
}

/// Where to post to.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    scheme: Scheme,
    authority: Authority,
    path: String,
    query: Option<String>,
}

/// Why a text is no URL that can be used. Never shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not one at all.
    #[error("its value is not a URL of http or https")]
    NotUrl,
    /// It holds a name or a password.
    #[error("its value holds a user's name or password; use a URL with a secret path")]
    UserInfo,
    /// Not encrypted.
    #[error(
        "`{host}` would be told over http, unencrypted: use https, or allow it with policy {{ set \"tls-in-transit\" level=\"warn\" }}"
    )]
    Plain {
        /// The host.
        host: String,
    },
}

impl Url {
    /// Reads a URL, as it comes from a secret.
    pub fn parse(text: &str, plain: Plain) -> Result<Self, UrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::NotUrl)?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(UrlError::NotUrl);
        };
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(UrlError::NotUrl);
        }
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let host = host.to_owned();
        if scheme == Scheme::HTTP && plain == Plain::LoopbackOnly && !is_loopback(&host) {
            return Err(UrlError::Plain { host });
        }
        let path = parts.path_and_query;
        let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self {
            scheme,
            authority,
            path: path.path().to_owned(),
            query: path.query().map(str::to_owned),
        })
    }

    /// This URL with more at the end of its path, and one more parameter.
    pub fn with(&self, suffix: &str, (name, value): (&str, &str)) -> Self {
        let path = self.path.trim_end_matches('/');
        let more = format!("{name}={value}");
        Self {
            path: format!("{path}{suffix}"),
            query: Some(match &self.query {
                Some(query) => format!("{query}&{more}"),
                None => more,
            }),
            ..self.clone()
        }
    }

    pub(crate) fn uri(&self) -> Result<Uri, hyper::http::Error> {
        let query = self
            .query
            .as_ref()
            .map_or(String::new(), |it| format!("?{it}"));
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{query}", self.path))
            .build()
    }
}

/// The host only.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

/// The host only.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use crate::notify::url::{Plain, Url, UrlError};

    #[test]
    fn http_is_for_this_machine_unless_it_is_allowed() {
        let parse = |text: &str| Url::parse(text, Plain::LoopbackOnly);
        for good in [
            "https://hc-ping.com/1b2c",
            "http://127.0.0.1:8080/x",
            "http://[::1]/x",
            "http://localhost",
            "  https://a.example/x?y=z\n",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        let plain = "http://hooks.example/secret";
        assert_eq!(
            parse(plain).unwrap_err(),
            UrlError::Plain {
                host: "hooks.example".to_owned()
            }
        );
        assert!(Url::parse(plain, Plain::Allowed).is_ok());
        for wrong in [
            "",
            "hc-ping.com/x",
            "ftp://a/b",
            "file:///etc/passwd",
            "https://",
        ] {
            assert_eq!(parse(wrong).unwrap_err(), UrlError::NotUrl, "{wrong}");
        }
        assert_eq!(
            parse("https://me:pass@a/b").unwrap_err(),
            UrlError::UserInfo
        );
    }

    #[test]
    fn what_is_added_stands_before_the_parameters_and_the_path_is_never_shown() {
        let url = Url::parse(
            "https://hc-ping.com/secret/slug/?create=1",
            Plain::LoopbackOnly,
        );
        let url = url.unwrap().with("/start", ("rid", "7"));
        assert_eq!(
            url.uri().unwrap().to_string(),
            "https://hc-ping.com/secret/slug/start?create=1&rid=7"
        );
        assert_eq!(
            format!("{url} {url:?}"),
            "https://hc-ping.com Url(https://hc-ping.com)"
        );
    }
}
