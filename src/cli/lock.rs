//! The locks of a run as an operator meets them: waited for, in the way, removed by hand.

use crate::apply::{LockError, Locks};
use crate::cli::args::UnlockArguments;
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::Reading;
use crate::cli::places::Places;
use crate::cli::signals::Signals;
use crate::cli::{Context, approve, output, process, world};
use crate::model::ids::DestinationName;
use crate::model::units::{Period, to_minute};
use crate::repository::{HeldLock, Repository};
use std::time::Duration;
use tokio::time::Instant;

/// How often a lock that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Takes the lock of every repository that is open, waiting for each at most until `wait` is over. Always in
/// the order of their ids, so that two runs that wait for each other's locks do not.
pub async fn take_all(
    locks: &Locks,
    places: &Places,
    wait: Period,
    signals: &Signals,
) -> Result<(), Trouble> {
    let mut open: Vec<(&DestinationName, &Repository)> = places
        .iter()
        .filter_map(|(name, place)| Some((name, place.opened.as_ref().ok()?)))
        .collect();
    open.sort_by_key(|(_, repository)| repository.id());
    let until = Instant::now() + Duration::from_secs(wait.seconds);
    for (name, repository) in open {
        take(locks, name, repository, until, signals).await?;
    }
    Ok(())
}

async fn take(
    locks: &Locks,
    name: &DestinationName,
    repository: &Repository,
    until: Instant,
    signals: &Signals,
) -> Result<(), Trouble> {
    let mut was_said = false;
    loop {
        let held = match locks.take(name, repository).await {
            Ok(left) => {
                if let Some(left) = left {
                    output::note(&format!(
                        "Lock of destination.{name} taken over: it was left by {}.",
                        whose(&left)
                    ));
                }
                return Ok(());
            }
            Err(LockError::Held(held)) => held,
            // A lock saves work, and what is stored does not depend on it: who can not write one says why in
            // each step that can not write either.
            Err(LockError::Failed(error)) => {
                let why = chain(&error);
                output::say(&format!(
                    "Warning: destination.{name} is not locked, another run may make the same backup: {why}"
                ));
                return Ok(());
            }
        };
        if Instant::now() >= until {
            return Err(in_the_way(name, &held));
        }
        if !was_said {
            output::say(&format!(
                "Waiting: destination.{name} is locked by {}.",
                whose(&held)
            ));
            was_said = true;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until.min(Instant::now() + LOOK_EVERY)) => {}
            exit = signals.ended() => return Err(Trouble::new(exit, "nothing was done")),
        }
    }
}

fn in_the_way(name: &DestinationName, held: &HeldLock) -> Trouble {
    let words = format!(
        "destination.{name} is locked by {}; nothing was done\n  wait for it with --lock-timeout 10m; if that run is dead, `ccb unlock FILE` removes its lock",
        whose(held)
    );
    Trouble::new(Exit::Locked, words)
}

/// `run 01jda6w3 of ana on web1 (pid 4711, shop / production) since 2026-11-22T02:19Z, silent for 12s`
fn whose(held: &HeldLock) -> String {
    let silent = held.silent_for.as_secs().max(0);
    match &held.holder {
        Some(holder) => format!(
            "run {} of {} on {} (pid {}, {}) since {}, silent for {silent}s",
            holder.run.short(),
            holder.user,
            holder.host,
            holder.process.pid,
            holder.plan,
            to_minute(holder.since)
        ),
        None => format!(
            "a run that can not be read, since {}, silent for {silent}s",
            to_minute(held.since)
        ),
    }
}

/// `ccb unlock`: says whose the locks are, asks, and removes them.
pub async fn unlock(arguments: &UnlockArguments, context: &Context) -> Result<Exit, Trouble> {
    let reading = Reading::open(&arguments.file, context).await?;
    let wanted = arguments.destination.as_deref();
    let (mut exit, mut removed) = (Exit::Ok, 0);
    for (name, place) in &reading.places {
        if wanted.is_some_and(|wanted| wanted != name.as_str()) {
            continue;
        }
        match &place.opened {
            Ok(repository) => removed += unlock_one(name, repository, arguments, context).await?,
            Err(crate::repository::OpenError::Absent(_)) => {}
            Err(error) => {
                output::say(&format!("Error: destination.{name}: {}", chain(error)));
                exit = Exit::Absent;
            }
        }
    }
    if removed == 0 && exit == Exit::Ok {
        output::print("Nothing is locked.")?;
    }
    Ok(exit)
}

async fn unlock_one(
    name: &DestinationName,
    repository: &Repository,
    arguments: &UnlockArguments,
    context: &Context,
) -> Result<u64, Trouble> {
    let failed = |e| Trouble::from_error(Exit::Error, &e);
    let Some(held) = repository.held_lock().await.map_err(failed)? else {
        return Ok(0);
    };
    let whose = whose(&held);
    output::say(&format!("destination.{name} is locked by {whose}."));
    if let Some(holder) = &held.holder
        && process::is_alive(&holder.process)
    {
        output::say(
            "Its process is alive on this machine: it stops within a minute when its lock goes.",
        );
    }
    if !arguments.auto_approve {
        approve::ask(
            context.global.input,
            "Remove this lock?",
            "add --auto-approve",
        )?;
    }
    repository
        .remove_lock(&held, &world::user())
        .await
        .map_err(failed)?;
    output::print(&format!(
        "destination.{name} is unlocked; it was locked by {whose}."
    ))?;
    Ok(1)
}
