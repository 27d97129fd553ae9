//! The saved plan: consent on paper. Its text is canonical JSON whose id is its own fingerprint; what of
//! it still holds later is decided here too. Reads and writes no file.

use crate::model::ids::{Address, ComponentName, DestinationName, Digest, RepositoryId};
use crate::model::units::AsOf;
use crate::plan::document::{Action, Plan, Step, StepId, Summary};
use crate::plan::matching::counterparts;
use jiff::Timestamp;
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Version of the saved plan. A reader ignores names that it does not know, and refuses another major.
pub const FORMAT_VERSION: &str = "1.0";

/// Why a text is not a saved plan.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// No JSON, or none of a plan's shape.
    #[error("read the saved plan")]
    Shape(#[source] serde_json::Error),
    /// Some other document of ccb's.
    #[error("the document is a `{found}`, not a plan")]
    Kind {
        /// What it says it is.
        found: String,
    },
    /// Made by a ccb whose plans mean something else.
    #[error("the saved plan has format {found}, this ccb reads {FORMAT_VERSION}: plan again")]
    Format {
        /// The version it says it has.
        found: String,
    },
    /// It is not what it was when it was saved.
    #[error(
        "the saved plan was changed after it was made: its id is {stated}, its content has {found}"
    )]
    Damaged {
        /// The id it carries.
        stated: String,
        /// The id of what it holds.
        found: Digest,
    },
}

/// The document around a plan. What is not in [`Plan`] is there for readers without ccb.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "A saved plan of ccb")]
pub(crate) struct Document {
    format_version: String,
    kind: String,
    /// Absent only while it is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Digest>,
    /// Whether no finding stops an apply.
    applyable: bool,
    #[serde(flatten)]
    plan: Plan,
}

/// The plan as canonical JSON: keys sorted, no floats, one trailing newline.
pub fn to_json(plan: &Plan) -> String {
    let mut document = value(plan);
    let id = fingerprint(&document);
    if let Value::Object(members) = &mut document {
        members.insert("id".to_owned(), Value::String(id.to_string()));
    }
    document.to_string() + "\n"
}

/// The id of the plan: the fingerprint of its document without the id.
pub fn id(plan: &Plan) -> Digest {
    fingerprint(&value(plan))
}

/// The JSON Schema of the saved plan; `schemas/plan.v1.json` holds the same.
pub fn schema() -> String {
    let schema = SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Document>();
    serde_json::to_string_pretty(&schema).expect("a schema is plain data") + "\n"
}

