//! `ccb check`: looks for damage in the repositories, and with `--heal` stores again what is hurt in one from
//! what is whole in the others. Removes nothing.

use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::{Context, output};
use crate::model::ids::DestinationName;
use crate::model::units::Percent;
use crate::render;
use crate::render::listing::checks::{
    self, Checked, CheckedRepository, DamagedObject, HealedRepository, HitBackup,
};
use crate::repository::{CheckLevel, CheckReport, Damaged, Healed, Repository};

/// What is looked for, and where.
pub struct Wanted<'a> {
    /// Only there.
    pub destination: Option<&'a str>,
    /// 0 all objects are there, 1 their structure, 2 a part of the bytes, 3 every byte.
    pub level: u8,
    /// How much at level 2.
    pub percent: u8,
    /// Whether what is hurt is stored again.
    pub heal: bool,
}

/// Checks repositories.
pub async fn run(
    file: &str,
    wanted: &Wanted<'_>,
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let level = match wanted.level {
        0 if wanted.heal => {
            let words = "--heal needs a check that reads what there is: --level 1, 2 or 3";
            return Err(Trouble::new(Exit::Error, words.to_owned()));
        }
        0 => CheckLevel::Presence,
        1 => CheckLevel::Structure,
        2 => CheckLevel::Sample {
            percent: Percent(wanted.percent.min(100)),
        },
        _ => CheckLevel::Full,
    };
    let reading = Reading::open(file, context).await?;
    let mut repositories = Vec::new();
    for (name, repository, _) in reading.holdings(wanted.destination).await? {
        let failed = |e| Trouble::from_error(Exit::Error, &e);
        let mut report = repository.check(level).await.map_err(failed)?;
        let mut healed = None;
        if wanted.heal && !report.is_clean() {
            let others = reading.others(&name);
            healed = Some(heal(&repository, &report, &others).await?);
            report = repository.check(level).await.map_err(failed)?;
        }
        repositories.push(checked(name, &report, healed));
    }
    let is_clean = |one: &CheckedRepository| one.damaged.is_empty() && one.hit.is_empty();
    let all = Checked {
        clean: repositories.iter().all(is_clean),
        level: wanted.level,
        repositories,
    };
    output::print(&match as_json {
        true => render::output::json(&all),
        false => checks::checked(&all, &context.look()),
    })?;
    Ok(match all.clean {
        true => Exit::Ok,
        false => Exit::Damaged,
    })
}

/// Heals until nothing more can be: what is missing below a directory is known only when the directory is there.
async fn heal(
    repository: &Repository,
    report: &CheckReport,
    others: &[(DestinationName, Repository)],
) -> Result<HealedRepository, Trouble> {
    let failed = |e| Trouble::from_error(Exit::Error, &e);
    let from: Vec<Repository> = others.iter().map(|(_, other)| other.clone()).collect();
    let mut done = HealedRepository {
        damaged: objects(&report.damaged),
        from: others.iter().map(|(name, _)| name.clone()).collect(),
        ..HealedRepository::default()
    };
    let mut add = |healed: &Healed| {
        done.blobs += healed.blobs;
        done.stored_bytes += healed.stored_bytes;
        done.condemned_packs += healed.condemned;
        done.removed_segments += healed.segments;
    };
    let mut healed = repository.heal(report, &from).await.map_err(failed)?;
    add(&healed);
    while healed.blobs > 0 {
        let structure = repository.check(CheckLevel::Structure).await;
        let structure = structure.map_err(failed)?;
        if structure.is_clean() {
            break;
        }
        healed = repository.heal(&structure, &from).await.map_err(failed)?;
        add(&healed);
    }
    Ok(done)
}

fn checked(
    destination: DestinationName,
    report: &CheckReport,
    healed: Option<HealedRepository>,
) -> CheckedRepository {
    CheckedRepository {
        destination,
        backups: report.backups,
        packs: report.packs.count,
        pack_bytes: report.packs.bytes,
        packs_read: report.packs_read.count,
        read_bytes: report.packs_read.bytes,
        healed,
        damaged: objects(&report.damaged),
        hit: report
            .hit
            .iter()
            .map(|hit| HitBackup {
                backup: hit.backup,
                component: hit.component.clone(),
                paths: hit.paths.clone(),
                path_count: hit.path_count,
            })
            .collect(),
    }
}

fn objects(damaged: &[Damaged]) -> Vec<DamagedObject> {
    let object = |damaged: &Damaged| DamagedObject {
        key: damaged.key.clone(),
        why: chain(&damaged.cause),
    };
    damaged.iter().map(object).collect()
}
