//! Presence: sizes and ages, as a table.

use crate::restore::given::{back_up, write};
use ccb::model::strategy::PresenceCheck;
use ccb::model::units::{Percent, Period, Size};
use ccb::verify::presence::presence;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_large_enough_compared_with_the_last_five_and_fresh() {
    let source = TempDir::new().expect("a directory");
    write(source.path(), "a", &[1; 400]);
    let manifest = back_up(source.path()).await.manifest;
    let settings = |min_size, max_shrink, fresh| PresenceCheck {
        min_size: Size(min_size),
        max_shrink: Percent(max_shrink),
        fresh,
    };
    let soon = Period::hours(1).after(manifest.started);
    let passes =
        |settings: &PresenceCheck, earlier: &[u64]| presence(settings, &manifest, earlier, soon);
    let table: [(PresenceCheck, &[u64], bool); 11] = [
        (settings(1, 50, None), &[], true),
        (settings(400, 50, None), &[], true),
        (settings(401, 50, None), &[], false),
        (settings(1, 50, None), &[800], true),
        (settings(1, 50, None), &[817], false),
        (
            settings(1, 50, None),
            &[9000, 9000, 400, 400, 400, 9000, 9000],
            true,
        ),
        (
            settings(1, 50, None),
            &[9000, 9000, 9000, 400, 400, 400, 400],
            false,
        ),
        (settings(1, 0, None), &[400, 100], true),
        (settings(1, 100, None), &[u64::MAX], true),
        (settings(1, 50, Some(Period::hours(1))), &[], true),
        (settings(1, 50, Some(Period::minutes(59))), &[], false),
    ];
    for (settings, earlier, passed) in table {
        let found = passes(&settings, earlier);
        assert_eq!(
            found.passed, passed,
            "{settings:?} {earlier:?}: {}",
            found.message
        );
    }
    let found = passes(&settings(401, 50, None), &[1000]);
    assert_eq!(
        found.message,
        "it holds 400 bytes, at least 401 are wanted, and 1 more"
    );
    assert_eq!(found.facts["failure_count"], 2);
}
