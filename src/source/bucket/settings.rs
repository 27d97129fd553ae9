//! How a bucket is set: what it keeps, what it removes by itself, where it sends copies, who may read it. Servers
//! differ in how they say that there is nothing; what they do not say is not made up.

use crate::model::bucket::{BucketFacts, BucketSeen, PublicBy, Told, Versioning};
use crate::model::strategy::{Lifecycle, Replication};
use crate::source::bucket::rules::{self, Pieces};
use crate::wire::{Access, Answer, Kind, Request, SetupError, Trouble, Wire, refusal};
use bytes::Bytes;
use futures_util::future::join_all;
use hyper::Method;
use std::time::Duration;

/// Requests before giving up, the first included.
const ATTEMPTS: u32 = 4;
/// The pause after the first; each later one is three times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long a look may take in all. A plan stands without it.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// The groups of everybody, and of everybody with an account.
const EVERYBODY: [&str; 2] = [
    "http://acs.amazonaws.com/groups/global/AllUsers",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers",
];
/// Goes with lifecycle rules, and is lost where it is not sent back.
const SMALL_OBJECTS: &str = "x-amz-transition-default-minimum-object-size";

/// A bucket whose settings can be read and set.
#[derive(Debug)]
pub struct BucketSettings {
    wire: Wire,
    name: String,
    is_aws: bool,
}

/// Why a setting could not be read or set.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SettingsError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("{doing} of bucket `{bucket}`{}", right.map_or(String::new(), |right| format!(", which takes the right {right}")))]
    Asked {
        doing: &'static str,
        bucket: String,
        kind: Kind,
        right: Option<&'static str>,
        #[source]
        cause: Trouble,
    },
    #[error("{doing} of bucket `{bucket}`: {why}")]
    Answer {
        doing: &'static str,
        bucket: String,
        why: String,
    },
}

impl SettingsError {
    /// Whether nothing else can be asked of the bucket either.
    fn is_about_all(&self) -> bool {
        match self {
            Self::Setup(_) => true,
            Self::Asked { kind, cause, .. } => {
                *kind == Kind::Unreachable || matches!(cause, Trouble::NoBucket(_))
            }
            Self::Answer { .. } => false,
        }
    }

    /// Itself, when it is that a right is missing.
    fn if_denied(self) -> Option<Self> {
        matches!(&self, Self::Asked { kind, .. } if *kind == Kind::Denied).then_some(self)
    }

    /// The error and what caused it, on one line.
    pub fn words(&self) -> String {
        let mut words = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        words
    }
}

