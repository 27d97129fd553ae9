//! Schedules and keep rules, and whether they mean something together and for their source.

use crate::model::ids::ScheduleName;
use crate::model::strategy::{
    Keep, KeepRule, Method, Pick, Schedule, Selector, SourceSpec, Timing,
};
use crate::model::units::{Day, Period, TimeOfDay};
use crate::plan_file::decode::Decoder;
use crate::plan_file::decode::fields::{Fields, word};
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::{Element, Property};
use std::collections::BTreeMap;

impl Decoder<'_> {
    pub(crate) fn schedules(&mut self, component: &Element, source: &SourceSpec) -> Vec<Schedule> {
        let mut seen = BTreeMap::new();
        let mut schedules = Vec::new();
        for element in component.each("schedule") {
            let Some(name) = element
                .first()
                .and_then(|name| ScheduleName::new(name).ok())
            else {
                continue;
            };
            let place = element.args[0].place;
            if let Some(first) = seen.insert(name.clone(), place) {
                self.problems.push(
                    Problem::error(
                        "ccb::config::duplicate_name",
                        format!("schedule \"{name}\" is defined twice"),
                        place,
                        "defined again here",
                    )
                    .and(first, "first defined here")
                    .help("rename or remove one of them"),
                );
            }
            schedules.extend(self.schedule(name, element, source));
        }
        self.wal_needs(component, source, &schedules);
        schedules
    }

    fn schedule(
        &mut self,
        name: ScheduleName,
        element: &Element,
        source: &SourceSpec,
    ) -> Option<Schedule> {
        let fields = Fields::of("component", element);
        let timing = self.timing(&fields, element);
        let method = self.method(element.prop("method"), source);
        Some(Schedule {
            name,
            timing: timing?,
            method: method.unwrap_or(source.methods()[0]),
            window: fields.prop("window")?,
            missed: fields.prop_choice("missed")?,
            tag: fields.prop("tag"),
            enabled: fields.prop("enabled").unwrap_or(true),
        })
    }

    fn timing(&mut self, fields: &Fields<'_>, element: &Element) -> Option<Timing> {
        let given: Vec<&Property> = ["at", "every", "cron", "when"]
            .iter()
            .filter_map(|name| element.prop(name))
            .collect();
        let [one] = given.as_slice() else {
            let name = element.first().unwrap_or_default();
            self.problems.push(match given.as_slice() {
                [first, second, ..] => Problem::error(
                    "ccb::config::timing",
                    format!("schedule \"{name}\" says twice when it is due"),
                    second.place,
                    "a second one",
                )
                .and(first.place, "the first one")
                .help("keep one of at=, every=, cron=, when=, or make two schedules"),
                _ => Problem::error(
                    "ccb::config::timing",
                    format!("schedule \"{name}\" does not say when it is due"),
                    element.head,
                    "needs one of at=, every=, cron=, when=",
                )
                .help("write at=\"02:00\", every=\"1h\", cron=\"0 2 * * *\" or when=\"on-demand\""),
            });
            return None;
        };
        if let Some(on) = element.prop("on").filter(|_| one.name != "at") {
            self.wrong(
                "ccb::config::timing",
                "`on` says the day of `at`".to_owned(),
                on.place,
                "means nothing without at=",
                "write at=\"02:00\" too, or remove it".to_owned(),
            );
        }
        match one.name.as_str() {
            "at" => Some(Timing::At {
                time: fields.prop::<TimeOfDay>("at")?,
                on: fields.prop::<Day>("on"),
            }),
            "every" => {
                let every = fields.prop::<Period>("every")?;
                if every.seconds < 60 {
                    self.wrong(
                        "ccb::config::timing",
                        format!("every {every} is too often"),
                        one.value.place,
                        "at least a minute",
                        "write every=\"1m\" or more, or when=\"continuous\"".to_owned(),
                    );
                }
                Some(Timing::Every(every))
            }
            "cron" => Some(Timing::Cron(fields.prop("cron")?)),
            _ => Some(match fields.prop::<String>("when")?.as_str() {
                "continuous" => Timing::Continuous,
                _ => Timing::OnDemand,
            }),
        }
    }

    /// The method that a property names, if its source has it.
    pub(crate) fn method(
        &mut self,
        property: Option<&Property>,
        source: &SourceSpec,
    ) -> Option<Method> {
        let property = property?;
        let method: Method = word(property.value.data.as_str()?.to_owned())?;
        if source.methods().contains(&method) {
            return Some(method);
        }
        let known = source.methods().iter().map(|known| known.as_str());
        self.wrong(
            "ccb::config::unknown_method",
            format!("a {} source has no method \"{method}\"", source.kind()),
            property.value.place,
            "not a method of this source",
            did_you_mean(method.as_str(), known, '"'),
        );
        None
    }

    fn wal_needs(&mut self, component: &Element, source: &SourceSpec, schedules: &[Schedule]) {
        if source.kind() != "postgres" {
            return;
        }
        let of = |method| {
            schedules
                .iter()
                .find(move |s: &&Schedule| s.method == method && s.enabled)
        };
        let Some(wal) = of(Method::Wal) else { return };
        let element = component
            .each("schedule")
            .find(|e| e.first() == Some(wal.name.as_str()));
        let place = element.map_or(component.head, |element| element.head);
        if of(Method::Base).is_none() {
            self.wrong(
                "ccb::config::wal_without_base",
                "WAL restores nothing without a base backup".to_owned(),
                place,
                "no schedule of this component makes a base",
                "add: schedule \"base\" on=\"sunday\" at=\"01:00\" method=\"base\"".to_owned(),
            );
        }
    }

    pub(crate) fn retain(
        &mut self,
        fields: &Fields<'_>,
        source: &SourceSpec,
        schedules: &[Schedule],
    ) -> Vec<KeepRule> {
        let Some(retain) = fields.element else {
            return Vec::new();
        };
        retain
            .children
            .iter()
            .filter_map(|element| {
                let rule = Fields::of("retain", element);
                let keep = self.keep(&rule, element)?;
                self.meaning(keep, element, source, schedules);
                Some(KeepRule {
                    keep,
                    among: Selector {
                        method: self.method(element.prop("method"), source),
                        schedule: self.selected_schedule(element, schedules),
                        tag: rule.prop("tag"),
                    },
                })
            })
            .collect()
    }

    fn keep(&mut self, fields: &Fields<'_>, element: &Element) -> Option<Keep> {
        let pick: Option<Pick> = fields.prop_choice("pick");
        let period = || fields.arg::<Period>();
        Some(match element.name.as_str() {
            "last" => Keep::Last(fields.arg()?),
            "hourly" => Keep::Hourly {
                count: fields.arg()?,
                pick: pick?,
            },
            "daily" => Keep::Daily {
                count: fields.arg()?,
                pick: pick?,
            },
            "weekly" => {
                let on = fields.prop("on")?;
                self.day_fits(
                    element,
                    matches!(on, Day::Week(_)),
                    "a week starts on a weekday",
                    "write on=\"sunday\"",
                );
                Keep::Weekly {
                    count: fields.arg()?,
                    on,
                    pick: pick?,
                }
            }
            "monthly" => {
                let on = fields.prop("on")?;
                self.day_fits(
                    element,
                    matches!(on, Day::Month(_)),
                    "a month starts on a day of the month",
                    "write on=1",
                );
                Keep::Monthly {
                    count: fields.arg()?,
                    on,
                    pick: pick?,
                }
            }
            "yearly" => Keep::Yearly {
                count: fields.arg()?,
                on: fields.prop("on")?,
                pick: pick?,
            },
            "within" => Keep::Within(period()?),
            "pitr" => Keep::Pitr(period()?),
            "all" => Keep::All(fields.prop_choice("until")),
            "expire" => Keep::Expire(period()?),
            _ => return None,
        })
    }

    fn day_fits(&mut self, element: &Element, fits: bool, message: &str, help: &str) {
        if let (false, Some(on)) = (fits, element.prop("on")) {
            self.wrong(
                "ccb::config::bad_value",
                message.to_owned(),
                on.value.place,
                "not such a day",
                help.to_owned(),
            );
        }
    }

    /// Keep rules that can keep nothing, whatever happens.
    fn meaning(
        &mut self,
        keep: Keep,
        element: &Element,
        source: &SourceSpec,
        schedules: &[Schedule],
    ) {
        let has = |method| schedules.iter().any(|schedule| schedule.method == method);
        let (message, help) = match (keep, source) {
            (Keep::Pitr(_), SourceSpec::Postgres(_)) if has(Method::Base) => return,
            (Keep::Pitr(_), SourceSpec::Postgres(_)) => (
                "`pitr` keeps bases and WAL, and no schedule makes a base".to_owned(),
                "add: schedule \"base\" on=\"sunday\" at=\"01:00\" method=\"base\", and one for \"wal\"",
            ),
            (Keep::Pitr(_), _) => (
                format!("`pitr` means nothing for a {} source", source.kind()),
                "keep by age instead: within \"7d\"",
            ),
            (_, SourceSpec::S3(_)) if !has(Method::Mirror) => (
                "a bucket that is only checked has no backups to keep".to_owned(),
                "remove `retain`, or add a schedule with method=\"mirror\"",
            ),
            _ => return,
        };
        let help = help.to_owned();
        self.wrong(
            "ccb::config::keep_rule",
            message,
            element.head,
            "keeps nothing",
            help,
        );
    }

    fn selected_schedule(
        &mut self,
        element: &Element,
        schedules: &[Schedule],
    ) -> Option<ScheduleName> {
        let property = element.prop("schedule")?;
        let text = property.value.data.as_str()?;
        if let Some(found) = schedules
            .iter()
            .find(|schedule| schedule.name.as_str() == text)
        {
            return Some(found.name.clone());
        }
        let known: Vec<&str> = schedules
            .iter()
            .map(|schedule| schedule.name.as_str())
            .collect();
        self.wrong(
            "ccb::config::unknown_schedule",
            format!("this component has no schedule \"{text}\""),
            property.value.place,
            "selected here",
            did_you_mean(text, known, '"'),
        );
        None
    }
}
