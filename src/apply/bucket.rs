//! Looks at a bucket that is protected, and sets it as the plan says. What somebody else set since the plan was made
//! is not overwritten; what was set is read back.

use crate::apply::{Hands, StepError};
use crate::model::bucket::{BucketFacts, BucketSeen, Difference, Wanted, differences};
use crate::model::ids::{Address, ComponentName};
use crate::model::strategy::{BucketSource, Replication, SourceSpec};
use crate::plan::Change;
use crate::plan::report::Done;
use crate::source::bucket::{Bucket, BucketSettings, SettingsError, Waiting, waiting};
use std::time::Duration;

/// How often it is looked whether a setting has arrived, and the pause between: servers take a while.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Sets what the plan says, and nothing else.
pub(crate) async fn configure(
    component: &ComponentName,
    settings: &[Change],
    hands: &Hands,
) -> Result<Done, StepError> {
    let asked = spec(component, hands)?;
    let bucket = open(component, asked, hands).await?;
    let failed = |cause| StepError::Settings {
        component: component.clone(),
        cause,
    };
    let now = differences(asked, &facts(component, &bucket).await?);
    for setting in settings {
        still_so(component, setting, &now)?;
    }
    let sets = |node: &str| {
        let below = Address::component(component).child("source").child(node);
        settings
            .iter()
            .any(|setting| setting.address.is_within(&below))
    };
    if let Some(on) = asked.versioning.filter(|_| sets("versioning")) {
        bucket.set_versioning(on).await.map_err(failed)?;
    }
    if let Some(lifecycle) = asked.lifecycle.as_ref().filter(|_| sets("lifecycle")) {
        bucket.set_lifecycle(lifecycle).await.map_err(failed)?;
    }
    if let Some(replication) = asked.replication.as_ref().filter(|_| sets("replication")) {
        bucket.set_replication(replication).await.map_err(failed)?;
    }
    read_back(component, asked, settings, &bucket).await?;
    let told: Vec<String> = settings.iter().map(words).collect();
    Ok(Done {
        note: told.join(", "),
        ..Done::default()
    })
}

/// Refuses where the setting is neither what it was when the plan was made, nor what is asked for.
fn still_so(
    component: &ComponentName,
    setting: &Change,
    now: &[Difference],
) -> Result<(), StepError> {
    let here = now
        .iter()
        .find(|other| address(component, other) == setting.address);
    match here {
        Some(here) if (&here.before, &here.after) != (&setting.before, &setting.after) => {
            Err(StepError::SetMeanwhile {
                what: setting.address.to_string(),
                planned: setting.before.clone().unwrap_or("none".to_owned()),
                now: here.before.clone().unwrap_or("none".to_owned()),
            })
        }
        _ => Ok(()),
    }
}

