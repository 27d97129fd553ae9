//! Reads the rules of a bucket's configuration, and writes them back with ccb's own among them: every other rule
//! stays as it was, to the letter. Sends nothing.

use crate::model::bucket::{LifecycleRule, OWN_RULE, ReplicationRule};
use crate::model::strategy::{Lifecycle, Replication};
use crate::model::units::Period;
use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::ops::Range;

/// The namespace that servers want around what is written.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A configuration, in pieces: what stands below its root, to the letter.
pub(crate) struct Pieces<'a>(Vec<(String, &'a str)>);

impl<'a> Pieces<'a> {
    /// Of a document; of nothing there are none.
    pub(crate) fn of(document: &'a [u8]) -> Result<Self, String> {
        let text = str::from_utf8(document).map_err(|e| e.to_string())?;
        let mut reader = Reader::from_str(text);
        let (mut all, mut depth) = (Vec::new(), 0);
        let mut open: Option<(String, usize)> = None;
        loop {
            let before = position(&reader)?;
            match reader.read_event().map_err(|e| e.to_string())? {
                Event::Start(start) => {
                    depth += 1;
                    if depth == 2 {
                        open = Some((start.local_name().as_ref().to_owned(), before));
                    }
                }
                Event::Empty(empty) if depth == 1 => {
                    let name = empty.local_name().as_ref().to_owned();
                    all.push((name, piece(text, before..position(&reader)?)?));
                }
                Event::End(_) => {
                    depth -= 1;
                    if let (1, Some((name, start))) = (depth, open.take_if(|_| depth == 1)) {
                        all.push((name, piece(text, start..position(&reader)?)?));
                    }
                }
                Event::Eof if depth == 0 => return Ok(Self(all)),
                Event::Eof => return Err("the document ends in the middle".to_owned()),
                _ => {}
            }
        }
    }

    /// Those of that name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let pieces = self.0.iter().filter(move |(named, _)| named == name);
        pieces.map(|(_, text)| *text)
    }

    fn rules(&self) -> Result<Vec<(Rule, &'a str)>, String> {
        let read = |text: &'a str| {
            let rule = quick_xml::de::from_str::<Rule>(text);
            Ok((rule.map_err(|e| e.to_string())?, text))
        };
        self.named("Rule").map(read).collect()
    }
}

fn position(reader: &Reader<&[u8]>) -> Result<usize, String> {
    usize::try_from(reader.buffer_position()).map_err(|e| e.to_string())
}

