//! Decides which copies that restore without ccb are written of a new backup, and under which key.

use crate::model::ids::Address;
use crate::model::strategy::{Export, SourceSpec, Tier};
use crate::plan::backups::{EXPORT, Made, key};
use crate::plan::document::{Action, Reason};
use crate::plan::draft::{Draft, Drafts, Key, made_by};
use crate::plan::world::{View, World};
use std::collections::BTreeSet;

/// Drafts the exports of one new backup: one for each tier that is asked for and that it is.
pub(crate) fn draft_exports(world: &World, view: &View, made: &Made, drafts: &mut Drafts) {
    for (number, export) in view.spec.exports.iter().enumerate() {
        let is_meant = export
            .method
            .is_none_or(|asked| made.method.satisfies(asked));
        if !is_meant || !world.is_writable(&export.to) {
            continue;
        }
        let mut written = BTreeSet::new();
        for tier in tiers(export, made) {
            let object = object_key(world, view, made, export, tier);
            if !written.insert(object.clone()) {
                continue;
            }
            let mut labels = made.labels(view);
            labels.push(Address::destination(&export.to));
            drafts.push(Draft {
                address: view.address(),
                action: Action::Export {
                    component: view.spec.name.clone(),
                    backup: made_by(made.draft),
                    from: made.home.clone(),
                    to: export.to.clone(),
                    kind: export.kind,
                    key: object,
                },
                needs: vec![made.draft],
                after: Vec::new(),
                cause: made.cause(),
                because: Reason::ExportDue { tier },
                bytes: None,
                key: Key {
                    detail: number * 8 + tier.map_or(0, |tier| tier as usize + 1),
                    destination: world.order(&export.to),
                    ..key(view, EXPORT, made.time(world))
                },
                labels,
                made_by: Some(made.draft),
            });
        }
    }
}

/// Without a tier in its `keep`, an export is written once, whatever the backup is.
fn tiers(export: &Export, made: &Made) -> Vec<Option<Tier>> {
    let asked: BTreeSet<Tier> = export.keep.iter().filter_map(|keep| keep.tier).collect();
    if asked.is_empty() {
        return vec![None];
    }
    let both = made.tiers.iter().filter(|tier| asked.contains(tier));
    both.map(|tier| Some(*tier)).collect()
}

/// Fills the placeholders of the layout. `{id}` stays: the backup has none yet.
fn object_key(
    world: &World,
    view: &View,
    made: &Made,
    export: &Export,
    tier: Option<Tier>,
) -> String {
    let local = world.at.to_zoned(world.zone.clone());
    let database = match &view.spec.source {
        SourceSpec::Postgres(source) => source.database.as_str(),
        _ => view.spec.name.as_str(),
    };
    let tier = tier.or(made.tiers.first().copied());
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
            "method" => filled.push_str(made.method.as_str()),
            "database" => filled.push_str(database),
            _ => match name.strip_prefix("time") {
                Some(format) => {
                    let format = format.strip_prefix(':').unwrap_or("%Y%m%dT%H%M%S");
                    let time = jiff::fmt::strtime::format(format, &local);
                    filled.push_str(&time.unwrap_or_else(|_| world.at.to_string()));
                }
                None => filled.push_str(&format!("{{{name}}}")),
            },
        }
        rest = after;
    }
    filled + rest
}