/// A part of a bucket's settings.
struct Part {
    /// The sub-resource.
    name: &'static str,
    reading: &'static str,
    setting: &'static str,
    /// What reading and setting take.
    rights: [&'static str; 2],
}

const fn part(
    name: &'static str,
    [reading, setting]: [&'static str; 2],
    rights: [&'static str; 2],
) -> Part {
    Part {
        name,
        reading,
        setting,
        rights,
    }
}

const VERSIONING: Part = part(
    "versioning",
    ["read the versioning", "set the versioning"],
    ["s3:GetBucketVersioning", "s3:PutBucketVersioning"],
);
const LIFECYCLE: Part = part(
    "lifecycle",
    ["read the lifecycle rules", "set the lifecycle rules"],
    [
        "s3:GetLifecycleConfiguration",
        "s3:PutLifecycleConfiguration",
    ],
);
const REPLICATION: Part = part(
    "replication",
    ["read the replication rules", "set the replication rules"],
    [
        "s3:GetReplicationConfiguration",
        "s3:PutReplicationConfiguration",
    ],
);
const POLICY: Part = part(
    "policyStatus",
    ["read the policy's status", "set the policy"],
    ["s3:GetBucketPolicyStatus", "s3:PutBucketPolicy"],
);
const ACL: Part = part(
    "acl",
    [
        "read the access control list",
        "set the access control list",
    ],
    ["s3:GetBucketAcl", "s3:PutBucketAcl"],
);
const BLOCK: Part = part(
    "publicAccessBlock",
    [
        "read the block of public access",
        "set the block of public access",
    ],
    [
        "s3:GetBucketPublicAccessBlock",
        "s3:PutBucketPublicAccessBlock",
    ],
);

type Read<T> = Result<T, SettingsError>;

impl BucketSettings {
    /// Of the bucket that `access` tells of. Nothing is asked yet.
    pub fn new(access: &Access) -> Result<Self, SettingsError> {
        Ok(Self {
            wire: Wire::new(access)?,
            name: access.bucket.clone(),
            is_aws: access.endpoint.is_none(),
        })
    }

    /// Everything that the bucket says of itself.
    pub async fn look(&self) -> BucketSeen {
        match tokio::time::timeout(LOOK_MAX, self.facts()).await {
            Ok(Ok(facts)) => BucketSeen::Bucket(facts),
            Ok(Err(error)) => BucketSeen::Unreachable { why: error.words() },
            Err(_) => BucketSeen::Unreachable {
                why: format!(
                    "bucket `{}` did not answer within {} s",
                    self.name,
                    LOOK_MAX.as_secs()
                ),
            },
        }
    }

    /// Asks for everything at the same time; fails where it is no use to ask on.
    async fn facts(&self) -> Read<BucketFacts> {
        let parts = [VERSIONING, LIFECYCLE, REPLICATION, POLICY, ACL, BLOCK];
        let asked = join_all(parts.iter().map(|part| self.read(part))).await;
        let mut answers = asked.into_iter();
        let mut next = || answers.next().unwrap_or(Ok(None));
        let (versioning, lifecycle, replication) = (next(), next(), next());
        let (policy, acl, block) = (next(), next(), next());
        let versioning = match versioning {
            Err(error) if error.is_about_all() => return Err(error),
            other => other.and_then(|answer| {
                let body = answer.map(|answer| answer.body).unwrap_or_default();
                self.understood(&VERSIONING, versioning_of(&body))
            }),
        };
        let lifecycle = self.rules(&LIFECYCLE, lifecycle, rules::lifecycle);
        let replication = self.rules(&REPLICATION, replication, rules::replication);
        Ok(BucketFacts {
            versioning: told(versioning),
            lifecycle: told(lifecycle),
            replication: told(replication),
            public: told(public(policy, acl, block)),
        })
    }

    fn rules<T>(
        &self,
        part: &Part,
        answer: Read<Option<Answer>>,
        of: fn(&[u8]) -> Result<Vec<T>, String>,
    ) -> Read<Vec<T>> {
        let body = answer?.map(|answer| answer.body).unwrap_or_default();
        self.understood(part, of(&body))
    }

    fn understood<T>(&self, part: &Part, read: Result<T, String>) -> Read<T> {
        read.map_err(|why| SettingsError::Answer {
            doing: part.reading,
            bucket: self.name.clone(),
            why,
        })
    }

    /// Switches versions on or off.
    pub async fn set_versioning(&self, on: bool) -> Read<()> {
        let status = if on { "Enabled" } else { "Suspended" };
        let document = format!(
            "<VersioningConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>{status}</Status></VersioningConfiguration>"
        );
        self.write(&VERSIONING, Some(document), None).await
    }

    /// Writes ccb's lifecycle rule; those of others stay as they are now.
    pub async fn set_lifecycle(&self, asked: &Lifecycle) -> Read<()> {
        let now = self.read(&LIFECYCLE).await?;
        let header = now.as_ref().and_then(|it| it.header(SMALL_OBJECTS));
        let header = header.map(str::to_owned);
        let now = now.map(|answer| answer.body).unwrap_or_default();
        let document = self.understood(&LIFECYCLE, rules::with_lifecycle(&now, asked))?;
        self.write(&LIFECYCLE, document, header).await
    }

    /// Writes ccb's replication rule; those of others stay as they are now.
    pub async fn set_replication(&self, asked: &Replication) -> Read<()> {
        let now = self.read(&REPLICATION).await?;
        let now = now.map(|answer| answer.body).unwrap_or_default();
        let pieces = self.understood(&REPLICATION, Pieces::of(&now))?;
        if self.is_aws && asked.role.is_none() && pieces.named("Role").next().is_none() {
            return Err(SettingsError::Answer {
                doing: REPLICATION.setting,
                bucket: self.name.clone(),
                why: "AWS replicates by a role, and none is named; write role=\"arn:aws:iam::…\" in `replication`".to_owned(),
            });
        }
        let document = self.understood(&REPLICATION, rules::with_replication(&now, asked))?;
        self.write(&REPLICATION, Some(document), None).await
    }

    /// What the server says of a part; `None`: that there is nothing.
    async fn read(&self, part: &Part) -> Read<Option<Answer>> {
        let request = || Request::new(Method::GET, String::new()).query(part.name, String::new());
        let answer = self.ask(part.reading, part.rights[0], request).await?;
        Ok(answer.filter(|answer| !answer.body.is_empty()))
    }

    async fn write(
        &self,
        part: &Part,
        document: Option<String>,
        small_objects: Option<String>,
    ) -> Read<()> {
        let request = || {
            let method = match document {
                Some(_) => Method::PUT,
                None => Method::DELETE,
            };
            let mut request = Request::new(method, String::new()).query(part.name, String::new());
            if let Some(document) = &document {
                request = request.document(Bytes::from(document.clone()));
            }
            if let Some(value) = &small_objects {
                request = request.header(SMALL_OBJECTS, value.clone());
            }
            request
        };
        self.ask(part.setting, part.rights[1], request).await?;
        Ok(())
    }

    /// The answer to a request that was carried out; `None` where there is no such setting.
    async fn ask(
        &self,
        doing: &'static str,
        right: &'static str,
        request: impl Fn() -> Request,
    ) -> Read<Option<Answer>> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        loop {
            let (kind, cause) = match self.wire.send(request()).await {
                Ok(answer) if answer.status.is_success() => return Ok(Some(answer)),
                Ok(answer) => refusal(&answer, &self.name),
                Err(trouble) => (trouble.kind(), trouble),
            };
            if kind == Kind::NotFound {
                return Ok(None);
            }
            if kind != Kind::Unreachable || attempt == ATTEMPTS {
                return Err(SettingsError::Asked {
                    doing,
                    bucket: self.name.clone(),
                    kind,
                    right: (kind == Kind::Denied).then_some(right),
                    cause,
                });
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
            attempt += 1;
        }
    }
}

fn told<T>(read: Read<T>) -> Told<T> {
    match read {
        Ok(fact) => Told::Says(fact),
        Err(error) => Told::Silent(error.words()),
    }
}

fn versioning_of(document: &[u8]) -> Result<Versioning, String> {
    match text_of(document, "Status")?.as_deref() {
        None | Some("") => Ok(Versioning::Off),
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(other) => Err(format!("it says `{other}`")),
    }
}

/// The text of an element below the root.
fn text_of(document: &[u8], name: &str) -> Result<Option<String>, String> {
    let elements = crate::source::bucket::document::elements(document)?;
    let found = elements.into_iter().find(|element| element.name == name);
    Ok(found.map(|element| element.text.trim().to_owned()))
}

/// By what the bucket is open, as far as the server tells. One that does not know policies or lists of rights is
/// not open by them; one that does not let us see them may be.
fn public(
    policy: Read<Option<Answer>>,
    acl: Read<Option<Answer>>,
    block: Read<Option<Answer>>,
) -> Read<Vec<PublicBy>> {
    let block = block.ok().flatten();
    let blocks = |what: &str| {
        let said = block.as_ref().map(|answer| text_of(&answer.body, what));
        matches!(said, Some(Ok(Some(yes))) if yes.eq_ignore_ascii_case("true"))
    };
    let (mut by, mut hidden) = (Vec::new(), None);
    match policy {
        Ok(answer) => {
            let said = answer.map(|answer| text_of(&answer.body, "IsPublic"));
            let is_public = matches!(said, Some(Ok(Some(yes))) if yes.eq_ignore_ascii_case("true"));
            if is_public && !blocks("RestrictPublicBuckets") {
                by.push(PublicBy::Policy);
            }
        }
        Err(error) => hidden = error.if_denied(),
    }
    match acl {
        Ok(answer) => {
            let body = answer.map(|answer| answer.body).unwrap_or_default();
            let text = String::from_utf8_lossy(&body);
            let is_public = EVERYBODY.iter().any(|group| text.contains(group));
            if is_public && !blocks("IgnorePublicAcls") {
                by.push(PublicBy::Acl);
            }
        }
        Err(error) => hidden = hidden.or(error.if_denied()),
    }
    match hidden {
        Some(error) if by.is_empty() => Err(error),
        _ => Ok(by),
    }
}
