//! The checks of a backup: each passes on a good one and fails on the damage that it is for.

mod files;
mod postgres;
mod postgres_given;
mod presence;
mod redis;
mod temporary;

use ccb::verify::Finding;

fn refused(finding: &Finding, why: &str) {
    assert!(!finding.passed, "{finding:?}");
    assert!(finding.message.contains(why), "{}", finding.message);
}
