//! What the databases themselves are, for `ccb plan --sources`: the one time that planning reads their passwords and
//! runs programs, because it was asked to. Changes nothing there.

use crate::cli::exit::chain;
use crate::cli::output;
use crate::cli::places::Places;
use crate::cli::world::{self, Commands};
use crate::model::ids::ComponentName;
use crate::model::inventory::Inventory;
use crate::model::postgres::drift::drift;
use crate::model::postgres::{DumpFacts, Schema};
use crate::model::records::Manifest;
use crate::model::strategy::{
    Component, Method, PostgresSource, RedisSource, SourceSpec, Strategy,
};
use crate::plan::check::Live;
use crate::restore::postgres::schema;
use crate::source::postgres::live;
use crate::source::redis;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

type Failed = Box<dyn Error + Send + Sync>;

/// Asks every PostgreSQL database that is dumped, and every Redis server. A database that does not answer is a
/// warning: the plan stands without.
pub async fn look(
    strategy: &Strategy,
    inventory: &Inventory,
    places: &Places,
) -> BTreeMap<ComponentName, Live> {
    let mut all = BTreeMap::new();
    for component in strategy.components.iter().filter(|c| c.enabled) {
        let source = match &component.source {
            SourceSpec::Postgres(source) => source,
            SourceSpec::Redis(source) => {
                all.insert(component.name.clone(), of_redis(component, source).await);
                continue;
            }
            SourceSpec::Files(_) | SourceSpec::S3(_) => continue,
        };
        match of_component(component, source, inventory, places).await {
            Ok(live) => {
                all.insert(component.name.clone(), live);
            }
            Err(error) => output::say(&format!(
                "Warning: component.{} could not be looked at: {}",
                component.name,
                chain(&*error)
            )),
        }
    }
    all
}

/// Begins a backup by each method that is scheduled, and gives it up before anything is saved or sent: what is in
/// its way is met.
async fn of_redis(component: &Component, source: &RedisSource) -> Live {
    let scheduled = component.schedules.iter().filter(|s| s.enabled);
    let methods: BTreeSet<Method> = scheduled.map(|schedule| schedule.method).collect();
    let mut unready = Vec::new();
    for method in methods {
        let source = source.clone();
        let begun = tokio::task::spawn_blocking(move || begin(&source, method));
        let why = match begun.await {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => chain(&*error),
            Err(error) => chain(&error),
        };
        unready.push((method, why));
    }
    Live {
        unready,
        ..Live::default()
    }
}

fn begin(source: &RedisSource, method: Method) -> Result<(), Failed> {
    let request = redis::Request {
        url: world::secret(&source.url, Commands::Run)?,
        via: source.via.clone(),
        data_dir: source.data_dir.as_ref().map(PathBuf::from),
        scratch: std::env::temp_dir(),
        at_ns: 0,
        patience: Duration::ZERO,
    };
    match method {
        Method::Aof => redis::aof(request)?,
        _ => redis::rdb(request)?,
    };
    Ok(())
}

async fn of_component(
    component: &Component,
    source: &PostgresSource,
    inventory: &Inventory,
    places: &Places,
) -> Result<Live, Failed> {
    let password = source.password.as_ref();
    let password = password.map(|reference| world::secret(reference, Commands::Run));
    let (password, spec) = (password.transpose()?, source.clone());
    let schema = tokio::task::spawn_blocking(move || live(&spec, password)).await??;
    let before = last_schema(component, inventory, places).await?;
    Ok(Live {
        since: before.map(|(manifest, before)| (manifest.started, drift(&before, &schema))),
        schema,
        unready: Vec::new(),
    })
}

/// The newest dump that can be read, and its schema.
async fn last_schema<'a>(
    component: &Component,
    inventory: &'a Inventory,
    places: &Places,
) -> Result<Option<(&'a Manifest, Schema)>, Failed> {
    let held = inventory.destinations.iter().flat_map(|(name, holding)| {
        let manifests = holding.backups.iter().map(|held| &held.manifest);
        manifests.map(move |manifest| (name, manifest))
    });
    let dumps = held.filter(|(_, manifest)| {
        let is_of = manifest.component == component.name
            || component.moved_from.contains(&manifest.component);
        is_of && manifest.method == Method::Dump && manifest.complete
    });
    let Some((name, manifest)) = dumps.max_by_key(|(_, manifest)| manifest.started) else {
        return Ok(None);
    };
    let place = places
        .get(name)
        .and_then(|place| place.opened.as_ref().ok());
    let (Some(repository), Some(facts)) = (place, DumpFacts::of(manifest)) else {
        return Ok(None);
    };
    let reader = repository.reader().await?;
    let schema = schema(&facts, &reader, &manifest.root_node()).await?;
    Ok(Some((manifest, schema)))
}