async fn read_back(
    component: &ComponentName,
    asked: &BucketSource,
    settings: &[Change],
    bucket: &BucketSettings,
) -> Result<(), StepError> {
    let is_set = |other: &Difference| {
        let address = address(component, other);
        settings.iter().any(|setting| setting.address == address)
    };
    for look in 1.. {
        let left = differences(asked, &facts(component, bucket).await?);
        let Some(left) = left.into_iter().find(is_set) else {
            break;
        };
        if look == LOOKS {
            return Err(StepError::NotSet {
                what: address(component, &left).to_string(),
                now: left.before.unwrap_or("none".to_owned()),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Holds the bucket against the plan file, and against the bucket that it is replicated to.
pub(crate) async fn inspect(component: &ComponentName, hands: &Hands) -> Result<Done, StepError> {
    let asked = spec(component, hands)?;
    let bucket = open(component, asked, hands).await?;
    let facts = facts(component, &bucket).await?;
    let (mut wrong, mut unknown, mut good) = (Vec::new(), Vec::new(), Vec::new());
    for difference in differences(asked, &facts) {
        let what = difference.path.last().copied().unwrap_or_default();
        match &difference.wanted {
            Wanted::Unknown { why } => unknown.push(format!("{what} is not known: {why}")),
            _ => wrong.push(words(&as_change(component, &difference))),
        }
    }
    good.extend(
        facts
            .versioning
            .says()
            .map(|now| format!("versioning {now}")),
    );
    if let Some(replication) = &asked.replication {
        let late = late(component, asked, replication, hands).await?;
        match late.oldest {
            Some((key, since)) => wrong.push(format!(
                "{} of {} objects wait longer than {} to be in {}: `{key}` since {since}",
                late.late, late.objects, replication.max_lag, replication.to
            )),
            None => good.push(format!(
                "none of {} objects waits longer than {} to be in {}",
                late.objects, replication.max_lag, replication.to
            )),
        }
    }
    let name = &asked.bucket;
    match (wrong.is_empty(), unknown.is_empty()) {
        (false, _) => Err(StepError::CheckFailed(format!(
            "bucket {name}: {}",
            wrong
                .into_iter()
                .chain(unknown)
                .collect::<Vec<_>>()
                .join("; ")
        ))),
        (true, false) => Err(StepError::NotKnown(format!(
            "bucket {name}: {}",
            unknown.join("; ")
        ))),
        (true, true) => Ok(Done {
            note: good.join(", "),
            ..Done::default()
        }),
    }
}

async fn late(
    component: &ComponentName,
    asked: &BucketSource,
    replication: &Replication,
    hands: &Hands,
) -> Result<Waiting, StepError> {
    let replica = BucketSource {
        bucket: replication.to.clone(),
        region: replication.region.clone().or_else(|| asked.region.clone()),
        endpoint: replication
            .endpoint
            .clone()
            .or_else(|| asked.endpoint.clone()),
        ..asked.clone()
    };
    let here = hands.bucket(component, asked).await?;
    let there = hands.bucket(component, &replica).await?;
    let limit = replication.max_lag.before((hands.surroundings().now)());
    let compared = async { waiting(&Bucket::new(&here)?, &Bucket::new(&there)?, limit).await };
    compared.await.map_err(|cause| StepError::Looked {
        component: component.clone(),
        cause,
    })
}

fn spec<'a>(component: &ComponentName, hands: &'a Hands) -> Result<&'a BucketSource, StepError> {
    match &hands.component(component)?.source {
        SourceSpec::S3(bucket) => Ok(bucket),
        _ => Err(StepError::Unknown(format!(
            "component.{component}.source.bucket"
        ))),
    }
}

async fn open(
    component: &ComponentName,
    asked: &BucketSource,
    hands: &Hands,
) -> Result<BucketSettings, StepError> {
    let access = hands.bucket(component, asked).await?;
    BucketSettings::new(&access).map_err(|cause: SettingsError| StepError::Settings {
        component: component.clone(),
        cause,
    })
}

async fn facts(
    component: &ComponentName,
    bucket: &BucketSettings,
) -> Result<BucketFacts, StepError> {
    match bucket.look().await {
        BucketSeen::Bucket(facts) => Ok(facts),
        BucketSeen::Unreachable { why } => Err(StepError::BucketAway {
            component: component.clone(),
            why,
        }),
    }
}

fn address(component: &ComponentName, difference: &Difference) -> Address {
    let source = Address::component(component).child("source");
    difference
        .path
        .iter()
        .fold(source, |at, node| at.child(node))
}

fn as_change(component: &ComponentName, difference: &Difference) -> Change {
    Change {
        address: address(component, difference),
        before: difference.before.clone(),
        after: difference.after.clone(),
    }
}

/// `versioning suspended -> enabled`.
fn words(setting: &Change) -> String {
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let name = setting.address.0.rsplit('.').next().unwrap_or_default();
    format!(
        "{name} {} -> {}",
        word(&setting.before),
        word(&setting.after)
    )
}
