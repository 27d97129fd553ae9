//! `policy` and `notify`.

use crate::model::ids::Address;
use crate::model::rules::{RULES, Rule, find};
use crate::model::strategy::{
    Level, Minimum, Notify, Policy, Preset, RestoreTestPolicy, RunLog, SecretRef, Waiver, Webhook,
};
use crate::plan_file::decode::fields::{Fields, word};
use crate::plan_file::decode::{Decoder, secret};
use crate::plan_file::suggest::{did_you_mean, nearest_exact};
use crate::plan_file::syntax::{Element, Value};

impl Decoder<'_> {
    pub(crate) fn policy(&mut self, elements: &[Element], environment: &str) -> Policy {
        let fields = Fields::top(elements, "policy");
        let Some(element) = fields.element else {
            return Policy {
                preset: word(environment.to_owned()),
                ..Policy::default()
            };
        };
        let minimum = |name: &str| {
            let fields = fields.child(name);
            Some(Minimum {
                min: fields.prop("min")?,
                level: fields.prop_choice("level"),
            })
        };
        let restore_test = fields.child("restore-test");
        Policy {
            preset: fields.prop_choice::<Preset>("preset"),
            copies: minimum("copies"),
            offsite: minimum("offsite"),
            restore_test: restore_test.prop("within").map(|within| RestoreTestPolicy {
                within,
                level: restore_test.prop_choice("level"),
            }),
            levels: element
                .each("set")
                .filter_map(|set| {
                    let rule = self.rule(set.args.first()?)?;
                    let level: Level = Fields::of("policy", set).prop_choice("level")?;
                    self.may_soften(rule, level, set)?;
                    Some((rule.id.to_owned(), level))
                })
                .collect(),
            waivers: element
                .each("waive")
                .filter_map(|waive| self.waiver(waive))
                .collect(),
        }
    }

    fn rule(&mut self, value: &Value) -> Option<&'static Rule> {
        let text = value.data.as_str()?;
        let found = find(text);
        if found.is_none() {
            let known: Vec<&str> = if text.starts_with("CCB") {
                RULES.iter().map(|rule| rule.id).collect()
            } else {
                RULES.iter().map(|rule| rule.name).collect()
            };
            let help = match nearest_exact(text, known) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => "`ccb explain` lists all rules".to_owned(),
            };
            self.wrong(
                "ccb::config::unknown_rule",
                format!("no rule is named \"{text}\""),
                value.place,
                "neither an id nor a name of a rule",
                help,
            );
        }
        found
    }

    /// Some rules hold whatever a plan file says.
    fn may_soften(&mut self, rule: &Rule, level: Level, element: &Element) -> Option<()> {
        if rule.waivable || level == Level::Deny {
            return Some(());
        }
        self.wrong(
            "ccb::config::not_waivable",
            format!("{} {} cannot be softened", rule.id, rule.name),
            element.head,
            "softened here",
            format!("remove it: {}", rule.reason),
        );
        None
    }

    fn waiver(&mut self, element: &Element) -> Option<Waiver> {
        let fields = Fields::of("policy", element);
        let rule = self.rule(element.args.first()?);
        let target = element.prop("for")?;
        let address = Address(target.value.data.as_str()?.to_owned());
        if !self.places.contains_key(&address) {
            let known: Vec<String> = self
                .places
                .keys()
                .filter(|known| known.0.matches('.').count() == 1)
                .filter(|known| {
                    WAIVED
                        .iter()
                        .any(|root| known.is_within(&Address((*root).to_owned())))
                })
                .map(|known| known.0.clone())
                .collect();
            self.wrong(
                "ccb::config::unknown_address",
                format!("nothing has the address \"{address}\""),
                target.value.place,
                "waived for here",
                did_you_mean(&address.0, known.iter().map(String::as_str), '"'),
            );
        }
        let rule = rule?;
        self.may_soften(rule, Level::Off, element)?;
        Some(Waiver {
            rule: rule.id.to_owned(),
            for_: address,
            until: fields.prop("until")?,
            reason: fields.prop("reason")?,
        })
    }

    pub(crate) fn notify(&mut self, element: &Element) -> Notify {
        let fields = Fields::of("file", element);
        let log = fields.child("log");
        Notify {
            name: element.first().unwrap_or_default().to_owned(),
            healthchecks: secret(&fields.child("healthchecks").child("url")),
            webhooks: element.each("webhook").filter_map(webhook).collect(),
            prometheus: fields.child("prometheus").prop("textfile"),
            log: log.element.and_then(|_| {
                Some(RunLog {
                    file: log.prop("file").unwrap_or_default(),
                    keep: log.prop("keep")?,
                })
            }),
        }
    }
}

/// What waivers are usually for; other addresses are accepted, but not proposed.
const WAIVED: [&str; 3] = ["component", "destination", "encryption"];

fn webhook(element: &Element) -> Option<Webhook> {
    let fields = Fields::of("notify", element);
    let url: SecretRef = secret(&fields.child("url"))?;
    let written = fields.child("on").args();
    let events = if written.is_empty() {
        vec![
            "failure".to_owned(),
            "violation".to_owned(),
            "missed".to_owned(),
        ]
    } else {
        written
    };
    Some(Webhook {
        url,
        on: events.into_iter().filter_map(word).collect(),
    })
}
