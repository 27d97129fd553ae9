//! `ccb prune`: removes what no backup needs, now. What goes was forgotten before; nothing here decides what
//! is kept.

use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::{Context, output};
use crate::model::ids::DestinationName;
use crate::model::units::Size;
use crate::render::listing::pruned::{Amount, Pruned, pruned};
use crate::repository::{OpenError, Packs, PruneReport, PruneRequest, Repository, RepositoryError};

/// Prunes every destination, or one.
pub async fn run(
    file: &str,
    destination: Option<&str>,
    repack: Option<Size>,
    json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let mut request = PruneRequest {
        trash: reading.strategy.apply.trash,
        ..PruneRequest::default()
    };
    if let Some(Size(budget)) = repack {
        request.repack.budget_bytes = budget;
    }
    let mut exit = Exit::Ok;
    let mut reports = Vec::new();
    for (name, opened) in chosen(&reading, destination)? {
        let report = match opened {
            Ok(repository) => prune(name, repository, request).await,
            Err(error) => Err(Trouble::new(Exit::Absent, chain(error))),
        };
        match report {
            Ok(report) => {
                if !report.damaged.is_empty() {
                    exit = exit.and(Exit::Damaged);
                }
                reports.push((name, report));
            }
            // The others are pruned all the same.
            Err(trouble) => {
                output::say(&format!("Error: destination.{name}: {}", trouble.message));
                exit = exit.and(trouble.exit);
            }
        }
    }
    match json {
        true => output::print(&as_json(&reports)?)?,
        false => {
            for (name, report) in &reports {
                output::print(&pruned(&words(name, report), &context.look()))?;
            }
        }
    }
    Ok(exit)
}

async fn prune(
    name: &DestinationName,
    repository: &Repository,
    request: PruneRequest,
) -> Result<PruneReport, Trouble> {
    output::say(&format!(
        "destination.{name}: looking for what nothing needs"
    ));
    repository.prune(request).await.map_err(|error| {
        let exit = match &error {
            error if error.is_damage() => Exit::Damaged,
            RepositoryError::Store(_) => Exit::Absent,
            _ => Exit::Error,
        };
        Trouble::new(exit, chain(&error))
    })
}

type Chosen<'a> = Vec<(&'a DestinationName, Result<&'a Repository, &'a OpenError>)>;

/// The destinations that have a repository or can not be reached, in the order of the plan file.
fn chosen<'a>(reading: &'a Reading, only: Option<&str>) -> Result<Chosen<'a>, Trouble> {
    let mut chosen = Vec::new();
    for destination in &reading.strategy.destinations {
        let name = &destination.name;
        let Some(place) = reading.places.get(name) else {
            continue;
        };
        if only.is_some_and(|only| only != name.as_str()) {
            continue;
        }
        match &place.opened {
            Err(OpenError::Absent(_)) => {}
            opened => chosen.push((name, opened.as_ref())),
        }
    }
    if chosen.is_empty() {
        let words = match only {
            Some(only) => format!("there is no repository at destination.{only}"),
            None => "there is no repository at any destination yet".to_owned(),
        };
        return Err(Trouble::new(Exit::Absent, words));
    }
    Ok(chosen)
}

fn amount(packs: Packs) -> Amount {
    Amount {
        count: packs.count,
        bytes: packs.bytes,
    }
}

fn words(name: &DestinationName, report: &PruneReport) -> Pruned {
    Pruned {
        destination: name.clone(),
        emptied: report.emptied.iter().map(|id| id.short()).collect(),
        removed: amount(report.deleted),
        condemned: amount(report.condemned),
        repacked: amount(report.repacked),
        rewritten_bytes: report.rewritten_bytes,
        waiting: amount(report.waiting),
        waiting_until: report.waiting_until,
        waiting_for: report.waiting_for.clone(),
        locked: amount(report.retained),
        unused_bytes: report.unused_bytes,
        damaged: report
            .damaged
            .iter()
            .map(|damaged| (damaged.key.clone(), chain(&damaged.cause)))
            .collect(),
    }
}

fn as_json(reports: &[(&DestinationName, PruneReport)]) -> Result<String, Trouble> {
    let packs = |packs: Packs| serde_json::json!({ "packs": packs.count, "bytes": packs.bytes });
    let one = |(name, report): &(&DestinationName, PruneReport)| {
        let damaged = report.damaged.iter().map(|damaged| {
            serde_json::json!({ "object": damaged.key, "message": chain(&damaged.cause) })
        });
        serde_json::json!({
            "destination": name,
            "emptied": report.emptied,
            "removed": packs(report.deleted),
            "condemned": packs(report.condemned),
            "repacked": packs(report.repacked),
            "rewritten_bytes": report.rewritten_bytes,
            "unused_bytes": report.unused_bytes,
            "waiting": packs(report.waiting),
            "waiting_until": report.waiting_until,
            "waiting_for": report.waiting_for,
            "locked": packs(report.retained),
            "sessions_ended": report.revoked,
            "tidied": report.tidied,
            "damaged": damaged.collect::<Vec<_>>(),
        })
    };
    let all: Vec<_> = reports.iter().map(one).collect();
    serde_json::to_string_pretty(&all).map_err(|e| Trouble::from_error(Exit::Error, &e))
}
