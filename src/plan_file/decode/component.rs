//! Components: what they store where, check and run.

use crate::model::ids::{ComponentName, DestinationName};
use crate::model::strategy::{
    Component, ContentsCheck, Hook, HookWhen, IntegrityCheck, Place, PresenceCheck, RestoreInto,
    RestoreTest, Schedule, SourceSpec, TestServer, VerifySettings,
};
use crate::model::units::Percent;
use crate::plan_file::decode::fields::Fields;
use crate::plan_file::decode::{Decoder, secret};
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::Element;

impl Decoder<'_> {
    pub(crate) fn component(&mut self, element: &Element) -> Option<Component> {
        let fields = Fields::of("file", element);
        let name = ComponentName::new(element.first()?).ok()?;
        let source = self.source(&fields.child("source"))?;
        let schedules = self.schedules(element, &source);
        let store = self.destinations(element, &source, &schedules);
        let retain = self.retain(&fields.child("retain"), &source, &schedules);
        Some(Component {
            enabled: fields.prop("enabled").unwrap_or(true),
            sensitive: fields.prop("sensitive").unwrap_or(true),
            after: self.after(element, &name),
            verify: self.verify(&fields.child("verify"), &source),
            exports: self.exports(element, &source),
            hooks: element.each("hook").filter_map(hook).collect(),
            moved_from: self.moved(element, &name),
            name,
            source,
            store,
            schedules,
            retain,
        })
    }

    fn after(&mut self, element: &Element, own: &ComponentName) -> Vec<ComponentName> {
        let mut names = Vec::new();
        for arg in element.each("after").flat_map(|after| &after.args) {
            let Some(name) = arg.data.as_str() else {
                continue;
            };
            if !self.names.components.iter().any(|known| known == name) {
                let known = self.names.components.iter().map(String::as_str);
                let help = did_you_mean(
                    name,
                    known
                        .filter(|known| *known != own.as_str())
                        .collect::<Vec<_>>(),
                    '"',
                );
                self.wrong(
                    "ccb::config::unknown_component",
                    format!("no component is named \"{name}\""),
                    arg.place,
                    "waited for here",
                    help,
                );
            } else if let Ok(name) = ComponentName::new(name)
                && !names.contains(&name)
            {
                names.push(name);
            }
        }
        names
    }

    fn destinations(
        &mut self,
        element: &Element,
        source: &SourceSpec,
        schedules: &[Schedule],
    ) -> Vec<DestinationName> {
        let only_checked = matches!(source, SourceSpec::S3(_))
            && !schedules
                .iter()
                .any(|schedule| schedule.method.makes_backup());
        let Some(store) = element.child("store") else {
            if !only_checked {
                self.wrong(
                    "ccb::config::missing_node",
                    format!(
                        "component \"{}\" is stored nowhere",
                        element.first().unwrap_or_default()
                    ),
                    element.head,
                    "has no `store`",
                    match self.names.destinations.first() {
                        Some(first) => format!("add: store \"{first}\""),
                        None => "add a destination, and `store` with its name".to_owned(),
                    },
                );
            }
            return Vec::new();
        };
        let mut names: Vec<DestinationName> = Vec::new();
        for arg in &store.args {
            let Some(text) = arg.data.as_str() else {
                continue;
            };
            let Ok(name) = DestinationName::new(text) else {
                continue;
            };
            if !self.known_destination(text, arg.place) {
                continue;
            }
            if names.contains(&name) {
                self.wrong(
                    "ccb::config::stored_twice",
                    format!("destination \"{name}\" is named twice"),
                    arg.place,
                    "again",
                    "remove it: a second copy needs a second destination".to_owned(),
                );
            } else {
                names.push(name);
            }
        }
        names
    }

    pub(crate) fn known_destination(&mut self, name: &str, place: Place) -> bool {
        let known = self.names.destinations.iter().any(|known| known == name);
        if !known {
            let help = did_you_mean(
                name,
                self.names.destinations.iter().map(String::as_str),
                '"',
            );
            self.wrong(
                "ccb::config::unknown_destination",
                format!("no destination is named \"{name}\""),
                place,
                "used here",
                help,
            );
        }
        known
    }

    fn verify(&mut self, fields: &Fields<'_>, source: &SourceSpec) -> VerifySettings {
        let presence = fields.child("presence");
        let integrity = fields.child("integrity");
        let contents = fields.child("contents");
        VerifySettings {
            presence: presence.element.and_then(|_| {
                Some(PresenceCheck {
                    min_size: presence.prop("min-size")?,
                    max_shrink: percent(&presence, "max-shrink")?,
                    fresh: presence.prop("fresh"),
                })
            }),
            integrity: integrity.element.and_then(|_| {
                Some(IntegrityCheck {
                    every: integrity.prop("every")?,
                    sample: percent(&integrity, "sample")?,
                })
            }),
            contents: contents
                .element
                .and_then(|_| self.contents(&contents, source)),
            restore_test: self.restore_test(&fields.child("restore-test"), source),
            encrypted: fields.child("encrypted").element.is_some(),
        }
    }

    fn contents(&mut self, fields: &Fields<'_>, source: &SourceSpec) -> Option<ContentsCheck> {
        if let (Some(tables), false) = (
            fields.child("tables").element,
            matches!(source, SourceSpec::Postgres(_)),
        ) {
            self.wrong(
                "ccb::config::misplaced_node",
                format!("a {} source has no tables", source.kind()),
                tables.head,
                "belongs to postgres",
                "remove it".to_owned(),
            );
        }
        let matches = |name| fields.prop::<String>(name).map(|word| word == "match");
        Some(ContentsCheck {
            counts: matches("counts")?,
            sizes: matches("sizes")?,
            keys_tolerance: percent(fields, "keys-tolerance")?,
            tables: fields.child("tables").args(),
        })
    }

    fn restore_test(&mut self, fields: &Fields<'_>, source: &SourceSpec) -> Option<RestoreTest> {
        let into: RestoreInto = fields.prop_choice("into")?;
        let fitting = match source {
            SourceSpec::Postgres(_) => RestoreInto::TemporaryDatabase,
            SourceSpec::Redis(_) => RestoreInto::TemporaryRedis,
            SourceSpec::Files(_) | SourceSpec::S3(_) => RestoreInto::TemporaryDirectory,
        };
        if into != fitting
            && let Some(property) = fields.element.and_then(|element| element.prop("into"))
        {
            self.wrong(
                "ccb::config::restore_into",
                format!(
                    "a {} backup cannot be restored into a {}",
                    source.kind(),
                    into.as_str()
                ),
                property.value.place,
                "does not fit the source",
                format!("write into=\"{}\"", fitting.as_str()),
            );
        }
        Some(RestoreTest {
            every: fields.prop("every")?,
            into,
            files: fields.prop("files"),
            server: self.test_server(&fields.child("server"), source),
        })
    }

    /// Where dumps are restored as a test.
    fn test_server(&mut self, fields: &Fields<'_>, source: &SourceSpec) -> Option<TestServer> {
        let element = fields.element?;
        if !matches!(source, SourceSpec::Postgres(_)) {
            self.wrong(
                "ccb::config::misplaced_node",
                format!(
                    "a {} backup is not restored into a server of yours",
                    source.kind()
                ),
                element.head,
                "belongs to postgres",
                "remove it".to_owned(),
            );
        }
        Some(TestServer {
            host: fields.child("host").arg()?,
            port: fields.child("port").arg()?,
            user: fields.child("user").arg(),
            password: secret(&fields.child("password")),
            sslmode: fields.child("sslmode").choice()?,
        })
    }

    fn moved(&mut self, element: &Element, own: &ComponentName) -> Vec<ComponentName> {
        let mut names = Vec::new();
        for property in element.each("moved").filter_map(|moved| moved.prop("from")) {
            let Some(text) = property.value.data.as_str() else {
                continue;
            };
            let name = text
                .strip_prefix("component.")
                .and_then(|name| ComponentName::new(name).ok());
            let Some(name) = name else {
                self.wrong(
                    "ccb::config::moved",
                    format!("\"{text}\" is not the address of a component"),
                    property.value.place,
                    "the old address",
                    "write from=\"component.NAME\"".to_owned(),
                );
                continue;
            };
            if self
                .names
                .components
                .iter()
                .any(|known| known == name.as_str())
            {
                self.wrong(
                    "ccb::config::moved",
                    format!("component \"{name}\" still exists"),
                    property.value.place,
                    "its backups are its own",
                    if name == *own {
                        "remove it".to_owned()
                    } else {
                        format!("rename component \"{name}\" to \"{own}\" instead of adding one")
                    },
                );
                continue;
            }
            names.push(name);
        }
        names
    }
}

fn percent(fields: &Fields<'_>, name: &str) -> Option<Percent> {
    fields.prop(name)
}

fn hook(element: &Element) -> Option<Hook> {
    let fields = Fields::of("component", element);
    Some(Hook {
        when: fields.choice::<HookWhen>()?,
        on_restore: fields.prop::<String>("on")? == "restore",
        timeout: fields.prop("timeout")?,
        run: fields.child("run").args(),
    })
}
