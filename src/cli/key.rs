//! `ccb key`: who can open the repositories. Keys come by reference (an environment variable, a file, a
//! command), never as arguments, and are never printed, save by `ccb key new`, which makes one.

use crate::cli::args::KeyCommand;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, output};
use crate::model::ids::{DestinationName, EncryptionName};
use crate::model::strategy::{Encryption, Kdf, SecretRef};
use crate::model::units::{Period, to_minute};
use crate::render::listing;
use crate::repository::format::key::{KdfParams, Secret};
use crate::repository::{KeySlot, NewSlot, OpenError, Repository, RepositoryError, rotate};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Runs one of the commands about keys.
pub async fn run(command: KeyCommand, context: &Context) -> Result<Exit, Trouble> {
    match command {
        KeyCommand::New { path } => new(path.as_deref()),
        KeyCommand::List {
            file,
            destination,
            json,
        } => {
            let reading = Reading::open(&file, context).await?;
            list(
                &opened(&reading, destination.as_deref())?,
                json.json,
                context,
            )
            .await
        }
        KeyCommand::Add {
            file,
            key,
            slot,
            destination,
        } => {
            let reading = Reading::open(&file, context).await?;
            let opened = opened(&reading, destination.as_deref())?;
            add(&opened, &secret(&key)?, slot.as_deref()).await
        }
        KeyCommand::Remove {
            file,
            slot,
            destination,
        } => {
            let reading = Reading::open(&file, context).await?;
            remove(&opened(&reading, destination.as_deref())?, &slot).await
        }
        KeyCommand::Rotate {
            file,
            keys,
            destination,
        } => {
            let reading = Reading::open(&file, context).await?;
            let others = keys.iter().map(secret).collect::<Result<Vec<_>, _>>()?;
            rotate_all(&opened(&reading, destination.as_deref())?, &others).await
        }
    }
}

/// An encrypted repository and what the plan file says of its key.
struct Opened<'a> {
    destination: &'a DestinationName,
    repository: &'a Repository,
    encryption: &'a Encryption,
}

/// The encrypted repositories. All that are asked for: what is done to a part of them is hard to see later.
fn opened<'a>(reading: &'a Reading, only: Option<&str>) -> Result<Vec<Opened<'a>>, Trouble> {
    let mut opened = Vec::new();
    let mut troubles = Vec::new();
    for destination in &reading.strategy.destinations {
        let name = &destination.name;
        let encryption = destination.encrypt.as_ref();
        let encryption = encryption.and_then(|name| reading.strategy.encryption(name));
        if only.is_some_and(|only| only != name.as_str()) {
            continue;
        }
        match (
            reading.places.get(name).map(|place| &place.opened),
            encryption,
        ) {
            (Some(Ok(repository)), Some(encryption)) => opened.push(Opened {
                destination: name,
                repository,
                encryption,
            }),
            (Some(Err(OpenError::Absent(_))) | None, _) | (_, None) => {}
            (Some(Err(error)), Some(_)) => {
                troubles.push(format!("destination.{name}: {}", chain(error)));
            }
        }
    }
    if !troubles.is_empty() {
        let words = format!(
            "{}; --destination names one that can be reached",
            troubles.join("; ")
        );
        return Err(Trouble::new(Exit::Absent, words));
    }
    if opened.is_empty() {
        let words = "there is no encrypted repository there yet; `ccb apply` makes what the plan file asks for";
        return Err(Trouble::new(Exit::Absent, words));
    }
    Ok(opened)
}

fn secret(reference: &SecretRef) -> Result<Secret, Trouble> {
    world::secret(reference, Commands::Run)
        .map_err(|error| Trouble::new(Exit::Key, format!("read the key: {error}")))
}

