//! Elements to a [`Strategy`]. The elements have been held against the node table, so a value that does
//! not read has been complained about already and decodes to its default; what is found here is what
//! only shows when things are seen together.

mod component;
mod exports;
mod fields;
mod references;
mod rules;
mod schedules;
mod source;

use crate::model::ids::{Address, DestinationName, EncryptionName};
use crate::model::strategy::{
    ApplySettings, Credentials, Destination, DestinationKind, Encryption, Location, ObjectLock,
    Place, SecretRef, Sse, Strategy,
};
use crate::model::units::Percent;
use crate::plan_file::decode::fields::Fields;
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::Element;
use std::collections::BTreeMap;

/// Reads the merged elements of a whole plan file.
pub(crate) fn strategy(elements: &[Element], problems: &mut Vec<Problem>) -> Strategy {
    let mut decoder = Decoder {
        names: Names::of(elements),
        problems,
        places: BTreeMap::new(),
    };
    for element in elements {
        decoder.record(None, element);
    }
    let each = |name: &'static str| {
        elements
            .iter()
            .filter(move |element| element.name == name && element.first().is_some())
    };
    let plan = Fields::top(elements, "plan");
    let environment: String = plan.prop("environment").unwrap_or_default();
    let destinations: Vec<Destination> = each("destination")
        .filter_map(|e| decoder.destination(e))
        .collect();
    let components = each("component")
        .filter_map(|e| decoder.component(e))
        .collect();
    let policy = decoder.policy(elements, &environment);
    let notify = each("notify").map(|e| decoder.notify(e)).collect();
    let mut strategy = Strategy {
        name: plan.arg().unwrap_or_default(),
        environment,
        timezone: plan.prop("timezone").unwrap_or_default(),
        apply: apply(&Fields::top(elements, "apply")),
        encryptions: each("encryption").filter_map(encryption).collect(),
        destinations,
        components,
        policy,
        notify,
        variables: BTreeMap::new(),
        env_names: Vec::new(),
        files: Vec::new(),
        places: decoder.places,
        env_in_values: Vec::new(),
        unused: Vec::new(),
    };
    references::check(&strategy, elements, problems);
    references::env_names(&mut strategy);
    strategy
}

struct Decoder<'a> {
    names: Names,
    problems: &'a mut Vec<Problem>,
    places: BTreeMap<Address, Place>,
}

/// The names that others may refer to, in the order of the file.
struct Names {
    encryptions: Vec<String>,
    destinations: Vec<String>,
    components: Vec<String>,
}

impl Names {
    fn of(elements: &[Element]) -> Self {
        let all = |kind: &str| {
            let of_kind = elements.iter().filter(|element| element.name == kind);
            of_kind
                .filter_map(Element::first)
                .map(str::to_owned)
                .collect()
        };
        Self {
            encryptions: all("encryption"),
            destinations: all("destination"),
            components: all("component"),
        }
    }
}

