//! How a bucket differs from what the plan file says of it: before and after, setting by setting.

use crate::model::bucket::{
    BucketFacts, LifecycleRule, OWN_RULE, ReplicationRule, Told, Versioning,
};
use crate::model::strategy::{BucketSource, Lifecycle};
use crate::model::units::Period;

/// A setting that is not as the plan file says, or that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which: the node below `source`, and below that the property.
    pub path: &'static [&'static str],
    /// What it is; `None`: nothing.
    pub before: Option<String>,
    /// What the plan file says; `None`: nothing.
    pub after: Option<String>,
    /// What can be done about it.
    pub wanted: Wanted,
}

/// What can be done about a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// It can be set.
    Set {
        /// Whether the bucket removes things then that it keeps now.
        removes: bool,
    },
    /// Somebody else's rule is in the way, and is not ccb's to change.
    Foreign {
        /// Which.
        rule: String,
    },
    /// It is not known, so nothing is done about it.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Every setting that is not as `asked`, in the order in which they can be set.
pub fn differences(asked: &BucketSource, facts: &BucketFacts) -> Vec<Difference> {
    let mut all = Vec::new();
    all.extend(versioning(asked, &facts.versioning));
    if let Some(lifecycle) = &asked.lifecycle {
        all.extend(expiry(lifecycle, &facts.lifecycle));
    }
    all.extend(replication(asked, &facts.replication));
    all
}

fn unknown(path: &'static [&'static str], after: Option<String>, why: &str) -> Difference {
    let wanted = Wanted::Unknown {
        why: why.to_owned(),
    };
    Difference {
        path,
        before: None,
        after,
        wanted,
    }
}

fn versioning(asked: &BucketSource, told: &Told<Versioning>) -> Option<Difference> {
    let path = &["versioning"];
    let after = match asked.versioning? {
        true => Versioning::Enabled,
        false => Versioning::Suspended,
    };
    let before = match told {
        Told::Silent(why) => return Some(unknown(path, Some(after.to_string()), why)),
        Told::Says(before) => *before,
    };
    // What was never switched on keeps as little as what was switched off.
    let is_so = before == after || (after, before) == (Versioning::Suspended, Versioning::Off);
    (!is_so).then(|| Difference {
        path,
        before: Some(before.to_string()),
        after: Some(after.to_string()),
        wanted: Wanted::Set {
            removes: after == Versioning::Suspended,
        },
    })
}

/// What a rule says of one kind of removal.
type Of = fn(&LifecycleRule) -> Option<Period>;

fn expiry(asked: &Lifecycle, told: &Told<Vec<LifecycleRule>>) -> Vec<Difference> {
    let kinds: [(&'static [&'static str], Option<Period>, Of); 3] = [
        (
            &["lifecycle", "noncurrent-expire"],
            asked.noncurrent_expire,
            |rule| rule.noncurrent_expire,
        ),
        (
            &["lifecycle", "current-expire"],
            asked.current_expire,
            |rule| rule.expire,
        ),
        (
            &["lifecycle", "abort-multipart"],
            asked.abort_multipart,
            |rule| rule.abort_multipart,
        ),
    ];
    let words = |period: Option<Period>| period.map(|period| period.to_string());
    let compared = kinds
        .into_iter()
        .filter_map(|(path, asked, of)| match told {
            Told::Silent(why) => {
                asked?;
                Some(unknown(path, words(asked), why))
            }
            Told::Says(rules) => kind(path, asked, rules, of),
        });
    compared.collect()
}

fn kind(
    path: &'static [&'static str],
    asked: Option<Period>,
    rules: &[LifecycleRule],
    of: Of,
) -> Option<Difference> {
    let soonest = |is_own: bool| {
        let for_all = rules.iter().filter(|rule| rule.is_for_all());
        for_all
            .filter(|rule| (rule.id == OWN_RULE) == is_own)
            .filter_map(|rule| Some((of(rule)?, rule.id.as_str())))
            .min()
    };
    let (own, foreign) = (soonest(true), soonest(false));
    // Where two rules say something, the sooner one is done.
    let now = own
        .into_iter()
        .chain(foreign)
        .min()
        .map(|(period, _)| period);
    let (before, wanted) = match (asked, foreign) {
        (Some(asked), _) if now == Some(asked) => return None,
        (Some(asked), Some((sooner, rule))) if sooner < asked => {
            let rule = rule.to_owned();
            (Some(sooner), Wanted::Foreign { rule })
        }
        (Some(asked), _) => {
            let removes = now.is_none_or(|now| now > asked);
            (now, Wanted::Set { removes })
        }
        // What others want removed is theirs; what ccb wanted once is not wanted any longer.
        (None, _) => (Some(own?.0), Wanted::Set { removes: false }),
    };
    let words = |period: Period| period.to_string();
    Some(Difference {
        path,
        before: before.map(words),
        after: asked.map(words),
        wanted,
    })
}

fn replication(asked: &BucketSource, told: &Told<Vec<ReplicationRule>>) -> Option<Difference> {
    let path = &["replication"];
    let asked = asked.replication.as_ref()?;
    let after = Some(format!("to {}", asked.to));
    let rules = match told {
        Told::Silent(why) => return Some(unknown(path, after, why)),
        Told::Says(rules) => rules,
    };
    let there = || rules.iter().filter(|rule| rule.to == asked.to);
    let is_whole = |rule: &&ReplicationRule| !rule.partial && rule.prefix.is_empty();
    if there().any(|rule| rule.enabled && is_whole(&rule)) {
        return None;
    }
    let partly = there().find(|rule| rule.enabled);
    let before = match (partly, there().next()) {
        (Some(rule), _) if rule.prefix.is_empty() => Some("some objects only".to_owned()),
        (Some(rule), _) => Some(format!("only {}", rule.prefix)),
        (None, Some(_)) => Some("disabled".to_owned()),
        (None, None) => None,
    };
    Some(Difference {
        path,
        before,
        after,
        wanted: Wanted::Set { removes: false },
    })
}
