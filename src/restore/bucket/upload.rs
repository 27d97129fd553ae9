//! Stores one object in parts that are sent, or that the server copies itself. It is there when all of it is:
//! of an upload that fails nothing stays.

use crate::restore::bucket::Target;
use crate::restore::chain;
use crate::source::bucket::beside::{TAGS, hex_md5};
use crate::source::bucket::{Answer, Request, text_of};
use bytes::Bytes;
use hyper::Method;
use md5::{Digest, Md5};
use std::fmt::Write;

const DOING: &str = "store an object";

/// An upload that was begun.
pub(crate) struct Upload<'a> {
    into: &'a Target,
    key: &'a str,
    id: String,
    tags: Option<String>,
}

impl<'a> Upload<'a> {
    /// Begins to store `key`, which will have these headers.
    pub(crate) async fn begin(
        into: &'a Target,
        key: &'a str,
        headers: &[(String, String)],
    ) -> Result<Self, String> {
        let begun = into.bucket.ask(DOING, || {
            with(Request::new(Method::POST, key.to_owned()), headers)
                .query("uploads", String::new())
        });
        let begun = begun.await.map_err(|error| chain(&error))?;
        let id = text_of(&begun, "UploadId")
            .ok_or_else(|| "the server does not say which upload it began".to_owned())?;
        let tags = headers.iter().find(|(name, _)| name == TAGS);
        Ok(Self {
            into,
            key,
            id,
            tags: tags.map(|(_, tags)| tags.clone()),
        })
    }

    /// Has part `number` stored; `with` says of what. Parts count from 1 and may come in any order.
    pub(crate) async fn part(
        &self,
        number: usize,
        with: impl Fn(Request) -> Request,
    ) -> Result<Answer, String> {
        let answer = self.into.bucket.ask(DOING, || {
            let request = Request::new(Method::PUT, self.key.to_owned())
                .query("partNumber", number.to_string())
                .query("uploadId", self.id.clone());
            with(request)
        });
        answer.await.map_err(|error| chain(&error))
    }

    /// Makes the object of its parts, whose ETags these are, in their order; or of nothing, when one failed.
    pub(crate) async fn end(self, parts: Result<Vec<String>, String>) -> Result<(), String> {
        let ended = match parts {
            Ok(parts) => self.complete(&parts).await,
            Err(why) => Err(why),
        };
        if ended.is_err() {
            // What was sent would stay and cost.
            let dropped = self.into.bucket.ask("drop an upload", || {
                Request::new(Method::DELETE, self.key.to_owned()).query("uploadId", self.id.clone())
            });
            let _ = dropped.await;
            return ended;
        }
        match &self.tags {
            None => Ok(()),
            Some(tags) => {
                let tagged = self.into.bucket.must_have_tags(self.key, tags).await;
                tagged.map_err(|error| format!("stored without its tags: {}", chain(&error)))
            }
        }
    }

    async fn complete(&self, parts: &[String]) -> Result<(), String> {
        let mut list = "<CompleteMultipartUpload>".to_owned();
        for (at, etag) in parts.iter().enumerate() {
            let number = at + 1;
            // Writing into a string has no way to fail.
            let _ = write!(
                list,
                "<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag></Part>"
            );
        }
        list.push_str("</CompleteMultipartUpload>");
        let ended = self.into.bucket.ask(DOING, || {
            Request::new(Method::POST, self.key.to_owned())
                .query("uploadId", self.id.clone())
                .plain_body(Bytes::from(list.clone()))
        });
        match ended.await {
            // This answer begins before it is known whether it is done.
            Ok(ended) => match text_of(&ended, "Code") {
                Some(code) => Err(format!("the server answered {code}")),
                None => Ok(()),
            },
            // Its first answer may have been lost: then the object is there, and the upload is over.
            Err(error) if error.is_missing() && self.is_there(parts).await => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    /// Whether the object is the one that these parts make.
    async fn is_there(&self, parts: &[String]) -> bool {
        let Some(made) = etag_of(parts) else {
            return false;
        };
        let head = self.into.bucket.ask("look at an object", || {
            Request::new(Method::HEAD, self.key.to_owned())
        });
        let told = head.await.ok();
        let told = told.as_ref().and_then(|head| head.header("etag"));
        told.is_some_and(|told| told.trim_matches('"') == made)
    }
}

/// The ETag of an object that is made of parts with these, where they are MD5: that of their MD5s, and their number.
fn etag_of(parts: &[String]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        let digits = part.as_bytes().chunks_exact(2);
        if part.len() != 32 || !part.is_ascii() {
            return None;
        }
        for two in digits {
            let byte = u8::from_str_radix(str::from_utf8(two).ok()?, 16).ok()?;
            digest.update([byte]);
        }
    }
    Some(format!("{}-{}", hex_md5(digest), parts.len()))
}

/// A request with these headers.
pub(crate) fn with(mut request: Request, headers: &[(String, String)]) -> Request {
    for (name, value) in headers {
        request = request.header(name.clone(), value.clone());
    }
    request
}

#[cfg(test)]
mod tests {
    use super::etag_of;

    #[test]
    fn the_etag_of_parts_is_that_of_their_etags() {
        // Two parts, of `a` and of `b`, as servers have it.
        let parts = [
            "0cc175b9c0f1b6a831c399e269772661".to_owned(),
            "92eb5ffee6ae2fec3ad71c777531578f".to_owned(),
        ];
        assert_eq!(
            etag_of(&parts).as_deref(),
            Some("96e024ba2074fe77e8e965ba43a704be-2")
        );
        assert_eq!(etag_of(&["what a key service makes".to_owned()]), None);
    }
}