fn trouble(destination: &DestinationName, error: &RepositoryError) -> Trouble {
    let exit = match error {
        RepositoryError::KeyNeeded { .. } | RepositoryError::Key(_) => Exit::Key,
        RepositoryError::KeysChanged => Exit::Locked,
        RepositoryError::NoSuchKey { .. } => Exit::Absent,
        error if error.is_damage() => Exit::Damaged,
        _ => Exit::Error,
    };
    Trouble::new(exit, format!("destination.{destination}: {}", chain(error)))
}

fn new(path: Option<&Path>) -> Result<Exit, Trouble> {
    let key: [u8; 32] = world::random();
    let line = crate::model::ids::hex(&key) + "\n";
    let Some(path) = path else {
        output::print(&line)?;
        return Ok(Exit::Ok);
    };
    let failed = |error: std::io::Error| {
        let words = format!("write a new key to `{}`: {error}", path.display());
        Trouble::new(Exit::Error, words)
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    // Never over what is there: it may be the only key of somebody's backups.
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(failed)?;
    file.write_all(line.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    output::say(&format!(
        "Wrote a new key to {}. Keep a copy somewhere else: without it there is no restore.",
        path.display()
    ));
    Ok(Exit::Ok)
}

fn kind(kdf: &KdfParams) -> &'static str {
    match kdf {
        KdfParams::Raw => "raw",
        KdfParams::Argon2id { .. } => "passphrase",
    }
}

async fn list(opened: &[Opened<'_>], json: bool, context: &Context) -> Result<Exit, Trouble> {
    let now = world::now();
    let mut all = Vec::new();
    for of in opened {
        let failed = |error| trouble(of.destination, &error);
        let slots = of.repository.key_slots().await.map_err(failed)?;
        let since = of.repository.key_since().await.map_err(failed)?;
        if json {
            all.push(as_json(of, &slots, since));
            continue;
        }
        output::print(&format!(
            "destination.{}: encryption \"{}\", data key {} since {}",
            of.destination,
            of.encryption.name,
            of.repository.key_epoch(),
            since.map_or("ever".to_owned(), to_minute)
        ))?;
        let rows: Vec<_> = slots
            .iter()
            .map(|slot| row(slot, of.repository, now))
            .collect();
        output::print(&listing::backups::keys(
            of.destination,
            &rows,
            &context.look(),
        ))?;
    }
    if json {
        let text = serde_json::to_string_pretty(&all);
        output::print(&text.map_err(|e| Trouble::from_error(Exit::Error, &e))?)?;
    }
    Ok(Exit::Ok)
}

fn row<'a>(
    slot: &'a KeySlot,
    repository: &Repository,
    now: Timestamp,
) -> listing::backups::Key<'a> {
    let days = now.duration_since(slot.created).as_hours() / 24;
    listing::backups::Key {
        id: &slot.key_id,
        kind: kind(&slot.kdf),
        label: &slot.name,
        created: slot.created,
        age: Period::days(u64::try_from(days).unwrap_or(0)),
        in_use: repository.opened_with() == Some(&slot.name),
        is_stale: slot.is_stale,
    }
}

fn as_json(of: &Opened<'_>, slots: &[KeySlot], since: Option<Timestamp>) -> serde_json::Value {
    let slot = |slot: &KeySlot| {
        serde_json::json!({
            "name": slot.name,
            "key_id": slot.key_id,
            "kind": kind(&slot.kdf),
            "added": slot.created,
            "in_use": of.repository.opened_with() == Some(&slot.name),
            "is_stale": slot.is_stale,
        })
    };
    serde_json::json!({
        "destination": of.destination,
        "encryption": of.encryption.name,
        "repository": of.repository.id(),
        "epoch": of.repository.key_epoch(),
        "epoch_since": since,
        "slots": slots.iter().map(slot).collect::<Vec<_>>(),
    })
}

