//! Asks an S3 server as another program would, beside ccb: makes buckets and objects, sets policies, looks at what
//! is there. One signed request at a time.

use crate::support::s3_settings::base64_of;
use bytes::Bytes;
use ccb::wire::Access;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use md5::{Digest as _, Md5};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// A user of a server.
pub(crate) struct Account {
    signer: s3::Client,
    http: Http<HttpConnector, Full<Bytes>>,
    runtime: Runtime,
}

/// How ccb is told to speak to a bucket, at `http://…`.
pub(crate) fn access(endpoint: &str, bucket: &str, id: &str, secret: &str) -> Access {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are some")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Access {
        bucket: bucket.to_owned(),
        region: "us-east-1".to_owned(),
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        auth: s3::Auth::Static(s3::Credentials::new(id, secret).expect("both are there")),
        tls,
    }
}

/// What the server said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

impl Account {
    /// With these keys, at `http://…`.
    pub(crate) fn new(endpoint: &str, id: &str, secret: &str) -> Self {
        let credentials = s3::Credentials::new(id, secret).expect("both are there");
        let signer = s3::Client::builder(endpoint)
            .and_then(|client| {
                client
                    .region("us-east-1")
                    .auth(s3::Auth::Static(credentials))
                    .addressing_style(s3::AddressingStyle::Path)
                    .build()
            })
            .expect("an endpoint");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Self {
            signer,
            http: Http::builder(TokioExecutor::new())
                // No connection is kept: a server that is gone in between is no fault of the next request.
                .pool_max_idle_per_host(0)
                .build_http(),
            runtime: runtime.expect("a runtime"),
        }
    }

    /// Asks. An answer is no failure, whatever it says.
    pub(crate) fn ask(
        &self,
        method: &str,
        bucket: &str,
        key: &str,
        query: &[(&'static str, &str)],
        headers: &[(&'static str, &str)],
        body: &[u8],
    ) -> Answer {
        let asked = format!("{method} {bucket}/{key}");
        let method = method.parse().expect("a method");
        let objects = self.signer.objects();
        let signing = objects.presign(method, bucket, key);
        let mut signing = signing.expires_in(Duration::from_secs(300));
        for (name, value) in query {
            signing = signing.query_param(*name, *value);
        }
        for (name, value) in headers {
            let value = hyper::header::HeaderValue::from_str(value).expect("a value");
            signing = signing.header(hyper::header::HeaderName::from_static(name), value);
        }
        let asking = async {
            let signed = signing.build_async().await.expect("signed");
            // A URL has no `..` in it, a key may.
            let url = format!(
                "{}/{bucket}/{}?{}",
                signed.url.origin().ascii_serialization(),
                ccb::wire::escaped(key),
                signed.url.query().unwrap_or_default()
            );
            let mut request = Request::builder()
                .method(signed.method)
                .uri(match key {
                    "" => signed.url.as_str(),
                    _ => &url,
                })
                .body(Full::new(Bytes::copy_from_slice(body)))
                .expect("a request");
            *request.headers_mut() = signed.headers;
            if matches!(request.method().as_str(), "PUT" | "POST") {
                let len = hyper::header::HeaderValue::from(body.len());
                request.headers_mut().insert("content-length", len);
            }
            let answer = self.http.request(request).await.expect("an answer");
            let (head, body) = answer.into_parts();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: body.collect().await.expect("all of it").to_bytes(),
            }
        };
        let answered = async { timeout(PATIENCE, asking).await };
        let answer = self.runtime.block_on(answered);
        answer.unwrap_or_else(|_| panic!("{asked}: no answer in {PATIENCE:?}"))
    }

    /// Stores an object.
    pub(crate) fn put(&self, bucket: &str, key: &str, body: &[u8]) -> Answer {
        let put = self.ask("PUT", bucket, key, &[], &[], body);
        assert_eq!(put.status, 200, "{key}: {put:?}");
        put
    }

    /// The bytes of an object.
    pub(crate) fn get(&self, bucket: &str, key: &str) -> Bytes {
        let got = self.ask("GET", bucket, key, &[], &[], b"");
        assert_eq!(got.status, 200, "{key}: {got:?}");
        got.body
    }

    /// The tags of an object, as the server tells of them.
    pub(crate) fn tags(&self, bucket: &str, key: &str) -> String {
        let got = self.ask("GET", bucket, key, &[("tagging", "")], &[], b"");
        assert_eq!(got.status, 200, "{key}: {got:?}");
        let text = String::from_utf8_lossy(&got.body).into_owned();
        let start = text.find("<TagSet>").unwrap_or(text.len());
        text[start..].to_owned()
    }

    /// Removes an object; in a versioned bucket a delete marker is put over it.
    pub(crate) fn delete(&self, bucket: &str, key: &str) {
        let deleted = self.ask("DELETE", bucket, key, &[], &[], b"");
        assert_eq!(deleted.status, 204, "{key}: {deleted:?}");
    }

    /// Names of objects of a bucket: a page of them.
    pub(crate) fn keys(&self, bucket: &str) -> Vec<String> {
        let listed = self.ask("GET", bucket, "", &[("list-type", "2")], &[], b"");
        assert_eq!(listed.status, 200, "{listed:?}");
        let text = String::from_utf8_lossy(&listed.body);
        let keys = text.split("<Key>").skip(1);
        let keys = keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
        keys.collect()
    }

    /// Removes everything that is in a bucket.
    pub(crate) fn empty(&self, bucket: &str) {
        loop {
            let keys = self.keys(bucket);
            if keys.is_empty() {
                return;
            }
            keys.iter().for_each(|key| self.delete(bucket, key));
        }
    }

    /// Whether a bucket keeps versions.
    pub(crate) fn set_versioning(&self, bucket: &str, status: &str) {
        let document = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
        );
        let set = self.ask(
            "PUT",
            bucket,
            "",
            &[("versioning", "")],
            &[],
            document.as_bytes(),
        );
        assert_eq!(set.status, 200, "{set:?}");
    }

    /// Sets a part of a bucket: `lifecycle`.
    pub(crate) fn set(&self, bucket: &str, part: &'static str, document: &str) {
        let digest = base64_of(&Md5::digest(document.as_bytes()));
        let headers = [("content-md5", digest.as_str())];
        let set = self.ask(
            "PUT",
            bucket,
            "",
            &[(part, "")],
            &headers,
            document.as_bytes(),
        );
        assert_eq!(set.status, 200, "{set:?}");
    }

    /// Who may do what with a bucket.
    pub(crate) fn set_policy(&self, bucket: &str, policy: &str) {
        let set = self.ask("PUT", bucket, "", &[("policy", "")], &[], policy.as_bytes());
        assert!([200, 204].contains(&set.status), "{set:?}");
    }
}
