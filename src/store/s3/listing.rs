//! Puts the pages of a listing together. What lies below the prefix and has no key's name is counted, never
//! taken for an object.

use crate::store::{Key, Listing, Meta};
use crate::wire::Answer;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::Deserialize;
use std::io;

/// A listing as far as it has come.
pub(super) struct Pages<'a> {
    /// The store's place in its bucket.
    base: &'a str,
    prefix: String,
    next: Option<String>,
    /// The server's clock when the first page was made.
    server_time: Option<Timestamp>,
    objects: Vec<Meta>,
    strays: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    #[serde(default)]
    contents: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Object {
    key: String,
    size: u64,
    last_modified: Timestamp,
}

impl<'a> Pages<'a> {
    pub(super) fn new(base: &'a str, prefix: &str) -> Self {
        Self {
            base,
            prefix: format!("{base}{prefix}"),
            next: None,
            server_time: None,
            objects: Vec::new(),
            strays: 0,
        }
    }

    /// What the next page is asked for with.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![
            ("list-type", "2".to_owned()),
            ("prefix", self.prefix.clone()),
        ];
        if let Some(token) = &self.next {
            query.push(("continuation-token", token.clone()));
        }
        query
    }

    /// Adds a page; whether it is the last.
    pub(super) fn add(&mut self, answer: &Answer) -> io::Result<bool> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        if self.server_time.is_none() {
            let date = answer.header("date").unwrap_or_default();
            let read = rfc2822::DateTimeParser::new().parse_timestamp(date);
            let no_clock = |_| wrong(format!("the server does not say what time it is: `{date}`"));
            self.server_time = Some(read.map_err(no_clock)?);
        }
        let text = str::from_utf8(&answer.body).map_err(|e| wrong(e.to_string()))?;
        let page: Page = quick_xml::de::from_str(text)
            .map_err(|e| wrong(format!("its listing can not be read: {e}")))?;
        for object in page.contents {
            self.take(object);
        }
        if !page.is_truncated {
            return Ok(true);
        }
        match page.next_continuation_token {
            Some(token) if self.next.as_ref() != Some(&token) => self.next = Some(token),
            _ => {
                return Err(wrong(
                    "its listing goes on, and it does not say where".to_owned(),
                ));
            }
        }
        Ok(false)
    }

    fn take(&mut self, object: Object) {
        let Some(name) = object.key.strip_prefix(self.base) else {
            return;
        };
        match Key::new(name) {
            Ok(key) => self.objects.push(Meta {
                key,
                size: object.size,
                modified: object.last_modified,
            }),
            Err(_) => self.strays += 1,
        }
    }

    pub(super) fn into_listing(self) -> io::Result<Listing> {
        let no_page = || io::Error::other("there was no page");
        let mut objects = self.objects;
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        // An answer's date has no fractions of a second, an object's may.
        let newest = objects.iter().map(|object| object.modified).max();
        let said = self.server_time.ok_or_else(no_page)?;
        Ok(Listing {
            objects,
            server_time: newest.map_or(said, |newest| said.max(newest)),
            strays: self.strays,
        })
    }
}
