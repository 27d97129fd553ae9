//! What stood in the previous version of a file where something new stands now. Both versions are lists of
//! blobs; what is in both keeps them side by side, and what lies between is what was replaced. Only a stretch of
//! the previous list is in memory. Pure but for where the list comes from.

use crate::model::ids::BlobId;
use crate::repository::format::index::BlobPrefix;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// So much of the previous list is looked through for what a blob is in the new one.
const AHEAD: usize = 64 << 10;
/// A blob that is no further away is where it is looked for.
const NEAR: u64 = 1024;
/// A run that replaced more than this is no run, but another part of the file.
const REPLACED_MAX_BYTES: u64 = 256 << 20;
/// On both sides of what is thought to be replaced, where that is not known.
const MARGIN_BYTES: u64 = 16 << 10;

/// A blob of a list, and its length.
pub(crate) type Listed = (BlobId, u32);

/// The next part of the previous list; empty at its end.
pub(crate) type NextPart = Box<dyn FnMut() -> Vec<Listed> + Send>;

/// The previous version of a file, beside the one that is read now.
pub(crate) struct PreviousVersion {
    more: NextPart,
    is_whole: bool,
    /// A stretch of the list.
    stretch: VecDeque<Listed>,
    /// Number in the list of the first one in the stretch.
    first: u64,
    /// The first place of each blob of the stretch.
    places: HashMap<BlobPrefix, u64>,
    /// What follows the blob that was in both last.
    next: u64,
}

/// Blobs of the new version, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: BlobId,
    pub(crate) len: u32,
    /// It is to be stored.
    pub(crate) is_new: bool,
}

/// New blobs that follow one another and are to be one frame, and what they replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    /// Their numbers.
    pub(crate) blobs: Range<usize>,
    pub(crate) bases: Vec<BlobId>,
}

impl PreviousVersion {
    pub(crate) fn new(more: NextPart) -> Self {
        Self {
            more,
            is_whole: false,
            stretch: VecDeque::new(),
            first: 0,
            places: HashMap::new(),
            next: 0,
        }
    }

    /// Parts the new ones of `blobs`, which follow on those of the last call, into groups of up to `group_len`
    /// bytes; a longer blob is one by itself.
    pub(crate) fn groups(&mut self, blobs: &[Named], group_len: u64) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut at = 0;
        while at < blobs.len() {
            if !blobs[at].is_new {
                if let Some(place) = self.place(&blobs[at..]) {
                    self.next = place + 1;
                }
                at += 1;
                continue;
            }
            let new = blobs[at..].iter().take_while(|blob| blob.is_new).count();
            let run = at..at + new;
            let then = self.place(&blobs[run.end..]);
            self.run(blobs, run, then, group_len, &mut groups);
            at += new;
        }
        groups
    }

    /// Groups of one run of new blobs, with known ones or the end of `blobs` on both sides.
    fn run(
        &mut self,
        blobs: &[Named],
        run: Range<usize>,
        then: Option<u64>,
        group_len: u64,
        groups: &mut Vec<Group>,
    ) {
        let new_bytes = len_of(&blobs[run.clone()]);
        let until = then.filter(|then| *then >= self.next);
        let until = until.filter(|then| self.bytes(self.next..*then) <= REPLACED_MAX_BYTES);
        let is_known = until.is_some();
        let old = match until {
            Some(until) => self.next..until,
            None => self.next..self.reaching(self.next, new_bytes),
        };
        let old_bytes = self.bytes(old.clone());
        let slack = match is_known {
            true => MARGIN_BYTES + old_bytes.abs_diff(new_bytes).min(8 * MARGIN_BYTES),
            false => MARGIN_BYTES,
        };
        // Where something in the run stood: as far into what was replaced as it is into the run.
        let scale = |bytes: u64| match is_known {
            true => {
                (u128::from(bytes) * u128::from(old_bytes) / u128::from(new_bytes.max(1))) as u64
            }
            false => bytes,
        };
        let (mut start, mut done) = (run.start, 0);
        while start < run.end {
            let mut len = u64::from(blobs[start].len);
            let mut end = start + 1;
            while end < run.end && len + u64::from(blobs[end].len) <= group_len {
                len += u64::from(blobs[end].len);
                end += 1;
            }
            let from = scale(done).saturating_sub(slack);
            let to = scale(done + len) + slack;
            let bases = self.between(old.clone(), is_known, from..to);
            groups.push(Group {
                blobs: start..end,
                bases,
            });
            (start, done) = (end, done + len);
        }
        if !is_known {
            self.next = old.end;
        }
    }

    /// Blobs of the previous list that lie so far, in bytes, from the start of `old`. Where the end of what was
    /// replaced is not known, those after it count too.
    fn between(&mut self, old: Range<u64>, is_known: bool, bytes: Range<u64>) -> Vec<BlobId> {
        let (mut bases, mut at, mut number) = (Vec::new(), 0, old.start);
        while at < bytes.end && (!is_known || number < old.end) {
            let Some((id, len)) = self.listed(number) else {
                break;
            };
            at += u64::from(len);
            number += 1;
            if at > bytes.start && !bases.contains(&id) {
                bases.push(id);
            }
        }
        bases
    }

    /// The number after those that take `bytes` from `from` on.
    fn reaching(&mut self, from: u64, bytes: u64) -> u64 {
        let (mut number, mut len) = (from, 0);
        while len < bytes
            && let Some((_, more)) = self.listed(number)
        {
            len += u64::from(more);
            number += 1;
        }
        number
    }

    fn bytes(&self, range: Range<u64>) -> u64 {
        let start = range.start.saturating_sub(self.first) as usize;
        let end = (range.end.saturating_sub(self.first) as usize).min(self.stretch.len());
        let listed = self.stretch.range(start.min(end)..end);
        listed.map(|(_, len)| u64::from(*len)).sum()
    }

    fn listed(&mut self, number: u64) -> Option<Listed> {
        self.read_ahead();
        let at = number.checked_sub(self.first)?;
        self.stretch.get(at as usize).copied()
    }

    /// Where the first of these is in the previous list. Far from where the last one was, the next must be
    /// there too: a blob that comes again and again says little about where this is.
    fn place(&mut self, blobs: &[Named]) -> Option<u64> {
        self.read_ahead();
        let place_of = |blob: &Named| self.places.get(&BlobPrefix::from(&blob.id)).copied();
        let place = place_of(blobs.first()?)?;
        let is_near = place.abs_diff(self.next) <= NEAR;
        let follows = || blobs.get(1).and_then(place_of) == Some(place + 1);
        (is_near || follows()).then_some(place)
    }

    /// Drops what was passed, and reads on.
    fn read_ahead(&mut self) {
        let passed = self.next.saturating_sub(self.first) as usize;
        if passed > AHEAD / 4 {
            for (id, _) in self.stretch.drain(..passed.min(self.stretch.len())) {
                let prefix = BlobPrefix::from(&id);
                if self.places.get(&prefix) == Some(&self.first) {
                    self.places.remove(&prefix);
                }
                self.first += 1;
            }
        }
        while !self.is_whole && self.stretch.len() < AHEAD {
            let part = (self.more)();
            self.is_whole = part.is_empty();
            for (id, len) in part {
                let number = self.first + self.stretch.len() as u64;
                self.places.entry(BlobPrefix::from(&id)).or_insert(number);
                self.stretch.push_back((id, len));
            }
        }
    }
}

