//! What is asked of a server does not grow with what is stored, save for the pages of listings.

use crate::cli::bucket::{expect, in_bucket};
use crate::support::s3::Server;
use std::path::Path;

const PLAN: &[&str] = &["plan", "plan.kdl"];
const BACK_UP: &[&str] = &["backup", "plan.kdl", "data"];

/// How many requests for objects a command makes: listings are of the bucket.
fn requests(server: &Server, at: &Path, arguments: &[&str]) -> Vec<String> {
    let before = server.asked().len();
    expect(at, 0, arguments);
    let mut asked = server.asked().split_off(before);
    asked.retain(|one| one.contains(" production/"));
    asked
}

#[test]
fn a_plan_and_an_unchanged_backup_ask_for_as_much_with_many_backups_stored_as_with_few() {
    let server = Server::start();
    let folder = in_bucket(&server);
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let stored = |count: usize| {
        for _ in 0..count {
            expect(at, 0, BACK_UP);
        }
        expect(at, 0, PLAN);
        let planned = requests(&server, at, PLAN);
        let backed_up = requests(&server, at, BACK_UP);
        (planned, backed_up)
    };
    let (planned, backed_up) = stored(2);
    // With those that were counted there are four then.
    let (planned_later, backed_up_later) = stored(12);
    assert_eq!(
        planned.len(),
        planned_later.len(),
        "{planned:#?} {planned_later:#?}"
    );
    assert_eq!(
        backed_up.len(),
        backed_up_later.len(),
        "{backed_up:#?} {backed_up_later:#?}"
    );
}
