//! Finds what a bucket needs of this machine: credentials, a region, certificates to trust. Values come from the
//! environment and from the files of AWS, never from a plan file.

use crate::apply::{Buckets, Secrets};
use crate::cli::world::{self, Commands};
use crate::model::strategy::{BucketSource, Credentials, Destination, DestinationKind, SecretRef};
use crate::plan::check::is_loopback;
use crate::wire::Access;
use futures_util::FutureExt;
use hyper::Uri;
use s3::Auth;
use std::io;
use std::sync::Arc;

/// What a server of one's own is usually content with.
const REGION_OF_OWN: &str = "us-east-1";

/// A bucket as the plan file has it.
pub struct Named<'a> {
    /// The node that names it, for errors.
    pub node: &'a str,
    /// Its name.
    pub bucket: &'a str,
    /// Region.
    pub region: Option<&'a str>,
    /// Endpoint other than AWS.
    pub endpoint: Option<&'a str>,
    /// `ENDPOINT/BUCKET/KEY`.
    pub path_style: bool,
    /// Whose rights are used.
    pub credentials: Option<&'a Credentials>,
}

/// What a run finds in this machine's world: secrets, and how protected buckets are spoken to.
pub fn world() -> (Secrets, Buckets) {
    let secrets = |reference: &SecretRef| world::secret(reference, Commands::Run);
    let buckets = |spec: &BucketSource| {
        let spec = spec.clone();
        async move { of_source(&spec).await }.boxed()
    };
    (Arc::new(secrets), Arc::new(buckets))
}

/// How a bucket that is protected is spoken to.
pub async fn of_source(spec: &BucketSource) -> io::Result<Access> {
    let named = Named {
        node: "source",
        bucket: &spec.bucket,
        region: spec.region.as_deref(),
        endpoint: spec.endpoint.as_deref(),
        path_style: spec.path_style,
        credentials: spec.credentials.as_ref(),
    };
    named.access().await
}

/// How the bucket of a destination is spoken to, and where in it backups lie; `None` where it is none.
pub fn of_destination(destination: &Destination) -> Option<(Named<'_>, &str)> {
    let DestinationKind::S3 {
        url,
        region,
        endpoint,
        path_style,
        ..
    } = &destination.kind
    else {
        return None;
    };
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let named = Named {
        node: "destination",
        bucket,
        region: region.as_deref(),
        endpoint: endpoint.as_deref(),
        path_style: *path_style,
        credentials: destination.credentials.as_ref(),
    };
    Some((named, prefix))
}

impl Named<'_> {
    /// How it is spoken to. Nothing is asked of the bucket yet.
    pub async fn access(&self) -> io::Result<Access> {
        Ok(Access {
            bucket: self.bucket.to_owned(),
            region: self.region()?,
            endpoint: self.endpoint.map(encrypted).transpose()?,
            path_style: self.path_style,
            auth: auth(self.node, self.credentials).await?,
            tls: world::tls()?,
        })
    }

    fn region(&self) -> io::Result<String> {
        let around = || set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"));
        let own = || self.endpoint.map(|_| REGION_OF_OWN.to_owned());
        let region = self.region.map(str::to_owned).or_else(around).or_else(own);
        region.ok_or_else(|| {
            let node = self.node;
            io::Error::other(format!("the bucket's region is not known: write region=\"…\" in the {node}, or set AWS_REGION"))
        })
    }
}

/// The endpoint, which must be encrypted unless it is this machine.
fn encrypted(endpoint: &str) -> io::Result<String> {
    let endpoint = match endpoint.contains("://") {
        true => endpoint.to_owned(),
        false => format!("https://{endpoint}"),
    };
    let uri: Uri = endpoint.parse().map_err(io::Error::other)?;
    let host = uri.host().unwrap_or_default();
    if uri.scheme_str() == Some("http") && !is_loopback(host.trim_matches(['[', ']'])) {
        return Err(io::Error::other(format!(
            "`{endpoint}` is not encrypted on its way: write https://"
        )));
    }
    Ok(endpoint)
}

/// Whose rights are used: what the plan file names, else what AWS' own programs would use: the environment, a
/// web identity, a profile, the machine's role.
async fn auth(node: &str, named: Option<&Credentials>) -> io::Result<Auth> {
    let failed = |what: &str, cause: s3::Error| {
        io::Error::other(format!("get credentials from {what}: {cause}"))
    };
    if let Some(profile) = named.and_then(|named| named.profile.as_deref()) {
        let what = format!("profile `{profile}`");
        return Auth::from_profile(profile).map_err(|cause| failed(&what, cause));
    }
    let prefix = named.and_then(|named| named.env_prefix.as_deref());
    if let Some(auth) = from_variables(node, prefix.unwrap_or("AWS_"), prefix.is_some())? {
        return Ok(auth);
    }
    if set("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        let auth = Auth::from_web_identity_env().await;
        return auth.map_err(|cause| failed("the web identity of this machine", cause));
    }
    let profile = match Auth::from_profile_env() {
        Ok(auth) => return Ok(auth),
        Err(cause) => cause,
    };
    if set("AWS_PROFILE").is_some() {
        return Err(failed("AWS_PROFILE", profile));
    }
    Auth::from_imds().await.map_err(|machine| {
        io::Error::other(format!(
            "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write `credentials` in the {node}. No profile: {profile}. No role of this machine: {machine}"
        ))
    })
}

/// `PREFIXACCESS_KEY_ID`, `PREFIXSECRET_ACCESS_KEY` and, for keys that end, `PREFIXSESSION_TOKEN`.
fn from_variables(node: &str, prefix: &str, is_needed: bool) -> io::Result<Option<Auth>> {
    let names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].map(|name| format!("{prefix}{name}"));
    let (id, secret) = match names.each_ref().map(|name| set(name)) {
        [Some(id), Some(secret)] => (id, secret),
        [None, None] if !is_needed => return Ok(None),
        [id, _] => {
            let missing = if id.is_none() { &names[0] } else { &names[1] };
            return Err(io::Error::other(format!(
                "the environment variable `{missing}` is not set; set it to the {node}'s credentials"
            )));
        }
    };
    let mut credentials = s3::Credentials::new(id, secret).map_err(io::Error::other)?;
    if let Some(token) = set(&format!("{prefix}SESSION_TOKEN")) {
        credentials = credentials
            .with_session_token(token)
            .map_err(io::Error::other)?;
    }
    Ok(Some(Auth::Static(credentials)))
}

fn set(name: &str) -> Option<String> {
    world::variable(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::encrypted;

    #[test]
    fn what_leaves_the_machine_is_encrypted() {
        for (endpoint, want) in [
            ("minio.example.com", "https://minio.example.com"),
            (
                "https://minio.example.com:9000",
                "https://minio.example.com:9000",
            ),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]:9000", "http://[::1]:9000"),
            ("http://localhost", "http://localhost"),
        ] {
            assert_eq!(encrypted(endpoint).unwrap(), want);
        }
        for endpoint in [
            "http://minio.example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
        ] {
            let refused = encrypted(endpoint).unwrap_err().to_string();
            assert!(refused.contains("not encrypted"), "{refused}");
        }
    }
}
