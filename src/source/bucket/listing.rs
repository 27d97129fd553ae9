//! What is in a bucket: its objects, or all their versions. Keys are bytes, whatever a server may have let in.

use crate::source::bucket::ask::{Bucket, BucketError};
use crate::source::bucket::document::{Element, elements};
use crate::source::bucket::names::unescaped;
use crate::wire::Request;
use hyper::Method;
use jiff::Timestamp;

/// An object, as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
    /// The server's fingerprint of it, without quotation marks.
    pub etag: Box<str>,
    /// When it was written.
    pub modified: Timestamp,
}

/// A version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion {
    /// The object as it was; no bytes when it was deleted then.
    pub object: Listed,
    /// The version's id; `null` of one that was written without versions.
    pub id: String,
    /// The object was deleted.
    pub is_deletion: bool,
    /// Nothing is newer.
    pub is_latest: bool,
}

impl Bucket {
    /// Every object whose key starts with `prefix`, by key.
    pub async fn objects(&self, prefix: &str) -> Result<Vec<Listed>, BucketError> {
        let query = vec![("list-type", "2".to_owned()), ("prefix", prefix.to_owned())];
        let next = [("NextContinuationToken", "continuation-token")];
        let mut objects = Vec::new();
        self.pages(query, &next, |element, is_escaped| {
            if element.name == "Contents" {
                objects.push(listed(element, is_escaped)?);
            }
            Ok(())
        })
        .await?;
        Ok(objects)
    }

    /// Every version of every object whose key starts with `prefix`: by key, the newest first.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<ObjectVersion>, BucketError> {
        let query = vec![("versions", String::new()), ("prefix", prefix.to_owned())];
        let next = [
            ("NextKeyMarker", "key-marker"),
            ("NextVersionIdMarker", "version-id-marker"),
        ];
        let mut versions = Vec::new();
        self.pages(query, &next, |element, is_escaped| {
            let is_deletion = element.name == "DeleteMarker";
            if is_deletion || element.name == "Version" {
                versions.push(ObjectVersion {
                    object: listed(element, is_escaped)?,
                    id: element.field("VersionId").unwrap_or("null").to_owned(),
                    is_deletion,
                    is_latest: element.field("IsLatest") == Some("true"),
                });
            }
            Ok(())
        })
        .await?;
        Ok(versions)
    }

    /// Asks for page after page. `next` says which elements of a page go into which parameters for the next.
    async fn pages(
        &self,
        query: Vec<(&'static str, String)>,
        next: &[(&str, &'static str)],
        mut take: impl FnMut(&Element, bool) -> Result<(), String>,
    ) -> Result<(), BucketError> {
        const DOING: &str = "list objects";
        let mut further: Vec<(&'static str, String)> = Vec::new();
        loop {
            let answer = self
                .ask(DOING, || {
                    let mut request = Request::new(Method::GET, String::new())
                        .query("encoding-type", "url".to_owned());
                    for (name, value) in query.iter().chain(&further) {
                        request = request.query(name, value.clone());
                    }
                    request
                })
                .await?;
            let page = elements(&answer.body).map_err(|why| self.wrong(DOING, why))?;
            let text = |name: &str| {
                let found = page.iter().find(|element| element.name == name);
                found.map(|element| element.text.as_str())
            };
            let is_escaped = text("EncodingType") == Some("url");
            for element in &page {
                take(element, is_escaped).map_err(|why| self.wrong(DOING, why))?;
            }
            if text("IsTruncated") != Some("true") {
                return Ok(());
            }
            let mut after = Vec::new();
            for (element, parameter) in next {
                if let Some(value) = text(element) {
                    let is_key = *element == "NextKeyMarker" && is_escaped;
                    after.push((
                        *parameter,
                        if is_key {
                            decoded(value)?
                        } else {
                            value.to_owned()
                        },
                    ));
                }
            }
            if after.is_empty() || after == further {
                return Err(self.wrong(DOING, "its listing goes on, and it does not say where"));
            }
            further = after;
        }
    }
}

fn listed(element: &Element, is_escaped: bool) -> Result<Listed, String> {
    let field = |name: &str| {
        let value = element.field(name);
        value.ok_or_else(|| format!("an object without {name} is in its listing"))
    };
    let key = field("Key")?;
    let key = match is_escaped {
        true => bytes_of(key).ok_or_else(|| format!("its listing has the key `{key}`"))?,
        false => key.as_bytes().to_vec(),
    };
    let modified = field("LastModified")?;
    Ok(Listed {
        key,
        size: element
            .field("Size")
            .map_or(Ok(0), str::parse)
            .map_err(|e| format!("{e}"))?,
        etag: element
            .field("ETag")
            .unwrap_or_default()
            .trim_matches('"')
            .into(),
        modified: modified.parse().map_err(|e| format!("`{modified}`: {e}"))?,
    })
}

/// A key as `encoding-type=url` has it: a space may be a `+`, and a `+` is always `%2B`.
fn bytes_of(key: &str) -> Option<Vec<u8>> {
    unescaped(key.replace('+', " ").as_bytes())
}

fn decoded(key: &str) -> Result<String, BucketError> {
    let text = bytes_of(key).and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| BucketError::Answer {
        doing: "list objects".to_owned(),
        bucket: String::new(),
        why: format!("the listing goes on at `{key}`, which is no text"),
    })
}
