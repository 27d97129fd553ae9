//! Reads what the destinations hold into an [`Inventory`]: LIST and GET of small objects, never a write,
//! never a decision. What can not be seen is said, never taken for absent.

use crate::model::ids::DestinationName;
use crate::model::inventory::{Coverage, Held, Holding, Inventory, RepositoryFacts, Trashed};
use crate::model::strategy::Cipher;
use crate::repository::format::config::CipherSuite;
use crate::repository::{Holdings, ListedBackup, OpenError, Repository, RepositoryError};
use futures_util::future::{join_all, try_join};
use std::{collections::BTreeMap, error::Error};

/// A destination as it could be opened.
pub type Opened = Result<Repository, OpenError>;

/// Looks at all destinations at the same time.
pub async fn inventory(destinations: &BTreeMap<DestinationName, Opened>) -> Inventory {
    let looks = destinations
        .iter()
        .map(|(name, opened)| async move { (name.clone(), holding(opened).await) });
    Inventory {
        destinations: join_all(looks).await.into_iter().collect(),
        ..Inventory::default()
    }
}

/// Looks at one destination. One without a repository is empty; one that fails is not seen.
pub async fn holding(opened: &Opened) -> Holding {
    let repository = match opened {
        Ok(repository) => repository,
        Err(OpenError::Absent(_)) => return Holding::empty(),
        Err(error) => return Holding::unreachable(chain(error)),
    };
    match look(repository).await {
        Ok(holding) => holding,
        Err(error) => Holding::unreachable(chain(&error)),
    }
}

async fn look(repository: &Repository) -> Result<Holding, RepositoryError> {
    let (mut holdings, facts) = try_join(repository.list(), repository.facts()).await?;
    let (wal, damaged_wal) = repository.waiting_wal(None).await?;
    holdings.damaged.extend(facts.damaged);
    let facts = RepositoryFacts {
        id: repository.id(),
        created: repository.config().created,
        cipher: match repository.config().cipher {
            CipherSuite::Aes256Gcm => Some(Cipher::Aes256Gcm),
            CipherSuite::ChaCha20Poly1305 => Some(Cipher::ChaCha20Poly1305),
            CipherSuite::None => None,
        },
        key_since: facts.key_since,
        single_writer: facts.is_single_writer,
        server_time: holdings.server_time,
        stored_bytes: facts.stored.bytes,
        last_prune: facts.last_prune,
        condemned_bytes: facts.condemned.bytes,
    };
    holdings.damaged.extend(damaged_wal);
    Ok(Holding {
        wal,
        ..from_holdings(holdings, facts)
    })
}

fn from_holdings(holdings: Holdings, facts: RepositoryFacts) -> Holding {
    let damaged: BTreeMap<String, String> = holdings
        .damaged
        .iter()
        .map(|object| (object.key.to_string(), object.cause.to_string()))
        .collect();
    let coverage = match damaged.len() {
        0 => Coverage::Complete,
        1 => Coverage::Partial {
            why: "1 object that tells of a backup can not be read".to_owned(),
        },
        n => Coverage::Partial {
            why: format!("{n} objects that tell of backups can not be read"),
        },
    };
    let mut backups: Vec<Held> = holdings.backups.into_iter().map(held).collect();
    backups.sort_by_key(|held| (held.manifest.started, held.manifest.id));
    let mut trashed: Vec<Trashed> = holdings
        .trashed
        .into_iter()
        .map(|trashed| Trashed {
            manifest: trashed.backup.manifest,
            tomb: trashed.tomb,
            since: trashed.since,
        })
        .collect();
    trashed.sort_by_key(|trashed| (trashed.manifest.started, trashed.manifest.id));
    Holding {
        coverage,
        repository: Some(facts),
        backups,
        trashed,
        damaged,
        runs: holdings.runs,
        wal: Vec::new(),
        exports: holdings.exports.into_iter().map(|e| e.record).collect(),
    }
}

fn held(listed: ListedBackup) -> Held {
    Held {
        manifest: listed.manifest,
        annotations: listed.annotations,
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