/// Reads what [`to_json`] wrote, by this version or a later one of the same major.
pub fn from_json(text: &str) -> Result<Plan, SavedPlanError> {
    let mut document: Value = serde_json::from_str(text).map_err(SavedPlanError::Shape)?;
    let member = |name: &str| {
        let text = document.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (kind, version, stated) = (member("kind"), member("format_version"), member("id"));
    if kind != "plan" {
        return Err(SavedPlanError::Kind { found: kind });
    }
    if version.split('.').next() != FORMAT_VERSION.split('.').next() {
        return Err(SavedPlanError::Format { found: version });
    }
    if let Value::Object(members) = &mut document {
        members.remove("id");
    }
    let found = fingerprint(&document);
    if stated != found.to_string() {
        return Err(SavedPlanError::Damaged { stated, found });
    }
    let document: Document = serde_json::from_value(document).map_err(SavedPlanError::Shape)?;
    Ok(document.plan)
}

fn value(plan: &Plan) -> Value {
    let document = Document {
        format_version: FORMAT_VERSION.to_owned(),
        kind: "plan".to_owned(),
        id: None,
        applyable: plan.violations() == 0,
        plan: plan.clone(),
    };
    serde_json::to_value(document).expect("a plan is plain data with string keys")
}

/// `Value` keeps its members in a BTreeMap, so its text is canonical whatever order it was read in.
fn fingerprint(document: &Value) -> Digest {
    Digest::of(document.to_string().as_bytes())
}

/// Why a saved plan does not hold any longer: everything that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale(pub Vec<Moved>);

/// One thing that is not as it was when a plan was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// It is the plan of something else.
    Plan {
        /// `NAME / ENVIRONMENT` of the saved one.
        saved: String,
        /// Of the plan file.
        now: String,
    },
    /// The plan file asks for something else.
    Config {
        /// Fingerprint in the saved plan.
        saved: Digest,
        /// Fingerprint now.
        now: Digest,
    },
    /// Another repository lies at a destination, or none.
    Repository {
        /// Where.
        destination: DestinationName,
        /// The one that was there.
        saved: Option<RepositoryId>,
        /// The one that is there.
        now: Option<RepositoryId>,
    },
    /// A setting of a source that the plan changes is not what it was.
    Setting {
        /// Which.
        address: Address,
        /// What it was; `None`: nothing, or as the plan file says.
        saved: Option<String>,
        /// What it is.
        now: Option<String>,
    },
    /// A source that the plan sets does not answer.
    Unseen {
        /// Which.
        component: ComponentName,
        /// Why.
        why: String,
    },
    /// It is older than `plan-max-age`.
    Expired {
        /// When it was made.
        made: Timestamp,
        /// Until when it held.
        expired: Timestamp,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moved: Vec<String> = self.0.iter().map(Moved::to_string).collect();
        f.write_str(&moved.join("; "))
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |id: &Option<RepositoryId>| id.map_or("none".to_owned(), |id| id.short());
        match self {
            Self::Plan { saved, now } => {
                write!(f, "the plan is of {saved}, the plan file of {now}")
            }
            Self::Config { saved, now } => write!(
                f,
                "the plan file changed: it was {}, it is {}",
                saved.short(),
                now.short()
            ),
            Self::Repository {
                destination,
                saved,
                now,
            } => write!(
                f,
                "the repository at destination.{destination} changed: it was {}, it is {}",
                id(saved),
                id(now)
            ),
            Self::Setting {
                address,
                saved,
                now,
            } => {
                let word = |value: &Option<String>| value.clone().unwrap_or("none".to_owned());
                let (saved, now) = (word(saved), word(now));
                write!(f, "{address} changed: it was {saved}, it is {now}")
            }
            Self::Unseen { component, why } => {
                write!(f, "component.{component} could not be looked at: {why}")
            }
            Self::Expired { made, expired } => {
                write!(f, "the plan was made {made} and held until {expired}")
            }
        }
    }
}

/// Whether `saved` still holds, given the plan that would be made `now` at `at`. Backups that came or went
/// since do not make it stale: [`still_needed`] answers those.
pub fn staleness(saved: &Plan, now: &Plan, at: AsOf) -> Option<Stale> {
    let mut moved = Vec::new();
    let title = |plan: &Plan| format!("{} / {}", plan.name, plan.environment);
    if title(saved) != title(now) {
        moved.push(Moved::Plan {
            saved: title(saved),
            now: title(now),
        });
    }
    if saved.config != now.config {
        moved.push(Moved::Config {
            saved: saved.config,
            now: now.config,
        });
    }
    moved.extend(moved_repositories(saved, now));
    moved.extend(moved_settings(saved, now));
    if at.0 > saved.expires {
        moved.push(Moved::Expired {
            made: saved.at.0,
            expired: saved.expires,
        });
    }
    (!moved.is_empty()).then_some(Stale(moved))
}

fn moved_repositories<'a>(saved: &'a Plan, now: &'a Plan) -> impl Iterator<Item = Moved> + 'a {
    let known: BTreeSet<_> = saved
        .repositories
        .keys()
        .chain(now.repositories.keys())
        .collect();
    known.into_iter().filter_map(move |destination| {
        let before = saved.repositories.get(destination).copied();
        let after = now.repositories.get(destination).copied();
        let excused = match (before, after) {
            // A run of this very plan may have made it already.
            (None, Some(_)) => {
                makes_repository(saved, destination) || saved.unseen.contains_key(destination)
            }
            (Some(_), None) => now.unseen.contains_key(destination),
            _ => before == after,
        };
        (!excused).then(|| Moved::Repository {
            destination: destination.clone(),
            saved: before,
            now: after,
        })
    })
}

