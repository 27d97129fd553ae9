//! All WAL of one cluster that is held anywhere, as one thing: what a recovery can follow from a base, where
//! it would come to a gap, and whether a file that is asked for and not there is the end or a hole.

use crate::model::wal::facts::WalFacts;
use crate::model::wal::history::History;
use crate::model::wal::name::{Lsn, SegmentBytes, SegmentName, SystemId, WalName};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is held of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    bytes: SegmentBytes,
    /// By timeline; sorted by first segment, possibly overlapping.
    stretches: BTreeMap<u32, Vec<Stretch>>,
    histories: BTreeMap<u32, History>,
    others: BTreeSet<WalName>,
}

/// Segments that follow one another, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stretch {
    first: u64,
    last: u64,
    archived: Timestamp,
}

/// What a recovery can follow from a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The timeline that it ends on.
    pub timeline: u32,
    /// The last segment that it reaches without a gap; `None`: not even the first is there.
    pub reaches: Option<SegmentName>,
    /// No later moment than this is in what it reaches.
    pub until: Option<Timestamp>,
    /// Stretches that are missing before the end.
    pub gaps: Vec<Gap>,
}

/// Segments that are missing although there are later ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// The first that is missing.
    pub first: SegmentName,
    /// The last that is missing.
    pub last: SegmentName,
    /// How many there are.
    pub count: u64,
    /// When the last one before them was archived; `None`: there is none before.
    pub since: Option<Timestamp>,
}

impl Chain {
    fn on(timeline: u32) -> Self {
        Self {
            timeline,
            reaches: None,
            until: None,
            gaps: Vec::new(),
        }
    }
}

