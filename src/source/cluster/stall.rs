//! Decides when a base backup that does not go on is waited for no longer. Pure: what is seen comes in.

use crate::model::wal::Archiver;
use crate::source::cluster::base::archiving_fails;
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// A time in which more was waited for and nothing came.
pub(super) struct Stall {
    /// What had come before.
    pub(super) bytes: u64,
    /// Since when nothing came and nothing was archived.
    since: Instant,
    archived: Option<String>,
    /// When archiving failed, as it was first seen.
    failed_at: Option<Timestamp>,
}

/// Why a stall is not waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The server fails to archive.
    Fails,
    /// Nothing has happened for so long.
    Silent(Duration),
}

impl Stall {
    pub(super) fn new(bytes: u64, since: Instant) -> Self {
        Self {
            bytes,
            since,
            archived: None,
            failed_at: None,
        }
    }

    /// Why it is to be waited for no longer; `archiver` is `None` when the server does not answer.
    pub(super) fn look(
        &mut self,
        archiver: Option<&Archiver>,
        now: Instant,
        limit: Duration,
    ) -> Option<Why> {
        if let Some(archiver) = archiver
            && archiver.last_archived != self.archived
        {
            self.archived = archiver.last_archived.clone();
            (self.since, self.failed_at) = (now, None);
        }
        let failing = archiver.filter(|archiver| archiver.is_failing());
        let failed_at = failing.and_then(|archiver| archiver.last_failed_at);
        match self.failed_at {
            // It tries again for as long as it fails: once may have been an accident.
            Some(before) if failed_at.is_some_and(|at| at > before) => return Some(Why::Fails),
            Some(_) => {}
            None => self.failed_at = failed_at,
        }
        // Before it sends anything it writes a checkpoint, which takes what it takes.
        let may_be_checkpoint = self.bytes == 0 && archiver.is_some();
        let waited = now.duration_since(self.since);
        match waited >= limit && !may_be_checkpoint {
            true if failing.is_some() => Some(Why::Fails),
            true => Some(Why::Silent(waited)),
            false => None,
        }
    }
}

impl Why {
    /// What an operator has to know; `place` is the server.
    pub(super) fn words(&self, place: &str, archiver: Option<&Archiver>) -> String {
        match (self, archiver) {
            (Self::Fails, Some(archiver)) => archiving_fails(archiver),
            (Self::Silent(waited), Some(archiver)) => format!(
                "{place} has sent nothing and archived no WAL for {} s (last_archived_wal in pg_stat_archiver is {}), and a base backup waits at its end for its WAL: see whether archive_command hangs, and set archive_command = 'ccb wal push PLANFILE COMPONENT %p'; if it does not, whether `via` hands on what the server sends",
                waited.as_secs(),
                archiver.last_archived.as_deref().unwrap_or("empty"),
            ),
            (Self::Silent(waited), None) => format!(
                "{place} has sent nothing for {} s and does not answer: see whether it runs, and whether the network or `via` still leads to it",
                waited.as_secs()
            ),
            (Self::Fails, None) => "the server fails to archive its WAL".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::wal::Archiver;
    use crate::source::cluster::stall::{Stall, Why};
    use jiff::Timestamp;
    use std::time::{Duration, Instant};

    /// What was archived last, and seconds at which it was archived and at which archiving failed.
    fn archiver(last: &str, archived_at: i64, failed_at: i64) -> Option<Archiver> {
        let at = |second: i64| (second > 0).then(|| Timestamp::from_second(second).unwrap());
        Some(Archiver {
            current: None,
            last_archived: Some(last.to_owned()),
            last_archived_at: at(archived_at),
            last_failed: None,
            last_failed_at: at(failed_at),
        })
    }

    /// What each look at a stall of `bytes` bytes says, a minute after the one before it.
    fn looks(bytes: u64, archivers: &[Option<Archiver>]) -> Vec<Option<Why>> {
        let began = Instant::now();
        let mut stall = Stall::new(bytes, began);
        let limit = Duration::from_secs(600);
        (1..)
            .zip(archivers)
            .map(|(minute, archiver)| {
                let now = began + Duration::from_secs(60 * minute);
                stall.look(archiver.as_ref(), now, limit)
            })
            .collect()
    }

    #[test]
    fn a_failure_to_archive_is_no_accident_when_it_fails_again() {
        let failing = |at| archiver("A", 10, at);
        let said = looks(7, &[failing(20), failing(20), failing(80)]);
        assert_eq!(said, [None, None, Some(Why::Fails)]);
        let recovered = [failing(20), archiver("B", 30, 20), archiver("B", 30, 90)];
        assert_eq!(looks(7, &recovered), [None, None, None]);
    }

    #[test]
    fn a_server_that_neither_sends_nor_archives_is_given_up_after_ten_minutes() {
        let silent: Vec<_> = (0..11).map(|_| archiver("A", 10, 0)).collect();
        let ten = Some(Why::Silent(Duration::from_secs(600)));
        assert_eq!(looks(7, &silent)[9..], [None, ten]);
        assert!(
            looks(0, &silent).iter().all(Option::is_none),
            "a checkpoint"
        );
        let fails: Vec<_> = (0..11).map(|_| archiver("A", 10, 20)).collect();
        assert_eq!(looks(7, &fails)[10], Some(Why::Fails));
        let goes_on = (0..30).map(|minute| archiver(&format!("{}", minute / 5), 10, 0));
        let goes_on: Vec<_> = goes_on.collect();
        assert!(looks(7, &goes_on).iter().all(Option::is_none));
        let away = vec![None; 10];
        let ten = Some(Why::Silent(Duration::from_secs(600)));
        assert_eq!(looks(0, &away)[8..], [None, ten]);
    }
}