impl Decoder<'_> {
    /// Remembers where `element` and all below it stand, under their addresses.
    fn record(&mut self, parent: Option<&Address>, element: &Element) {
        let first = element.first();
        let word = match (element.name.as_str(), first) {
            (
                "variable" | "encryption" | "destination" | "template" | "component" | "notify"
                | "schedule" | "hook" | "set" | "waive" | "export",
                Some(name),
            ) => format!("{}.{name}", element.name),
            (name, _) => name.to_owned(),
        };
        let address = match parent {
            Some(parent) => parent.child(&word),
            None => Address(word),
        };
        for child in &element.children {
            self.record(Some(&address), child);
        }
        if element.name == "retain" {
            // Rules of one word may stand there twice: their number tells them apart.
            for (number, rule) in element.children.iter().enumerate() {
                self.places
                    .entry(address.child(number))
                    .or_insert(rule.head);
            }
        }
        self.places.entry(address).or_insert(element.head);
    }

    fn wrong(
        &mut self,
        code: &'static str,
        message: String,
        place: Place,
        label: &str,
        help: String,
    ) {
        self.problems
            .push(Problem::error(code, message, place, label).help(help));
    }

    fn destination(&mut self, element: &Element) -> Option<Destination> {
        let fields = Fields::of("file", element);
        let s3 = fields.child("s3");
        let kind = if let Some(path) = fields.child("local").arg() {
            DestinationKind::Local { path }
        } else if let Some(url) = fields.child("sftp").arg() {
            DestinationKind::Sftp { url }
        } else {
            DestinationKind::S3 {
                url: s3.arg().unwrap_or_default(),
                region: s3.prop("region"),
                endpoint: s3.prop("endpoint"),
                path_style: s3.prop("path-style").unwrap_or_default(),
                storage_class: s3.prop("storage-class"),
            }
        };
        for name in ["sse", "credentials", "object-lock"] {
            if let (None, Some(child)) = (s3.element, element.child(name)) {
                self.wrong(
                    "ccb::config::misplaced_node",
                    format!("`{name}` belongs to an s3 destination"),
                    child.head,
                    "means nothing here",
                    "remove it".to_owned(),
                );
            }
        }
        let sse = fields.child("sse");
        let location = fields.child("location");
        let lock = fields.child("object-lock");
        Some(Destination {
            name: DestinationName::new(element.first()?).ok()?,
            optional: fields.prop("optional").unwrap_or_default(),
            kind,
            encrypt: self.encrypt(&fields.child("encrypt")),
            sse: sse.choice().map(|mode| Sse {
                mode,
                key_id: sse.prop("key-id"),
            }),
            credentials: credentials(&fields.child("credentials")),
            location: Location {
                provider: location.prop("provider"),
                region: location.prop("region"),
                site: location.prop("site"),
                host: location.prop("host"),
                offsite: location.prop("offsite").unwrap_or_default(),
            },
            object_lock: lock.arg::<String>().map(|mode| ObjectLock {
                compliance: mode == "compliance",
                days: lock.prop("days").unwrap_or_default(),
            }),
        })
    }

    fn encrypt(&mut self, fields: &Fields<'_>) -> Option<EncryptionName> {
        let element = fields.element?;
        let none: bool = fields.prop("none").unwrap_or_default();
        let Some(name) = fields.arg::<EncryptionName>() else {
            if !none && element.args.is_empty() {
                self.wrong(
                    "ccb::config::encrypt",
                    "`encrypt` does not say with what".to_owned(),
                    element.head,
                    "neither a name nor none=#true",
                    "write encrypt \"default\", or encrypt none=#true to store in the clear"
                        .to_owned(),
                );
            }
            return None;
        };
        if none {
            self.wrong(
                "ccb::config::encrypt",
                "`encrypt` names an encryption and says that there is none".to_owned(),
                element.head,
                "which of the two?",
                format!("write encrypt \"{name}\""),
            );
        } else if !self
            .names
            .encryptions
            .iter()
            .any(|known| known == name.as_str())
        {
            let known = self.names.encryptions.iter().map(String::as_str);
            let help = match self.names.encryptions.as_slice() {
                [] => format!("add: encryption \"{name}\" {{ key env=\"BACKUP_ENCRYPTION_KEY\" }}"),
                _ => did_you_mean(name.as_str(), known, '"'),
            };
            self.wrong(
                "ccb::config::unknown_encryption",
                format!("no encryption is named \"{name}\""),
                element.args[0].place,
                "used here",
                help,
            );
        }
        Some(name)
    }
}

fn encryption(element: &Element) -> Option<Encryption> {
    let fields = Fields::of("file", element);
    Some(Encryption {
        name: EncryptionName::new(element.first()?).ok()?,
        cipher: fields.child("cipher").choice()?,
        key: secret(&fields.child("key")).unwrap_or(SecretRef::Env(String::new())),
        kdf: fields.child("kdf").choice()?,
        rotate_after: fields.child("rotate-after").arg(),
    })
}

fn apply(fields: &Fields<'_>) -> ApplySettings {
    let limit = fields.child("forget-limit");
    let default = ApplySettings::default();
    ApplySettings {
        parallelism: fields
            .child("parallelism")
            .arg()
            .unwrap_or(default.parallelism),
        lock_timeout: fields
            .child("lock-timeout")
            .arg()
            .unwrap_or(default.lock_timeout),
        plan_max_age: fields
            .child("plan-max-age")
            .arg()
            .unwrap_or(default.plan_max_age),
        forget_limit_count: limit.prop("count").unwrap_or(default.forget_limit_count),
        forget_limit_percent: limit
            .prop("percent")
            .map_or(default.forget_limit_percent, Percent),
        trash: fields.child("trash").arg().unwrap_or(default.trash),
    }
}

/// Where S3 credentials come from.
fn credentials(node: &Fields<'_>) -> Option<Credentials> {
    node.element.map(|_| Credentials {
        profile: node.prop("profile"),
        env_prefix: node.prop("env-prefix"),
    })
}

/// Where a secret is found; `None` when the node is absent or has been complained about.
fn secret(fields: &Fields<'_>) -> Option<SecretRef> {
    fields
        .prop("env")
        .map(SecretRef::Env)
        .or_else(|| fields.prop("file").map(SecretRef::File))
        .or_else(|| fields.prop("command").map(SecretRef::Command))
}