impl Archive {
    /// Joins what is held of `system` in several places; `None` when there is nothing.
    pub fn of<'f>(
        system: SystemId,
        places: impl IntoIterator<Item = &'f WalFacts>,
    ) -> Option<Self> {
        let mut places = places
            .into_iter()
            .filter(|facts| facts.system_identifier == system)
            .peekable();
        let mut archive = Self {
            bytes: places.peek()?.segment_bytes,
            stretches: BTreeMap::new(),
            histories: BTreeMap::new(),
            others: BTreeSet::new(),
        };
        for facts in places {
            for run in &facts.runs {
                let number = |name: &SegmentName| name.number(archive.bytes);
                if let (Some(first), Some(last)) = (number(&run.first), number(&run.last)) {
                    let on = archive.stretches.entry(run.first.timeline).or_default();
                    on.push(Stretch {
                        first,
                        last,
                        archived: run.archived,
                    });
                }
            }
            let histories = facts.histories.iter();
            archive
                .histories
                .extend(histories.map(|history| (history.timeline, history.clone())));
            archive.others.extend(&facts.others);
        }
        for stretches in archive.stretches.values_mut() {
            stretches.sort_unstable();
        }
        Some(archive)
    }

    /// Whether the segment is held.
    pub fn holds(&self, name: &SegmentName) -> bool {
        let number = name.number(self.bytes);
        let is_in = |s: &Stretch| number.is_some_and(|n| s.first <= n && n <= s.last);
        self.on(name.timeline).any(is_in)
    }

    /// Proof that a file which is not there was lost: one that can only have come after it. `None`: as far
    /// as can be known, the log ends before it.
    pub fn comes_later(&self, asked: &WalName) -> Option<WalName> {
        match asked {
            WalName::Segment(asked) => self.later_than(asked),
            // Without it, what is on that timeline would never be found. An archive that began on that
            // timeline has never had it, and nothing before.
            WalName::History(timeline) => {
                let began_before = self.timelines().any(|other| other < *timeline);
                let after = || {
                    let from = self.stretches.range(timeline..).find_map(|(at, s)| {
                        SegmentName::new(*at, s.first()?.first, self.bytes).map(WalName::Segment)
                    });
                    let others = self.others.iter().find(|o| o.timeline() >= *timeline);
                    let histories = self.histories.range(timeline + 1..).next();
                    from.or(others.copied())
                        .or(histories.map(|(other, _)| WalName::History(*other)))
                };
                began_before.then(after).flatten()
            }
            WalName::Partial(_) | WalName::Label(..) => None,
        }
    }

    fn later_than(&self, asked: &SegmentName) -> Option<WalName> {
        let number = asked.number(self.bytes)?;
        let after = self.on(asked.timeline).find(|s| s.last > number);
        let segment = after.and_then(|s| {
            let next = s.first.max(number + 1);
            SegmentName::new(asked.timeline, next, self.bytes).map(WalName::Segment)
        });
        // The label of a backup is written when the log has come that far.
        let other = self.others.iter().find(|other| match other {
            WalName::Partial(s) => {
                s.timeline == asked.timeline && s.number(self.bytes) > Some(number)
            }
            WalName::Label(s, _) => {
                s.timeline == asked.timeline && s.number(self.bytes) >= Some(number)
            }
            WalName::Segment(_) | WalName::History(_) => false,
        });
        // A timeline that left this one further on.
        let child = self.histories.values().find(|history| {
            let mut forks = history.forks.iter();
            forks.any(|f| f.timeline == asked.timeline && self.segment_at(f.until) > number)
        });
        segment
            .or(other.copied())
            .or(child.map(|history| WalName::History(history.timeline)))
    }

    /// The newest timeline that goes on from what a base on `timeline`, consistent at `stop`, has reached.
    pub fn latest(&self, timeline: u32, stop: Lsn) -> u32 {
        let goes_on = |history: &&History| {
            let mut forks = history.forks.iter();
            forks.any(|fork| fork.timeline == timeline && fork.until >= stop)
        };
        let newest = self.histories.values().rfind(goes_on);
        newest.map_or(timeline, |history| history.timeline)
    }

    /// What a recovery that begins with the segment `from` reaches on its way along `target`. `None`: that
    /// timeline does not go on from there.
    pub fn chain(&self, from: &SegmentName, target: u32) -> Option<Chain> {
        let mut chain = Chain::on(target);
        for (timeline, first, last) in self.path(from, target)? {
            self.follow(&mut chain, timeline, first, last);
        }
        Some(chain)
    }

    /// The parts of the way: timeline, first and last segment. The last part ends where all that is held
    /// ends, and is empty when nothing of it is.
    fn path(&self, from: &SegmentName, target: u32) -> Option<Vec<(u32, u64, u64)>> {
        let mut parts = Vec::new();
        let mut first = from.number(self.bytes)?;
        if target != from.timeline {
            let forks = &self.histories.get(&target)?.forks;
            let start = forks.iter().position(|f| f.timeline == from.timeline)?;
            for fork in &forks[start..] {
                let next = self.segment_at(fork.until);
                if next < first {
                    return None;
                }
                if next > first {
                    parts.push((fork.timeline, first, next - 1));
                }
                first = next;
            }
        }
        // At least the first: an archive that does not even hold that has a gap, not an end.
        let last = self.on(target).map(|s| s.last).max();
        if let Some(last) = last.filter(|last| *last >= first) {
            parts.push((target, first, last));
        } else if parts.is_empty() {
            parts.push((target, first, first));
        }
        Some(parts)
    }

    fn follow(&self, chain: &mut Chain, timeline: u32, first: u64, last: u64) {
        let name = |number| SegmentName::new(timeline, number, self.bytes);
        let (mut next, mut since) = (first, chain.until);
        let mut gaps = Vec::new();
        for stretch in self.on(timeline).filter(|s| s.last >= first) {
            if next > last || stretch.first > last {
                break;
            }
            if stretch.first > next {
                gaps.push((next, stretch.first - 1, since));
            }
            if chain.gaps.is_empty() && gaps.is_empty() && stretch.last >= next {
                chain.reaches = name(stretch.last.min(last));
                chain.until = chain.until.max(Some(stretch.archived));
            }
            since = since.max(Some(stretch.archived));
            next = next.max(stretch.last + 1);
        }
        if next <= last {
            gaps.push((next, last, since));
        }
        for (first, last, since) in gaps {
            let count = last - first + 1;
            if let (Some(first), Some(last)) = (name(first), name(last)) {
                chain.gaps.push(Gap {
                    first,
                    last,
                    count,
                    since,
                });
            }
        }
    }

    /// Every stretch that is missing although there is something after it. A timeline begins with the first
    /// segment that is held, with that of the first base on it, or where it left the one before.
    pub fn gaps(&self, bases: &[SegmentName]) -> Vec<Gap> {
        let mut gaps = Vec::new();
        for (timeline, stretches) in &self.stretches {
            let of_bases = bases.iter().filter(|base| base.timeline == *timeline);
            let of_bases = of_bases.filter_map(|base| base.number(self.bytes));
            let held = stretches.iter().map(|s| s.first);
            let begin = held
                .chain(of_bases)
                .chain(self.left_parent_at(*timeline))
                .min();
            let held = stretches.iter().map(|s| s.last);
            let end = held.chain(self.children_need(*timeline)).max();
            if let (Some(first), Some(last)) = (begin, end) {
                let mut chain = Chain::on(*timeline);
                self.follow(&mut chain, *timeline, first, last);
                gaps.extend(chain.gaps);
            }
        }
        gaps
    }

    /// The segment in which a timeline left its parent, if anything of the parent is held.
    fn left_parent_at(&self, timeline: u32) -> Option<u64> {
        let fork = self.histories.get(&timeline)?.forks.last()?;
        let is_held = self.stretches.contains_key(&fork.timeline);
        is_held.then(|| self.segment_at(fork.until))
    }

    /// The last segment that every timeline which left this one needs of it whole.
    fn children_need(&self, timeline: u32) -> Option<u64> {
        let last_forks = self.histories.values().filter_map(|h| h.forks.last());
        let from_here = last_forks.filter(|fork| fork.timeline == timeline);
        let last = from_here.filter_map(|fork| self.segment_at(fork.until).checked_sub(1));
        last.max()
    }

    fn on(&self, timeline: u32) -> impl Iterator<Item = &Stretch> {
        self.stretches.get(&timeline).into_iter().flatten()
    }

    fn timelines(&self) -> impl Iterator<Item = u32> {
        let others = self.others.iter().map(WalName::timeline);
        let histories = self.histories.keys().copied();
        self.stretches
            .keys()
            .copied()
            .chain(others)
            .chain(histories)
    }

    fn segment_at(&self, lsn: Lsn) -> u64 {
        lsn.0 / self.bytes.get()
    }
}