fn len_of(blobs: &[Named]) -> u64 {
    blobs.iter().map(|blob| u64::from(blob.len)).sum()
}

#[cfg(test)]
mod tests {
    use crate::model::ids::BlobId;
    use crate::repository::writer::previous::{Group, Named, PreviousVersion};

    const LEN: u32 = 16 << 10;

    fn id(n: u8) -> BlobId {
        BlobId([n; 32])
    }

    /// The groups of one call. Numbers from 100 on are new.
    fn groups(old: &[u8], new: &[u8]) -> Vec<Group> {
        let mut old = Some(old.iter().map(|n| (id(*n), LEN)).collect());
        let mut previous = PreviousVersion::new(Box::new(move || old.take().unwrap_or_default()));
        let named = |n: &u8| Named {
            id: id(*n),
            len: LEN,
            is_new: *n >= 100,
        };
        let new: Vec<Named> = new.iter().map(named).collect();
        previous.groups(&new, 4 * u64::from(LEN))
    }

    fn bases(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
        let first = |group: Group| group.bases.iter().map(|id| id.0[0]).collect();
        groups(old, new).into_iter().map(first).collect()
    }

    #[test]
    fn new_blobs_stand_on_what_lay_between_the_same_neighbours() {
        assert_eq!(bases(&[1, 2, 3, 4, 5], &[1, 100, 4, 5]), [[2, 3]]);
        assert_eq!(bases(&[1, 2, 3], &[100, 2, 101]), [[1], [3]]);
    }

    #[test]
    fn what_was_added_between_neighbours_stands_on_nothing() {
        assert_eq!(bases(&[1, 2], &[1, 100, 2]), [[0_u8; 0]]);
    }

    #[test]
    fn without_a_neighbour_that_follows_position_decides() {
        assert_eq!(bases(&[1, 2, 3, 4, 5], &[1, 100, 101]), [[2, 3, 4]]);
    }

    #[test]
    fn one_blob_that_is_far_away_does_not_mislead() {
        let far: Vec<BlobId> = (0..3000_u32)
            .map(|n| {
                let mut id = [7; 32];
                id[..4].copy_from_slice(&n.to_le_bytes());
                BlobId(id)
            })
            .collect();
        let mut old = Some(far.iter().map(|id| (*id, LEN)).collect());
        let mut previous = PreviousVersion::new(Box::new(move || old.take().unwrap_or_default()));
        let named = |id, is_new| Named {
            id,
            len: LEN,
            is_new,
        };
        let new = [
            named(far[0], false),
            named(far[2500], false),
            named(far[1], false),
            named(id(100), true),
            named(far[3], false),
        ];
        let groups = previous.groups(&new, 4 * u64::from(LEN));
        assert_eq!(groups[0].bases, [far[2]]);
    }

    #[test]
    fn a_long_run_is_parted_and_each_part_stands_on_its_part() {
        let old: Vec<u8> = (1..=20).collect();
        let new: Vec<u8> = [1].into_iter().chain(100..118).chain([20]).collect();
        let bases = bases(&old, &new);
        assert_eq!(bases.len(), 5);
        assert_eq!(bases[0], [2, 3, 4, 5, 6]);
        assert_eq!(bases[2], [9, 10, 11, 12, 13, 14]);
        assert!(bases.iter().flatten().all(|n| (2..20).contains(n)));
    }
}