async fn add(opened: &[Opened<'_>], key: &Secret, name: Option<&str>) -> Result<Exit, Trouble> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => free_name(opened).await?,
    };
    for of in opened {
        let failed = |error| trouble(of.destination, &error);
        // A run that was killed has added it to some: run again, it comes to the others.
        if let Some(known) = of.repository.slot_of(key).await.map_err(failed)? {
            output::print(&format!(
                "destination.{}: this key opens it already, as `{known}`",
                of.destination
            ))?;
            continue;
        }
        let slot = NewSlot {
            name: &name,
            secret: key,
            kdf: Kdf::Auto,
        };
        of.repository.add_key(&slot).await.map_err(failed)?;
        output::print(&format!("destination.{}: added `{name}`", of.destination))?;
    }
    Ok(Exit::Ok)
}

async fn free_name(opened: &[Opened<'_>]) -> Result<String, Trouble> {
    let mut taken = BTreeSet::new();
    for of in opened {
        let slots = of.repository.key_slots().await;
        let slots = slots.map_err(|error| trouble(of.destination, &error))?;
        taken.extend(slots.into_iter().map(|slot| slot.name));
    }
    let mut names = (2..).map(|n| format!("key-{n}"));
    let free = names.find(|name| !taken.contains(name));
    Ok(free.unwrap_or_default())
}

async fn remove(opened: &[Opened<'_>], name: &str) -> Result<Exit, Trouble> {
    let mut removable = Vec::new();
    let mut absent = None;
    for of in opened {
        let own = secret(&of.encryption.key)?;
        match of.repository.may_remove_key(name, &own).await {
            Ok(()) => removable.push((of, own)),
            Err(error @ RepositoryError::NoSuchKey { .. }) => {
                absent = Some(trouble(of.destination, &error));
            }
            Err(error) => return Err(trouble(of.destination, &error)),
        }
    }
    if let (true, Some(absent)) = (removable.is_empty(), absent) {
        return Err(absent);
    }
    for (of, own) in removable {
        let removed = of.repository.remove_key(name, &own).await;
        removed.map_err(|error| trouble(of.destination, &error))?;
        output::print(&format!("destination.{}: removed `{name}`", of.destination))?;
    }
    output::print(
        "Whoever had this key may have kept what it opened: `ccb key rotate` gives what is stored from now on another one.",
    )?;
    Ok(Exit::Ok)
}

async fn rotate_all(opened: &[Opened<'_>], others: &[Secret]) -> Result<Exit, Trouble> {
    let mut groups: BTreeMap<&EncryptionName, Vec<&Opened<'_>>> = BTreeMap::new();
    for of in opened {
        groups.entry(&of.encryption.name).or_default().push(of);
    }
    for (encryption, group) in groups {
        let own = secret(&group[0].encryption.key)?;
        let secrets: Vec<&Secret> = [&own].into_iter().chain(others).collect();
        let repositories: Vec<&Repository> = group.iter().map(|of| of.repository).collect();
        let done = rotate(&repositories, &secrets).await;
        let done = done.map_err(|error| {
            let Trouble { exit, message } = trouble(group[0].destination, &error);
            let words = match &error {
                // It names no single destination, or all of them.
                RepositoryError::KeyNeeded { .. } => {
                    format!("encryption.{encryption}: {}", chain(&error))
                }
                _ => message,
            };
            Trouble::new(exit, words)
        })?;
        for (of, rotated) in group.iter().zip(done) {
            let word = match rotated.was_done {
                true => "was rotated before this run",
                false => "rotated",
            };
            output::print(&format!(
                "destination.{}: {word}, data key {} in {}",
                of.destination,
                rotated.epoch,
                rotated.slots.join(", ")
            ))?;
            for kept in rotated.kept {
                output::say(&format!(
                    "Warning: destination.{}: the store does not let `{kept}` go; it opens what was stored before",
                    of.destination
                ));
            }
        }
    }
    output::print(
        "What was stored before stays readable. Runs that are under way end with the key that they began with.",
    )?;
    Ok(Exit::Ok)
}
