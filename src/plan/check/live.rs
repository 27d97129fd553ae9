//! CCB220, CCB223 and CCB224 before a backup is made: what the databases themselves were found to be, where somebody asked
//! for that. Where nobody did, nothing is known and nothing is said.

use crate::model::ids::Address;
use crate::model::postgres::Schema;
use crate::model::postgres::drift::{Drift, How};
use crate::model::strategy::{Component, Method, Strategy};
use crate::model::units::{counted, to_minute};
use crate::plan::check::{Broken, Surroundings, active};
use jiff::Timestamp;

/// Differences that are named one by one.
const NAMED_MAX: usize = 20;

/// What a database is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Its schema.
    pub schema: Schema,
    /// When the newest backup was made that could be compared with, and how the schema differs from then.
    pub since: Option<(Timestamp, Vec<Drift>)>,
    /// Methods that a backup could not be begun by now, and why.
    pub unready: Vec<(Method, String)>,
}

pub(crate) fn check(strategy: &Strategy, around: &Surroundings) -> Vec<Broken> {
    let looked_at = active(strategy).filter_map(|c| Some((c, around.live.get(&c.name)?)));
    looked_at
        .flat_map(|(component, live)| {
            let mut broken = missing(component, live);
            broken.extend(drifted(component, live));
            broken.extend(unready(component, live));
            broken
        })
        .collect()
}

fn missing(component: &Component, live: &Live) -> Vec<Broken> {
    let at = Address::component(&component.name);
    let contents = component.verify.contents.as_ref();
    let wanted = contents.map_or(&[][..], |contents| &contents.tables);
    let missing = wanted
        .iter()
        .filter(|wanted| !live.schema.has_table(wanted));
    missing
        .map(|table| {
            Broken::new(
                "CCB220",
                at.child("verify").child("contents"),
                format!("the database of {at} lacks table \"{table}\", before the backup is made"),
                format!(
                    "see whether it is the right database, and what the role may see; ccb restore FILE {} --table {table} brings it back",
                    component.name
                ),
            )
        })
        .collect()
}

fn unready(component: &Component, live: &Live) -> Vec<Broken> {
    let at = Address::component(&component.name);
    let of = |(method, why): &(Method, String)| {
        let what = format!("{at} could not be backed up by method {method} now: {why}");
        let help = "what is in the way now may be gone when it is due; what stays makes the backup fail then";
        Broken::new("CCB224", at.clone(), what, help)
    };
    live.unready.iter().map(of).collect()
}

fn drifted(component: &Component, live: &Live) -> Vec<Broken> {
    let Some((since, drifts)) = &live.since else {
        return Vec::new();
    };
    let at = Address::component(&component.name);
    let broken = |what: String, help: String| {
        let message = format!("the schema of {at} since {}: {what}", to_minute(*since));
        Broken::new("CCB223", at.clone(), message, help)
    };
    let mut all: Vec<Broken> = drifts
        .iter()
        .take(NAMED_MAX)
        .map(|drift| match drift.how {
            How::Removed { .. } => broken(
                format!("{drift}, which the last backup still holds"),
                help(component, drift),
            ),
            _ => broken(drift.to_string(), help(component, drift)),
        })
        .collect();
    if drifts.len() > NAMED_MAX {
        let more = counted(
            (drifts.len() - NAMED_MAX) as u64,
            "difference",
            "differences",
        );
        let help = "after the next backup: ccb diff FILE ~1 latest".to_owned();
        all.push(broken(format!("{more} more"), help));
    }
    all
}

fn help(component: &Component, drift: &Drift) -> String {
    match (&drift.how, drift.object.strip_prefix("TABLE ")) {
        (How::Removed { .. }, Some(table)) => format!(
            "the last backup still holds it: ccb restore FILE {} --table {table}",
            component.name
        ),
        _ => "nothing needs to be done when it was meant: the next backup has it as it is now"
            .to_owned(),
    }
}
