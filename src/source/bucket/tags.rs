//! The tags of an object, as the header `x-amz-tagging` has them: `NAME=VALUE&…`, escaped, sorted by name.

use crate::source::bucket::ask::{Bucket, BucketError};
use crate::source::bucket::names::unescaped;
use crate::wire::{Request, escaped};
use bytes::Bytes;
use hyper::Method;
use quick_xml::escape::escape;
use serde::Deserialize;
use std::fmt::Write;

/// The document that tags come in.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Tagging {
    tag_set: TagSet,
}

#[derive(Deserialize, Default)]
struct TagSet {
    #[serde(rename = "Tag", default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

impl Bucket {
    /// The tags of an object, of one version or of the newest; empty when there are none.
    pub(crate) async fn tags(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<String, BucketError> {
        const DOING: &str = "read the tags of an object";
        let answer = self.ask(DOING, || {
            let request = Request::new(Method::GET, key.to_owned()).query("tagging", String::new());
            match version {
                Some(version) => request.query("versionId", version.to_owned()),
                None => request,
            }
        });
        let answer = answer.await?;
        read(&answer.body).map_err(|why| self.wrong(DOING, why))
    }

    /// Sees to it that an object has these tags: a server may have dropped them with the beginning of an upload.
    pub(crate) async fn must_have_tags(&self, key: &str, tags: &str) -> Result<(), BucketError> {
        if self.tags(key, None).await? == tags {
            return Ok(());
        }
        let body = Bytes::from(document(tags));
        let set = self.ask("set the tags of an object", || {
            Request::new(Method::PUT, key.to_owned())
                .query("tagging", String::new())
                .document(body.clone())
        });
        set.await.map(drop)
    }
}

fn read(document: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(document).map_err(|e| e.to_string())?;
    // Where there are none, some servers answer nothing at all.
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let tagging: Tagging = quick_xml::de::from_str(text).map_err(|e| e.to_string())?;
    let tags = tagging.tag_set.tags.iter();
    let mut tags: Vec<_> = tags
        .map(|tag| format!("{}={}", escaped(&tag.key), escaped(&tag.value)))
        .collect();
    tags.sort();
    Ok(tags.join("&"))
}

fn document(tags: &str) -> String {
    let plain = |text: &str| {
        let bytes = unescaped(text.as_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        escape(text).into_owned()
    };
    let mut document = "<Tagging><TagSet>".to_owned();
    for tag in tags.split('&') {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        // Writing into a string has no way to fail.
        let _ = write!(
            document,
            "<Tag><Key>{}</Key><Value>{}</Value></Tag>",
            plain(key),
            plain(value)
        );
    }
    document + "</TagSet></Tagging>"
}

#[cfg(test)]
mod tests {
    use super::{document, read};

    #[test]
    fn tags_are_read_as_their_header_has_them_and_written_as_they_were_read() {
        let told = "<?xml version=\"1.0\"?><Tagging xmlns=\"x\"><TagSet>\
            <Tag><Key>team</Key><Value>a &amp; b/c=d</Value></Tag><Tag><Key>empty</Key><Value></Value></Tag></TagSet></Tagging>";
        let tags = read(told.as_bytes()).unwrap();
        assert_eq!(tags, "empty=&team=a%20%26%20b/c%3Dd");
        assert_eq!(read(document(&tags).as_bytes()).unwrap(), tags);
        assert_eq!(read(b"<Tagging><TagSet/></Tagging>").unwrap(), "");
        assert_eq!(read(b"").unwrap(), "");
        assert!(read(b"no XML <").is_err());
    }
}