fn piece(text: &str, at: Range<usize>) -> Result<&str, String> {
    text.get(at).ok_or_else(|| "it can not be cut".to_owned())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rule {
    #[serde(rename = "ID")]
    id: String,
    priority: Option<i64>,
    status: String,
    /// Where rules without a `Filter` say what they concern.
    prefix: Option<String>,
    filter: Option<Filter>,
    expiration: Option<Expiration>,
    noncurrent_version_expiration: Option<Noncurrent>,
    abort_incomplete_multipart_upload: Option<Abort>,
    destination: Option<Destination>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    prefix: Option<String>,
    tag: Vec<IgnoredAny>,
    and: Option<Box<Filter>>,
    object_size_greater_than: Option<IgnoredAny>,
    object_size_less_than: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Expiration {
    days: Option<u64>,
    date: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Noncurrent {
    noncurrent_days: Option<u64>,
    newer_noncurrent_versions: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Abort {
    days_after_initiation: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Destination {
    bucket: String,
}

impl Rule {
    fn is_enabled(&self) -> bool {
        self.status.trim() == "Enabled"
    }

    /// What names begin with, and whether only some of these are meant.
    fn scope(&self) -> (String, bool) {
        let filters = || {
            let outer = self.filter.iter();
            outer.flat_map(|filter| std::iter::once(filter).chain(filter.and.as_deref()))
        };
        let prefix = filters().find_map(|filter| filter.prefix.clone());
        let is_partial = filters().any(|filter| {
            !filter.tag.is_empty()
                || filter.object_size_greater_than.is_some()
                || filter.object_size_less_than.is_some()
        });
        let prefix = prefix.or_else(|| self.prefix.clone());
        (prefix.unwrap_or_default(), is_partial)
    }
}

/// What a lifecycle configuration says.
pub(crate) fn lifecycle(document: &[u8]) -> Result<Vec<LifecycleRule>, String> {
    let rules = Pieces::of(document)?.rules()?.into_iter();
    let read = rules.map(|(rule, _)| {
        let (prefix, partial) = rule.scope();
        let expiration = rule.expiration.as_ref();
        let on_a_date = expiration.is_some_and(|it| it.date.is_some());
        let days = expiration.and_then(|it| it.days).map(Period::days);
        // Of versions that are counted, some stay longer.
        let noncurrent = rule.noncurrent_version_expiration.as_ref();
        let noncurrent = noncurrent.filter(|it| it.newer_noncurrent_versions.is_none());
        let abort = rule.abort_incomplete_multipart_upload.as_ref();
        LifecycleRule {
            enabled: rule.is_enabled(),
            prefix,
            partial,
            expire: days.or(on_a_date.then(|| Period::days(0))),
            noncurrent_expire: noncurrent
                .and_then(|it| it.noncurrent_days)
                .map(Period::days),
            abort_multipart: abort
                .and_then(|it| it.days_after_initiation)
                .map(Period::days),
            id: rule.id,
        }
    });
    Ok(read.collect())
}

/// What a replication configuration says.
pub(crate) fn replication(document: &[u8]) -> Result<Vec<ReplicationRule>, String> {
    let rules = Pieces::of(document)?.rules()?.into_iter();
    let read = rules.map(|(rule, _)| {
        let (prefix, partial) = rule.scope();
        let destination = rule.destination.as_ref();
        // `arn:aws:s3:::NAME`, and some servers have the name alone.
        let to = destination.map_or("", |to| to.bucket.rsplit(':').next().unwrap_or_default());
        ReplicationRule {
            enabled: rule.is_enabled(),
            to: to.trim().to_owned(),
            prefix,
            partial,
            id: rule.id,
        }
    });
    Ok(read.collect())
}

/// The lifecycle configuration with ccb's rule as it is asked for; `None`: without any rule.
pub(crate) fn with_lifecycle(document: &[u8], asked: &Lifecycle) -> Result<Option<String>, String> {
    let pieces = Pieces::of(document)?;
    let (others, is_old) = others(&pieces)?;
    let days = |period: Period| period.seconds.div_ceil(Period::days(1).seconds);
    let mut own = String::new();
    for (open, asked, close) in [
        (
            "Expiration><Days",
            asked.current_expire,
            "Days></Expiration",
        ),
        (
            "NoncurrentVersionExpiration><NoncurrentDays",
            asked.noncurrent_expire,
            "NoncurrentDays></NoncurrentVersionExpiration",
        ),
        (
            "AbortIncompleteMultipartUpload><DaysAfterInitiation",
            asked.abort_multipart,
            "DaysAfterInitiation></AbortIncompleteMultipartUpload",
        ),
    ] {
        if let Some(asked) = asked {
            own += &format!("<{open}>{}</{close}>", days(asked));
        }
    }
    if !own.is_empty() {
        let scope = scope(is_old);
        own = format!("<Rule><ID>{OWN_RULE}</ID>{scope}<Status>Enabled</Status>{own}</Rule>");
    }
    let rules = others.concat() + &own;
    Ok((!rules.is_empty()).then(|| root("LifecycleConfiguration", &rules)))
}

/// The replication configuration with ccb's rule as it is asked for.
pub(crate) fn with_replication(document: &[u8], asked: &Replication) -> Result<String, String> {
    let pieces = Pieces::of(document)?;
    let (others, is_old) = others(&pieces)?;
    let role = match (pieces.named("Role").next(), &asked.role) {
        (Some(role), _) => role.to_owned(),
        (None, Some(role)) => format!("<Role>{}</Role>", escape(role.as_str())),
        (None, None) => String::new(),
    };
    let rules = pieces.rules()?;
    let highest = rules.iter().filter_map(|(rule, _)| rule.priority).max();
    let (priority, deletions) = match is_old {
        true => (String::new(), ""),
        false => (
            format!("<Priority>{}</Priority>", highest.unwrap_or(0) + 1),
            // What is deleted here shall not be deleted there.
            "<DeleteMarkerReplication><Status>Disabled</Status></DeleteMarkerReplication>",
        ),
    };
    let (scope, to) = (scope(is_old), escape(asked.to.as_str()));
    let own = format!(
        "<Rule><ID>{OWN_RULE}</ID>{priority}{scope}<Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::{to}</Bucket></Destination>{deletions}</Rule>"
    );
    let all = role + &others.concat() + &own;
    Ok(root("ReplicationConfiguration", &all))
}

/// The rules that are not ccb's, and whether they are of the older kind, without `Filter`: kinds do not mix.
fn others<'a>(pieces: &Pieces<'a>) -> Result<(Vec<&'a str>, bool), String> {
    let rules = pieces.rules()?;
    let others = || rules.iter().filter(|(rule, _)| rule.id != OWN_RULE);
    let is_old = others().any(|(rule, _)| rule.filter.is_none() && rule.prefix.is_some());
    Ok((others().map(|(_, text)| *text).collect(), is_old))
}

fn scope(is_old: bool) -> &'static str {
    match is_old {
        true => "<Prefix></Prefix>",
        false => "<Filter><Prefix></Prefix></Filter>",
    }
}

fn root(name: &str, content: &str) -> String {
    format!("<{name} xmlns=\"{NAMESPACE}\">{content}</{name}>")
}

#[cfg(test)]
mod tests {
    use super::{lifecycle, replication, with_lifecycle, with_replication};
    use crate::model::strategy::{Lifecycle, Replication};
    use crate::model::units::Period;

    const FOREIGN: &str = "<Rule><ID>logs &amp; such</ID><Filter><And><Prefix>logs/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag></And></Filter>\n  <Status>Enabled</Status><Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>";

    #[test]
    fn rules_of_others_stay_to_the_letter() {
        let before = format!(
            "<?xml version=\"1.0\"?><LifecycleConfiguration xmlns=\"x\">{FOREIGN}<Rule><ID>ccb</ID><Filter/><Status>Enabled</Status><NoncurrentVersionExpiration><NoncurrentDays>30</NoncurrentDays></NoncurrentVersionExpiration></Rule></LifecycleConfiguration>"
        );
        let asked = Lifecycle {
            noncurrent_expire: Some(Period::days(90)),
            abort_multipart: Some(Period::days(7)),
            current_expire: None,
        };
        let after = with_lifecycle(before.as_bytes(), &asked).unwrap().unwrap();
        assert!(after.contains(FOREIGN), "{after}");
        let rules = lifecycle(after.as_bytes()).unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(
            (rules[0].prefix.as_str(), rules[0].partial),
            ("logs/", true)
        );
        assert_eq!(rules[0].id, "logs & such");
        assert_eq!(rules[1].noncurrent_expire, asked.noncurrent_expire);
        assert_eq!(rules[1].abort_multipart, asked.abort_multipart);
        assert!(rules[1].is_for_all());
        let none = with_lifecycle(b"", &Lifecycle::default()).unwrap();
        assert_eq!(none, None);
    }

    #[test]
    fn a_replication_rule_is_added_beside_the_others() {
        let asked = Replication {
            to: "replica".to_owned(),
            region: None,
            endpoint: None,
            role: Some("arn:aws:iam::1:role/r".to_owned()),
            max_lag: Period::days(1),
        };
        let fresh = with_replication(b"", &asked).unwrap();
        assert!(fresh.contains("<Role>arn:aws:iam::1:role/r</Role>"));
        let old = "<ReplicationConfiguration><Role>theirs</Role><Rule><ID>old</ID><Prefix>a/</Prefix><Status>Enabled</Status><Destination><Bucket>arn:aws:s3:::other</Bucket></Destination></Rule></ReplicationConfiguration>";
        let both = with_replication(old.as_bytes(), &asked).unwrap();
        assert!(both.contains("<Role>theirs</Role>") && !both.contains("Filter"));
        let rules = replication(both.as_bytes()).unwrap();
        let told: Vec<_> = rules
            .iter()
            .map(|r| (r.to.as_str(), r.prefix.as_str()))
            .collect();
        assert_eq!(told, [("other", "a/"), ("replica", "")]);
        assert!(replication(b"<a><Rule>").is_err());
    }
}
