//! Asks a server to save and waits until it really has: BGSAVE answers before anything is written, another
//! save may be running, and a failed one says so only in INFO.

use crate::source::redis::error::RedisError;
use crate::source::redis::server::{Info, Server};
use crate::source::redis::stop::Stop;
use std::time::Duration;

/// How often a server is asked whether it has done what it was asked for: first after this time, later after
/// this part of what it has taken so far.
const ASK_AFTER: Duration = Duration::from_millis(20);
const ASK_EVERY_MAX: Duration = Duration::from_secs(1);
const ASK_AFTER_PART: u32 = 8;
/// A snapshot and the last save are dated with `time(2)`, which Linux answers from a clock that advances by
/// ticks, of at most 10 ms; INFO and TIME read the exact one. Just after a second begins they differ by one.
const COARSE_CLOCK_LAG_MICROS: i64 = 20_000;

/// Waits for a server, up to a limit.
pub(crate) struct Waiting<'a> {
    stop: &'a Stop,
    patience: Duration,
    waited: Duration,
    next: Duration,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(stop: &'a Stop, patience: Duration) -> Self {
        Self {
            stop,
            patience,
            waited: Duration::ZERO,
            next: ASK_AFTER,
        }
    }

    /// Waits a little; an error, which says what for, when that has been long enough.
    pub(crate) fn wait(&mut self, place: &str, state: &str) -> Result<(), RedisError> {
        if self.waited >= self.patience {
            return Err(RedisError::Busy {
                place: place.to_owned(),
                state: state.to_owned(),
                waited: self.waited,
            });
        }
        self.stop.wait(self.next)?;
        self.waited += self.next;
        self.next = (self.waited / ASK_AFTER_PART).clamp(ASK_AFTER, ASK_EVERY_MAX);
        Ok(())
    }
}

/// What INFO says once the server has loaded its data and, where it is a replica, has its master.
pub(crate) fn loaded(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Info, RedisError> {
    loop {
        let info = in_memory(server, waiting)?;
        if info.text("role") != "slave" || info.text("master_link_status") != "down" {
            return Ok(info);
        }
        wait_for_master(server.place(), &info, waiting)?;
    }
}

/// What INFO says once the server has loaded its data, whatever its master does.
fn in_memory(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Info, RedisError> {
    loop {
        let info = server.info()?;
        if !info.is_set("loading") {
            return Ok(info);
        }
        let percent = info.text("loading_loaded_perc");
        let state = format!("is still loading its data ({percent}%)");
        waiting.wait(server.place(), &state)?;
    }
}

/// Waits a little for a replica to get its master back: not for one that has been without it for longer than
/// anybody would wait, unless it is being sent its data.
fn wait_for_master(place: &str, info: &Info, waiting: &mut Waiting<'_>) -> Result<(), RedisError> {
    let lost = RedisError::LostMaster {
        place: place.to_owned(),
    };
    if !info.is_set("master_sync_in_progress")
        && without_master(info).is_some_and(|time| time >= waiting.patience)
    {
        return Err(lost);
    }
    match waiting.wait(place, "has lost its master") {
        Err(RedisError::Busy { .. }) => Err(lost),
        waited => waited,
    }
}

/// For how long a replica has been without its master; `None` when it never had it since it was started. Then
/// Redis 7 says -1, and older ones count from 1970.
fn without_master(info: &Info) -> Option<Duration> {
    let down = info.number("master_link_down_since_seconds")?;
    let was_up = info
        .number("uptime_in_seconds")
        .is_some_and(|up| down <= up);
    let down = u64::try_from(down).ok().filter(|_| was_up)?;
    Some(Duration::from_secs(down))
}

/// A save that has ended well.
pub(crate) struct Saved {
    /// The server's clock before it began, in seconds since the Unix epoch.
    pub(crate) not_before: i64,
    /// What INFO said afterwards.
    pub(crate) info: Info,
}

/// Saves, and comes back when a save that began after this call has ended well.
pub(crate) fn save(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Saved, RedisError> {
    loop {
        let begun = begin(server, waiting)?;
        if let Some(saved) = ended(server, &begun, waiting)? {
            return Ok(saved);
        }
        waiting.wait(server.place(), "has broken off a save of its own accord")?;
    }
}

/// A save that was begun.
struct Begun {
    /// When the server had saved last, by its clock.
    last_save: i64,
    /// See [`Saved::not_before`].
    not_before: i64,
}

/// Begins a save as soon as the server can.
fn begin(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Begun, RedisError> {
    loop {
        let info = loaded(server, waiting)?;
        // A save that runs already shows an earlier moment, and a new one can not begin beside it.
        if let Some(state) = at_work(&info) {
            waiting.wait(server.place(), state)?;
            continue;
        }
        // The time of the last save is in whole seconds: one that ends within the same second could not
        // be told from the one before.
        let (last_save, not_before) = (last_save(&info), clock(server, &info)?);
        if not_before <= last_save {
            waiting.wait(server.place(), "has just saved")?;
            continue;
        }
        match server.call(&["BGSAVE"]) {
            Ok(_) => {
                return Ok(Begun {
                    last_save,
                    not_before,
                });
            }
            // Another one was faster.
            Err(RedisError::Answered { answer, .. }) if answer.contains("already in progress") => {}
            Err(RedisError::Answered { answer, .. }) if answer.contains("rewriting") => {}
            Err(error) => return Err(error),
        }
        waiting.wait(server.place(), "is saving for somebody else")?;
    }
}

/// Waits for the end of a save; `None` when the server broke it off without having failed. What is saved is what
/// the server held when it began: a master that is lost meanwhile changes nothing about it.
fn ended(
    server: &mut Server,
    begun: &Begun,
    waiting: &mut Waiting<'_>,
) -> Result<Option<Saved>, RedisError> {
    loop {
        let info = in_memory(server, waiting)?;
        if last_save(&info) > begun.last_save {
            let not_before = begun.not_before;
            return Ok(Some(Saved { not_before, info }));
        }
        if !info.is_set("rdb_bgsave_in_progress") {
            // A replica that is sent all data anew ends its save, as FLUSHALL does, and counts it as no failure.
            return match info.text("rdb_last_bgsave_status") {
                "ok" => Ok(None),
                _ => Err(RedisError::SaveFailed {
                    place: server.place().to_owned(),
                }),
            };
        }
        waiting.wait(server.place(), "is still saving")?;
    }
}

/// When the server saved last, in seconds since the Unix epoch.
fn last_save(info: &Info) -> i64 {
    info.number("rdb_last_save_time").unwrap_or(0)
}

fn at_work(info: &Info) -> Option<&'static str> {
    if info.is_set("rdb_bgsave_in_progress") {
        Some("is saving for somebody else")
    } else if info.is_set("aof_rewrite_in_progress") {
        Some("is rewriting its append-only file")
    } else {
        None
    }
}

/// The second in which the server certainly is, since the Unix epoch: what it calls now, less the lag of the
/// coarse clock by which it dates its files.
fn clock(server: &mut Server, info: &Info) -> Result<i64, RedisError> {
    let micros = match info.number("server_time_usec") {
        Some(micros) => micros,
        None => {
            let answer = server.call(&["TIME"])?;
            let part = |i: usize| answer.get(i).and_then(|text| text.parse::<i64>().ok());
            part(0).unwrap_or(0) * 1_000_000 + part(1).unwrap_or(0)
        }
    };
    Ok((micros - COARSE_CLOCK_LAG_MICROS).max(0) / 1_000_000)
}
