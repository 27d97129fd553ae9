//! What buckets were found to be: CCB108, 216, 217, 218, 224, 225. Where none was looked at, nothing is said; what
//! this very plan sets right is no finding.

use crate::model::bucket::{BucketFacts, BucketSeen, Difference, LifecycleRule, Told, Wanted};
use crate::model::ids::{Address, DestinationName};
use crate::model::inventory::Inventory;
use crate::model::strategy::{BucketSource, Component, Destination, DestinationKind, Strategy};
use crate::plan::bucket::{change, found, is_settable, seen};
use crate::plan::check::{Broken, active};

pub(crate) fn check(strategy: &Strategy, inventory: &Inventory) -> Vec<Broken> {
    let mut broken = Vec::new();
    for component in active(strategy) {
        if let Some((asked, seen)) = seen(component, inventory) {
            broken.extend(source(component, asked, seen, inventory));
        }
    }
    for destination in &strategy.destinations {
        broken.extend(stored_in(destination, inventory));
    }
    broken
}

fn source(
    component: &Component,
    asked: &BucketSource,
    seen: &BucketSeen,
    inventory: &Inventory,
) -> Vec<Broken> {
    let at = Address::component(&component.name).child("source");
    let bucket = &asked.bucket;
    let facts = match seen {
        BucketSeen::Bucket(facts) => facts,
        BucketSeen::Unreachable { why } => {
            return vec![Broken::new(
                "CCB225",
                at.child("bucket"),
                format!("bucket {bucket} could not be looked at: {why}"),
                "repair that and plan again: until then nothing is known of the bucket, and nothing is set there",
            )];
        }
    };
    let mut broken: Vec<Broken> = found(component, inventory)
        .iter()
        .filter(|difference| !(asked.fix_drift && is_settable(difference)))
        .map(|difference| differs(component, asked, difference))
        .collect();
    broken.extend(public(facts, bucket, at.child("bucket")));
    if let Told::Silent(why) = &facts.public {
        broken.push(unseen(
            at.child("bucket"),
            format!("whether everybody may read bucket {bucket} is not known: {why}"),
        ));
    }
    broken
}

fn unseen(address: Address, message: String) -> Broken {
    Broken::new(
        "CCB225",
        address,
        message,
        "give the planner the right to read it: README, \"A bucket that keeps its own history\"",
    )
}

fn differs(component: &Component, asked: &BucketSource, difference: &Difference) -> Broken {
    let bucket = &asked.bucket;
    let address = change(&component.name, difference).address;
    let what = difference.path.last().copied().unwrap_or_default();
    if let Wanted::Unknown { why } = &difference.wanted {
        let message = format!("{what} of bucket {bucket} is not known: {why}");
        return unseen(address, message);
    }
    let rule = match difference.path.first().copied() {
        Some("versioning") => "CCB216",
        Some("lifecycle") => "CCB217",
        _ => "CCB218",
    };
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let (before, after) = (word(&difference.before), word(&difference.after));
    let message = format!("{what} of bucket {bucket}: {before} -> {after}");
    match &difference.wanted {
        Wanted::Foreign { rule: foreign } => Broken::new(
            rule,
            address,
            format!("{message}, by the rule {foreign:?}, which is not ccb's"),
            "change that rule where it was made, or what the plan file says",
        ),
        _ => Broken::new(
            rule,
            address,
            message,
            "write on-drift \"fix\" in the source, then ccb apply; or set it by hand",
        ),
    }
}

/// CCB108.
fn public(facts: &BucketFacts, bucket: &str, address: Address) -> Option<Broken> {
    let by = facts.public.says().filter(|by| !by.is_empty())?;
    let by: Vec<String> = by.iter().map(ToString::to_string).collect();
    Some(Broken::new(
        "CCB108",
        address,
        format!(
            "everybody may read bucket {bucket}, by {}",
            by.join(" and ")
        ),
        "block public access on the bucket; if it is meant: waive \"bucket-public\" for=\"…\" until=\"…\" reason=\"…\"",
    ))
}

fn stored_in(destination: &Destination, inventory: &Inventory) -> Vec<Broken> {
    let DestinationKind::S3 { url, .. } = &destination.kind else {
        return Vec::new();
    };
    let Some(BucketSeen::Bucket(facts)) = inventory.destination_buckets.get(&destination.name)
    else {
        return Vec::new();
    };
    let rest = url.strip_prefix("s3://").unwrap_or(url);
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let address = Address::destination(&destination.name).child("s3");
    let mut broken = Vec::new();
    broken.extend(public(facts, bucket, address.clone()));
    if let Told::Says(rules) = &facts.lifecycle {
        let hits = rules.iter().filter(|rule| removes(rule, prefix));
        broken.extend(hits.map(|rule| removing(&destination.name, bucket, rule, &address)));
    }
    broken
}

/// Whether a rule removes current objects below `prefix`, where packs lie.
fn removes(rule: &LifecycleRule, prefix: &str) -> bool {
    let prefix = prefix.trim_matches('/');
    let meets = rule.prefix.starts_with(prefix) || prefix.starts_with(&rule.prefix);
    rule.enabled && rule.expire.is_some() && meets
}

/// CCB226.
fn removing(
    destination: &DestinationName,
    bucket: &str,
    rule: &LifecycleRule,
    address: &Address,
) -> Broken {
    let when = match rule.expire {
        Some(after) if after.seconds > 0 => format!("after {after}"),
        _ => "on a date".to_owned(),
    };
    let below = match rule.prefix.as_str() {
        "" => String::new(),
        prefix => format!(" below {prefix}"),
    };
    Broken::new(
        "CCB226",
        address.clone(),
        format!(
            "the lifecycle rule {:?} of bucket {bucket} removes objects{below} {when}: backups at destination.{destination} among them",
            rule.id
        ),
        "remove that rule, or let it not concern the destination's prefix: ccb removes what no backup needs",
    )
}
