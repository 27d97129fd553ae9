//! Decides which copies that restore without ccb are written, under which key, and which earlier ones go then.
//! Each export of a component is owed the newest backup of every tier that it keeps: that of this run, or the
//! one that is there and has none yet. An earlier one goes only after a newer one was read back.

use crate::model::ids::{Address, BackupId, DestinationName};
use crate::model::records::ExportRecord;
use crate::model::strategy::{Export, Method, SourceSpec, Tier};
use crate::plan::backups::{EXPORT, Made, key};
use crate::plan::document::{Action, BackupRef, Cause, Reason};
use crate::plan::draft::{Draft, Drafts, Key, made_by};
use crate::plan::keep::Verdict;
use crate::plan::world::{Copies, View, World};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Drafts the exports of one component; `verdicts` are those of its backups, in their order.
pub(crate) fn draft_exports(
    world: &World,
    view: &View,
    verdicts: &[Verdict],
    made: &[Made],
    drafts: &mut Drafts,
) {
    for (number, export) in view.spec.exports.iter().enumerate() {
        if !world.is_writable(&export.to) {
            continue;
        }
        let known = recorded(world, view, export);
        let fresh = made.iter().filter(|made| is_meant(export, made.method));
        let fresh: Vec<Subject> = fresh.map(|made| Subject::made(world, view, made)).collect();
        let missing = missing(world, view, verdicts, export, &fresh, &known);
        let subjects = fresh.iter().chain(&missing);
        let mut objects: Vec<Object> = subjects
            .flat_map(|subject| objects(world, view, export, subject))
            .collect();
        assign_removals(view, export, &known, &mut objects);
        for object in objects {
            drafts.push(draft(world, view, number, export, object));
        }
    }
}

/// A backup that is to be exported.
struct Subject<'a> {
    backup: BackupRef,
    method: Method,
    /// What `{time}` is: the slot that the backup was due for, or when it was taken. The same again when a run was
    /// ended in the middle.
    at: Timestamp,
    tiers: Vec<Tier>,
    from: DestinationName,
    /// The draft that makes it.
    made: Option<&'a Made<'a>>,
}

impl<'a> Subject<'a> {
    fn made(world: &World, _view: &View, made: &'a Made<'a>) -> Self {
        Self {
            backup: made_by(made.draft),
            method: made.method,
            at: made.time(world),
            tiers: made.tiers.clone(),
            from: made.home.clone(),
            made: Some(made),
        }
    }

    fn existing(copies: &Copies, from: &DestinationName, tiers: Vec<Tier>) -> Self {
        let slots = copies.facts.slots.iter().map(|slot| slot.at);
        Self {
            backup: BackupRef::Id(copies.facts.id),
            method: copies.facts.method,
            at: slots.max().unwrap_or(copies.facts.started),
            tiers,
            from: from.clone(),
            made: None,
        }
    }
}

/// A file that is to be written.
struct Object<'s> {
    subject: &'s Subject<'s>,
    key: String,
    tiers: Vec<Tier>,
    removes: Vec<String>,
}

fn is_meant(export: &Export, method: Method) -> bool {
    export.method.is_none_or(|asked| method.satisfies(asked))
}

/// What is recorded of this export, newest first; each key once.
fn recorded<'a>(world: &World<'a>, view: &View, export: &Export) -> Vec<&'a ExportRecord> {
    let name = export.name();
    let is_own = |record: &&ExportRecord| {
        let component = &record.component;
        record.name == name
            && record.destination == export.to
            && (*component == view.spec.name || view.spec.moved_from.contains(component))
    };
    let holdings = world.inventory.destinations.values();
    let records = holdings.flat_map(|holding| &holding.exports);
    let by_key: BTreeMap<&str, &ExportRecord> = records
        .filter(is_own)
        .map(|r| (r.key.as_str(), r))
        .collect();
    let mut records: Vec<&ExportRecord> = by_key.into_values().collect();
    records.sort_by_key(|record| std::cmp::Reverse((record.started, &record.key)));
    records
}

/// The tiers that are asked for. Without one in its `keep`, an export is written once, whatever the backup is.
fn asked(export: &Export) -> BTreeSet<Tier> {
    export.keep.iter().filter_map(|keep| keep.tier).collect()
}

/// The newest backups that are there and should have been exported. Older ones are not made up for.
fn missing<'a>(
    world: &World,
    view: &View,
    verdicts: &[Verdict],
    export: &Export,
    fresh: &[Subject],
    known: &[&ExportRecord],
) -> Vec<Subject<'a>> {
    let tiers = asked(export);
    let wanted: Vec<Option<Tier>> = match tiers.is_empty() {
        true => vec![None],
        false => tiers.into_iter().map(Some).collect(),
    };
    let is = |tiers: &[Tier], tier: Option<Tier>| tier.is_none_or(|tier| tiers.contains(&tier));
    let mut owed: BTreeMap<BackupId, (&Copies, Vec<Tier>)> = BTreeMap::new();
    for tier in wanted {
        if fresh.iter().any(|subject| is(&subject.tiers, tier)) {
            continue;
        }
        let mut all = view.backups.iter().zip(verdicts).rev();
        let newest = all.find(|(copies, verdict)| {
            let facts = copies.facts;
            let is_good = facts.complete && facts.started <= world.at && verdict.is_kept();
            is_good && is_meant(export, facts.method) && is(&verdict.tiers(), tier)
        });
        let Some((copies, verdict)) = newest else {
            continue;
        };
        let id = copies.facts.id;
        let has = |record: &&ExportRecord| record.backup == id && is(&record.tiers, tier);
        if !known.iter().any(has) {
            let tiers = tier.map_or_else(|| verdict.tiers(), |tier| vec![tier]);
            owed.entry(id)
                .or_insert((copies, Vec::new()))
                .1
                .extend(tiers);
        }
    }
    let subjects = owed.into_values().filter_map(|(copies, tiers)| {
        let stored = view.spec.store.iter();
        let from = stored.clone().find(|name| copies.copy_at(name).is_some())?;
        Some(Subject::existing(copies, from, tiers))
    });
    subjects.collect()
}

