//! Whether a backup is there, not empty, not implausibly small, and not too old. Pure: it judges the
//! manifest, beside those of earlier backups.

use crate::model::records::{Check, Manifest};
use crate::model::strategy::PresenceCheck;
use crate::verify::{Against, Finding};
use jiff::Timestamp;

/// How many earlier backups a size is compared with.
pub const HISTORY_LEN: usize = 5;

/// Judges `manifest`. `earlier` are the sizes in bytes of complete earlier backups of the same component
/// and method, newest first; only the first five count.
pub fn presence(
    settings: &PresenceCheck,
    manifest: &Manifest,
    earlier: &[u64],
    as_of: Timestamp,
) -> Finding {
    let bytes = manifest.stats.bytes;
    let usual = median(earlier);
    let mut against = Against::default();
    if bytes < settings.min_size.0 {
        against.push(format!(
            "it holds {bytes} bytes, at least {} are wanted",
            settings.min_size.0
        ));
    }
    if let Some(usual) =
        usual.filter(|usual| shrink_percent(bytes, *usual) > settings.max_shrink.0.into())
    {
        against.push(format!(
            "it holds {bytes} bytes, {}% less than the median {usual} of the last {}; the limit is {}%",
            shrink_percent(bytes, usual),
            earlier.len().min(HISTORY_LEN),
            settings.max_shrink.0,
        ));
    }
    if let Some(fresh) = settings
        .fresh
        .filter(|fresh| manifest.started < fresh.before(as_of))
    {
        against.push(format!(
            "it was begun at {}, more than {fresh} ago",
            manifest.started
        ));
    }
    let facts = [("bytes", bytes.into()), ("median_bytes", usual.into())];
    Finding::new(
        Check::Presence,
        facts,
        &against,
        format!("it holds {bytes} bytes"),
    )
}

fn median(sizes: &[u64]) -> Option<u64> {
    let mut sizes = sizes[..sizes.len().min(HISTORY_LEN)].to_vec();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied()
}

/// By how many whole percent `bytes` is smaller than `usual`.
fn shrink_percent(bytes: u64, usual: u64) -> u64 {
    let lost = u128::from(usual.saturating_sub(bytes)) * 100;
    lost.checked_div(usual.into())
        .map_or(0, |percent| percent as u64)
}
