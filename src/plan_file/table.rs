//! The shape of the plan language, as data: which nodes there are, where, with what arguments and
//! properties, how often, and what they mean. Checking, suggestions, defaults, `ccb schema` and the
//! committed `schemas/plan-file.kdl` all read [`NODES`]; nothing else says what the language is.

pub use crate::plan_file::nodes::NODES;

/// One kind of node in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The node that it stands in; `file` for the top level. What stands in `component` stands in
    /// `template` too.
    pub parent: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arg: Option<Arg>,
    /// Its properties.
    pub props: &'static [Prop],
    /// How often it stands there.
    pub times: Times,
    /// Only in a `source` or `export` of these kinds, or in a `restore-test` that stands in one of these; empty: in
    /// all.
    pub only: &'static [&'static str],
    /// What its absence means, as the entries that could be written.
    pub default: Option<&'static str>,
    /// What it is for.
    pub meaning: &'static str,
}

/// The arguments of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arg {
    /// What they are called in messages.
    pub name: &'static str,
    /// What they are.
    pub ty: Type,
    /// How many.
    pub count: Count,
}

/// How many arguments a node takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Count {
    One,
    Optional,
    OneOrMore,
}

/// A property of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prop {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub ty: Type,
    /// Whether it must be given.
    pub required: bool,
    /// What its absence means, as it could be written.
    pub default: Option<&'static str>,
}

/// How often a node stands in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Exactly once.
    Once,
    /// At most once.
    Optional,
    /// Any number of times.
    Any,
    /// At least once.
    OneOrMore,
    /// Exactly one node of the group.
    OneOf(&'static str),
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Name,
    VariableName,
    Integer { min: i64, max: i64 },
    Boolean,
    Text,
    Path,
    Duration,
    Size,
    Percent,
    Time,
    Day,
    DayOfYear,
    Date,
    S3Url,
    SftpUrl,
    Url,
    EnvName,
    Cron,
    Timezone,
    Version,
    Choice(&'static [&'static str]),
    Method,
    Any,
}

impl Type {
    /// Its name in the schema.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::VariableName => "variable-name",
            Self::Integer { .. } => "integer",
            Self::Boolean => "boolean",
            Self::Text => "string",
            Self::Path => "path",
            Self::Duration => "duration",
            Self::Size => "size",
            Self::Percent => "percent",
            Self::Time => "time",
            Self::Day => "day",
            Self::DayOfYear => "day-of-year",
            Self::Date => "date",
            Self::S3Url => "s3-url",
            Self::SftpUrl => "sftp-url",
            Self::Url => "url",
            Self::EnvName => "env-name",
            Self::Cron => "cron",
            Self::Timezone => "timezone",
            Self::Version => "version",
            Self::Choice(_) => "choice",
            Self::Method => "method",
            Self::Any => "any",
        }
    }
    /// A value of this type that could be pasted.
    pub fn example(self) -> &'static str {
        match self {
            Self::Name | Self::VariableName => "\"main\"",
            Self::Integer { .. } => "1",
            Self::Boolean => "#true",
            Self::Text | Self::Any => "\"text\"",
            Self::Path => "\"./data\"",
            Self::Duration => "\"30d\"",
            Self::Size => "\"64KiB\"",
            Self::Percent => "\"50%\"",
            Self::Time => "\"02:00\"",
            Self::Day => "\"sunday\"",
            Self::DayOfYear => "\"01-01\"",
            Self::Date => "\"2026-12-31\"",
            Self::S3Url => "\"s3://bucket/prefix\"",
            Self::SftpUrl => "\"sftp://user@host/path\"",
            Self::Url => "\"https://example.com\"",
            Self::EnvName => "\"NAME\"",
            Self::Cron => "\"0 2 * * *\"",
            Self::Timezone => "\"UTC\"",
            Self::Version => "\"0.1.0\"",
            Self::Method => "\"full\"",
            Self::Choice(_) => "\"...\"",
        }
    }
}

/// The node `name` in `parent`.
pub fn find(parent: &str, name: &str) -> Option<&'static Node> {
    children(parent).find(|node| node.name == name)
}

/// Every node that may stand in `parent`, in the order of the table.
pub fn children(parent: &str) -> impl Iterator<Item = &'static Node> + Clone {
    let parent = if parent == "template" {
        "component"
    } else {
        parent
    }
    .to_owned();
    NODES.iter().filter(move |node| node.parent == parent)
}

impl Node {
    /// Whether it may stand where `only` is measured against that.
    pub fn fits(&self, kind: Option<&str>) -> bool {
        self.only.is_empty() || kind.is_none_or(|kind| self.only.contains(&kind))
    }
    /// The property of that name.
    pub fn prop(&self, name: &str) -> Option<&'static Prop> {
        self.props.iter().find(|prop| prop.name == name)
    }
    pub(crate) const fn arg(mut self, name: &'static str, ty: Type) -> Self {
        self.arg = Some(Arg {
            name,
            ty,
            count: Count::One,
        });
        self
    }
    pub(crate) const fn args(mut self, name: &'static str, ty: Type) -> Self {
        self.arg = Some(Arg {
            name,
            ty,
            count: Count::OneOrMore,
        });
        self
    }
    pub(crate) const fn maybe_arg(mut self, name: &'static str, ty: Type) -> Self {
        self.arg = Some(Arg {
            name,
            ty,
            count: Count::Optional,
        });
        self
    }
    pub(crate) const fn props(mut self, props: &'static [Prop]) -> Self {
        self.props = props;
        self
    }
    pub(crate) const fn only(mut self, kinds: &'static [&'static str]) -> Self {
        self.only = kinds;
        self
    }
    pub(crate) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
}

impl Prop {
    pub(crate) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }
    pub(crate) const fn must(mut self) -> Self {
        self.required = true;
        self
    }
}