#[cfg(test)]
mod tests {
    use crate::model::wal::{
        Archive, Chain, Gap, History, SegmentBytes, SegmentName, SystemId, WalFacts, WalName,
    };
    use jiff::Timestamp;

    fn name(text: &str) -> WalName {
        text.parse().unwrap()
    }

    fn segment(timeline: u32, number: u64) -> SegmentName {
        SegmentName::new(timeline, number, SegmentBytes::USUAL).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Segments as `(timeline, number)`, each archived in the second of its number.
    fn archive(segments: &[(u32, u64)], histories: &[(u32, &str)], others: &[&str]) -> Archive {
        let names = segments.iter().map(|(timeline, number)| {
            let segment = segment(*timeline, *number);
            (WalName::Segment(segment), at(*number as i64))
        });
        let others = others.iter().map(|other| (name(other), at(0)));
        let system = SystemId(7);
        let mut facts = WalFacts::empty(system, SegmentBytes::USUAL).with(names.chain(others));
        let read = |(timeline, text): &(u32, &str)| History::read(*timeline, text).unwrap();
        facts.histories = histories.iter().map(read).collect();
        let foreign = WalFacts::empty(SystemId(8), SegmentBytes::USUAL)
            .with([(WalName::Segment(segment(1, 99)), at(99))]);
        Archive::of(system, [&facts, &foreign]).unwrap()
    }

    fn later(archive: &Archive, asked: &str) -> Option<String> {
        archive.comes_later(&name(asked)).map(|n| n.to_string())
    }

    fn words(gaps: &[Gap]) -> Vec<String> {
        let words = |gap: &Gap| format!("{} {}", gap.first, gap.count);
        gaps.iter().map(words).collect()
    }

    fn gaps(chain: &Chain) -> Vec<String> {
        words(&chain.gaps)
    }

    #[test]
    fn the_end_of_the_log_is_told_from_a_hole_in_it() {
        let held = archive(&[(1, 2), (1, 3), (1, 6)], &[], &[]);
        assert!(held.holds(&segment(1, 3)) && !held.holds(&segment(1, 4)));
        let fourth = later(&held, "000000010000000000000004");
        assert_eq!(fourth.as_deref(), Some("000000010000000000000006"));
        assert_eq!(later(&held, "000000010000000000000007"), None);
        assert_eq!(later(&held, "00000002.history"), None);
        // A label was written when the log had come that far.
        let labelled = archive(
            &[(1, 2)],
            &[],
            &["000000010000000000000003.00000028.backup"],
        );
        assert!(later(&labelled, "000000010000000000000003").is_some());
        assert_eq!(later(&labelled, "000000010000000000000004"), None);
        // A timeline ends where its half segment says.
        let ended = archive(&[(1, 2)], &[], &["000000010000000000000003.partial"]);
        assert_eq!(later(&ended, "000000010000000000000003"), None);
        let short = archive(&[(1, 2)], &[], &["000000010000000000000004.partial"]);
        assert!(later(&short, "000000010000000000000003").is_some());
    }

    #[test]
    fn a_timeline_that_left_further_on_proves_a_hole() {
        let history = (2, "1\t0/5000148\tx\n");
        let held = archive(&[(1, 2), (2, 5), (2, 6)], &[history], &[]);
        let fourth = later(&held, "000000010000000000000004");
        assert_eq!(fourth.as_deref(), Some("00000002.history"));
        // The old timeline itself may end in the segment that the new one began in.
        assert_eq!(later(&held, "000000010000000000000005"), None);
        assert_eq!(later(&held, "000000020000000000000007"), None);
    }

    #[test]
    fn a_lost_history_is_noticed_and_one_that_never_was_is_not() {
        let lost = archive(&[(1, 4), (2, 5)], &[], &[]);
        let proof = later(&lost, "00000002.history");
        assert_eq!(proof.as_deref(), Some("000000020000000000000005"));
        assert_eq!(later(&lost, "00000003.history"), None);
        let skipped = archive(&[(1, 4)], &[(3, "1\t0/1\tx\n2\t0/2\tx\n")], &[]);
        assert_eq!(
            later(&skipped, "00000002.history").as_deref(),
            Some("00000003.history")
        );
        // This archive began on timeline 2.
        let young = archive(&[(2, 5)], &[], &[]);
        assert_eq!(later(&young, "00000002.history"), None);
    }

    #[test]
    fn a_chain_names_every_gap_and_how_far_it_reaches() {
        let held = archive(&[(1, 2), (1, 3), (1, 6), (1, 9)], &[], &[]);
        let chain = held.chain(&segment(1, 2), 1).unwrap();
        assert_eq!(chain.reaches, Some(segment(1, 3)));
        assert_eq!(chain.until, Some(at(3)));
        assert_eq!(
            gaps(&chain),
            ["000000010000000000000004 2", "000000010000000000000007 2"]
        );
        assert_eq!(chain.gaps[1].since, Some(at(6)));
        let whole = held.chain(&segment(1, 9), 1).unwrap();
        assert_eq!((whole.reaches, whole.gaps), (Some(segment(1, 9)), vec![]));
        let none = held.chain(&segment(1, 10), 1).unwrap();
        assert_eq!(
            (none.reaches, gaps(&none)),
            (None, vec!["00000001000000000000000A 1".to_owned()])
        );
        let first = held.chain(&segment(1, 1), 1).unwrap();
        assert_eq!((first.reaches, first.gaps[0].since), (None, None));
    }

    #[test]
    fn a_chain_goes_from_timeline_to_timeline() {
        let second = (2, "1\t0/5000148\tx\n");
        let third = (3, "1\t0/5000148\tx\n2\t0/7000000\tx\n");
        // The old primary went on by itself, to segment 8.
        let old: Vec<(u32, u64)> = (2..=8).map(|number| (1, number)).collect();
        let all = [&old[..], &[(2, 5), (2, 6), (3, 7), (3, 8)]].concat();
        let held = archive(&all, &[second, third], &[]);
        let start = crate::model::wal::Lsn(0x300_0000);
        assert_eq!(held.latest(1, start), 3);
        assert_eq!(held.latest(2, crate::model::wal::Lsn(0x700_0001)), 2);
        let chain = held.chain(&segment(1, 3), 3).unwrap();
        assert_eq!((chain.reaches, gaps(&chain)), (Some(segment(3, 8)), vec![]));
        let own = held.chain(&segment(1, 3), 1).unwrap();
        assert_eq!(own.reaches, Some(segment(1, 8)));
        // What was written after the fork is on no way to the new timeline.
        assert_eq!(held.chain(&segment(1, 7), 3), None);
        assert_eq!(held.chain(&segment(1, 3), 4), None);
        let holed = archive(&[(1, 3), (2, 5), (2, 6), (3, 8)], &[second, third], &[]);
        let chain = holed.chain(&segment(1, 3), 3).unwrap();
        assert_eq!(
            gaps(&chain),
            ["000000010000000000000004 1", "000000030000000000000007 1"]
        );
    }

    #[test]
    fn every_gap_of_an_archive_is_named() {
        let history = (2, "1\t0/5000148\tx\n");
        let held = archive(&[(1, 2), (1, 4), (2, 6), (2, 8)], &[history], &[]);
        let all = [
            "000000010000000000000003 1",
            "000000020000000000000005 1",
            "000000020000000000000007 1",
        ];
        assert_eq!(words(&held.gaps(&[])), all);
        // A base needs what was written since it began.
        let with_base = words(&held.gaps(&[segment(1, 1)]));
        assert_eq!(with_base[0], "000000010000000000000001 1");
        let short = archive(&[(1, 2), (2, 5)], &[history], &[]);
        assert_eq!(words(&short.gaps(&[])), ["000000010000000000000003 2"]);
        // An archive that began later lacks nothing.
        let young = archive(&[(2, 7), (2, 8)], &[history], &[]);
        assert_eq!(words(&young.gaps(&[])), [""; 0]);
    }
}