/// Settings that the saved plan changes and that somebody else changed since. One that is as the plan file says by
/// now is no matter.
fn moved_settings<'a>(saved: &'a Plan, now: &'a Plan) -> impl Iterator<Item = Moved> + 'a {
    let set = |plan: &'a Plan| {
        let steps = plan.steps.iter();
        steps.filter_map(|step| match &step.action {
            Action::Configure {
                component,
                settings,
                ..
            } => Some((component, settings)),
            _ => None,
        })
    };
    let fresh: BTreeMap<_, _> = set(now).collect();
    set(saved).flat_map(move |(component, settings)| {
        let unseen = now.unseen_sources.get(component).map(|why| Moved::Unseen {
            component: component.clone(),
            why: why.clone(),
        });
        let steps = fresh.get(component).into_iter().copied().flatten();
        let left = now.drift.iter();
        let left = left.filter(|change| change.address.is_within(&Address::component(component)));
        let moved = steps.chain(left).filter(|now| !settings.contains(now));
        let moved = moved.map(|now| Moved::Setting {
            address: now.address.clone(),
            saved: settings
                .iter()
                .find(|saved| saved.address == now.address)
                .and_then(|saved| saved.before.clone()),
            now: now.before.clone(),
        });
        unseen.into_iter().chain(moved).collect::<Vec<_>>()
    })
}

fn makes_repository(plan: &Plan, at: &DestinationName) -> bool {
    let makes = |step: &Step| matches!(&step.action, Action::Initialize { destination } if destination == at);
    plan.steps.iter().any(makes)
}

/// What is left of a saved plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StillNeeded {
    /// The fresh plan with only those steps that may run. Their ids are the fresh plan's.
    pub plan: Plan,
    /// Steps of the saved plan that need not run any longer: what they ask for is so.
    pub satisfied: Vec<StepId>,
    /// Steps of the fresh plan that were not approved and run because an approved one needs them. None
    /// of them takes anything away or changes a source.
    pub brought: Vec<StepId>,
    /// Steps of the fresh plan that do not run: nobody approved them.
    pub left_out: Vec<StepId>,
}

/// The steps of `fresh` that `saved` approved. Nothing that takes something away runs unless the very same
/// removal, of that backup at that destination, stands in `saved`.
pub fn still_needed(saved: &Plan, fresh: &Plan) -> StillNeeded {
    let pairs = counterparts(fresh, saved);
    let needed: BTreeSet<StepId> = pairs.values().copied().collect();
    let mut runs: BTreeSet<StepId> = pairs.keys().copied().collect();
    withdraw_waiting(fresh, &mut runs);
    let brought = bring_along(fresh, &mut runs);
    let mut plan = fresh.clone();
    plan.steps.retain(|step| runs.contains(&step.id));
    for step in &mut plan.steps {
        step.needs.retain(|need| runs.contains(need));
        // An export is not more than itself: what it takes away stands in `saved`, or stays.
        if let Action::Export { removes, .. } = &mut step.action {
            let approved = pairs.get(&step.id).and_then(|id| saved.step(*id));
            let approved = match approved.map(|step| &step.action) {
                Some(Action::Export { removes, .. }) => removes.as_slice(),
                _ => &[],
            };
            removes.retain(|key| approved.contains(key));
        }
    }
    plan.summary = Summary::of(&plan.steps, &plan.held);
    StillNeeded {
        plan,
        satisfied: ids(saved, |id| !needed.contains(&id)),
        left_out: ids(fresh, |id| !runs.contains(&id)),
        brought,
    }
}

/// Takes approved steps out that wait for a change of a source that nobody approved.
fn withdraw_waiting(fresh: &Plan, runs: &mut BTreeSet<StepId>) {
    let mut refused: BTreeSet<StepId> = BTreeSet::new();
    for step in &fresh.steps {
        let unapproved_change =
            matches!(step.action, Action::Configure { .. }) && !runs.contains(&step.id);
        if unapproved_change || step.needs.iter().any(|need| refused.contains(need)) {
            refused.insert(step.id);
            runs.remove(&step.id);
        }
    }
}

/// Adds what approved steps need and what only adds: a forget waits for this run's backup, also for one
/// whose slot came up after the plan was saved. Removals nobody approved are not brought: what waits for
/// them (a prune) only removes less.
fn bring_along(fresh: &Plan, runs: &mut BTreeSet<StepId>) -> Vec<StepId> {
    let mut brought = BTreeSet::new();
    // Backwards, because what is brought may need more, and needs stand before.
    for step in fresh.steps.iter().rev() {
        if !runs.contains(&step.id) {
            continue;
        }
        for need in step.needs.iter().filter_map(|need| fresh.step(*need)) {
            if !need.action.is_destructive() && runs.insert(need.id) {
                brought.insert(need.id);
            }
        }
    }
    brought.into_iter().collect()
}

fn ids(plan: &Plan, wanted: impl Fn(StepId) -> bool) -> Vec<StepId> {
    let ids = plan.steps.iter().map(|step| step.id);
    ids.filter(|id| wanted(*id)).collect()
}