/// The files of one backup: one for each tier that is asked for and that it is, but each key once.
fn objects<'s>(
    world: &World,
    view: &View,
    export: &Export,
    subject: &'s Subject<'s>,
) -> Vec<Object<'s>> {
    let asked = asked(export);
    let first = subject.tiers.first().copied();
    if asked.is_empty() {
        return vec![Object {
            key: object_key(world, view, subject, export, first),
            subject,
            tiers: Vec::new(),
            removes: Vec::new(),
        }];
    }
    let mut objects: Vec<Object> = Vec::new();
    for tier in subject.tiers.iter().filter(|tier| asked.contains(tier)) {
        let key = object_key(world, view, subject, export, Some(*tier));
        match objects.iter_mut().find(|object| object.key == key) {
            Some(object) => object.tiers.push(*tier),
            None => objects.push(Object {
                subject,
                key,
                tiers: vec![*tier],
                removes: Vec::new(),
            }),
        }
    }
    objects
}

/// Lets each new file take away what the counts of `keep` have no room for once it is there.
fn assign_removals(view: &View, export: &Export, known: &[&ExportRecord], objects: &mut [Object]) {
    if export.keep.is_empty() {
        return;
    }
    let is_of = |tiers: &[Tier], tier: Option<Tier>| tier.is_none_or(|tier| tiers.contains(&tier));
    // What is written again is not older than itself.
    let new: BTreeSet<String> = objects.iter().map(|object| object.key.clone()).collect();
    let old = || known.iter().filter(|record| !new.contains(&record.key));
    let mut stays: BTreeSet<&str> = BTreeSet::new();
    for keep in &export.keep {
        let fresh = objects
            .iter()
            .filter(|object| is_of(&object.tiers, keep.tier));
        let room = (keep.count as usize).saturating_sub(fresh.count());
        let newest = old().filter(|record| is_of(&record.tiers, keep.tier));
        stays.extend(newest.take(room).map(|record| record.key.as_str()));
    }
    let asked = asked(export);
    for record in old().filter(|record| !stays.contains(record.key.as_str())) {
        // What is kept as something that the plan file does not ask for any more is nobody's to count.
        let is_counted = asked.is_empty() || record.tiers.iter().any(|tier| asked.contains(tier));
        let backup = view.backups.iter().find(|c| c.facts.id == record.backup);
        let is_held = backup.is_some_and(|copies| copies.hold().is_some());
        if !is_counted || is_held {
            continue;
        }
        let replaces = |object: &&mut Object| {
            asked.is_empty() || record.tiers.iter().any(|tier| object.tiers.contains(tier))
        };
        if let Some(object) = objects.iter_mut().find(replaces) {
            object.removes.push(record.key.clone());
        }
    }
}

fn draft(world: &World, view: &View, number: usize, export: &Export, object: Object) -> Draft {
    let subject = object.subject;
    let mut labels = match subject.made {
        Some(made) => made.labels(view),
        None => vec![view.address()],
    };
    labels.push(Address::destination(&export.to));
    let tier = object.tiers.first().copied();
    let made = subject.made.map(|made| made.draft);
    Draft {
        address: view.address(),
        action: Action::Export {
            component: view.spec.name.clone(),
            backup: subject.backup,
            from: subject.from.clone(),
            to: export.to.clone(),
            kind: export.kind,
            name: export.name(),
            key: object.key,
            tiers: object.tiers,
            removes: object.removes,
        },
        needs: made.into_iter().collect(),
        after: Vec::new(),
        cause: subject.made.map_or(Cause::Drift, Made::cause),
        because: Reason::ExportDue { tier },
        bytes: None,
        key: Key {
            detail: number * 8 + tier.map_or(0, |tier| tier as usize + 1),
            destination: world.order(&export.to),
            ..key(view, EXPORT, subject.at)
        },
        labels,
        made_by: made,
    }
}

/// Fills the placeholders of the layout. `{id}` stays: the backup may have none yet.
fn object_key(
    world: &World,
    view: &View,
    subject: &Subject,
    export: &Export,
    tier: Option<Tier>,
) -> String {
    let local = subject.at.to_zoned(world.zone.clone());
    let database = match &view.spec.source {
        SourceSpec::Postgres(source) => source.database.as_str(),
        _ => view.spec.name.as_str(),
    };
    let mut filled = String::new();
    let mut rest = export.layout.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            filled.push('{');
            rest = after;
            continue;
        };
        match name {
            "component" => filled.push_str(view.spec.name.as_str()),
            "tier" => filled.push_str(tier.map_or("manual", Tier::as_str)),
            "method" => filled.push_str(subject.method.as_str()),
            "database" => filled.push_str(database),
            _ => match name.strip_prefix("time") {
                Some(format) => {
                    let format = format.strip_prefix(':').unwrap_or("%Y%m%dT%H%M%S");
                    let time = jiff::fmt::strtime::format(format, &local);
                    filled.push_str(&time.unwrap_or_else(|_| subject.at.to_string()));
                }
                None => filled.push_str(&format!("{{{name}}}")),
            },
        }
        rest = after;
    }
    filled + rest
}
