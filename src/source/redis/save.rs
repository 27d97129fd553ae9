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

/// What INFO says once the server has loaded its data. A replica must have its master.
pub(crate) fn loaded(server: &mut Server, waiting: &mut Waiting<'_>) -> Result<Info, RedisError> {
    loop {
        let info = server.info()?;
        if info.is_set("loading") {
            let percent = info.text("loading_loaded_perc");
            let state = format!("is still loading its data ({percent}%)");
            waiting.wait(server.place(), &state)?;
            continue;
        }
        if info.text("role") == "slave" && info.text("master_link_status") == "down" {
            let place = server.place().to_owned();
            return Err(RedisError::LostMaster { place });
        }
        return Ok(info);
    }
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
    let last_save = |info: &Info| info.number("rdb_last_save_time").unwrap_or(0);
    let (last_before, not_before) = loop {
        let info = loaded(server, waiting)?;
        // A save that runs already shows an earlier moment, and a new one can not begin beside it.
        if let Some(state) = at_work(&info) {
            waiting.wait(server.place(), state)?;
            continue;
        }
        // The time of the last save is in whole seconds: one that ends within the same second could not
        // be told from the one before.
        let now = clock(server, &info)?;
        if now <= last_save(&info) {
            waiting.wait(server.place(), "has just saved")?;
            continue;
        }
        match server.call(&["BGSAVE"]) {
            Ok(_) => break (last_save(&info), now),
            // Another one was faster.
            Err(RedisError::Answered { answer, .. }) if answer.contains("already in progress") => {}
            Err(RedisError::Answered { answer, .. }) if answer.contains("rewriting") => {}
            Err(error) => return Err(error),
        }
        waiting.wait(server.place(), "is saving for somebody else")?;
    };
    loop {
        let info = loaded(server, waiting)?;
        if last_save(&info) > last_before {
            return Ok(Saved { not_before, info });
        }
        if !info.is_set("rdb_bgsave_in_progress") {
            let place = server.place().to_owned();
            return Err(RedisError::SaveFailed { place });
        }
        waiting.wait(server.place(), "is still saving")?;
    }
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
