//! Clocks that are wrong by years, in both directions, on one run among good ones.

use crate::cli::faults::{APPLY, BACKUP, Ground};
use crate::support::clock::shifted;

fn keeps_everything_through(years: i64) {
    let clock = shifted(years * 365 * 86_400);
    let clock = clock.map(|(name, value)| format!("{name}={value}"));
    let ground = Ground::applied();
    let before = ground.backups();
    for arguments in [APPLY, BACKUP] {
        let (code, said) = ground.run(&["env", &clock[0], &clock[1]], arguments);
        assert!(
            !said.contains("forgotten, 0 pruned") || said.contains(" 0 forgotten"),
            "{said}"
        );
        assert!(
            [Some(0), Some(3)].contains(&code),
            "{years} years: {code:?} {said}"
        );
    }
    let after = ground.backups();
    for id in &before {
        assert!(after.contains(id), "{years} years: {id} is gone");
    }
    ground.nothing_is_lost(&format!("{years} years"));
    // The clock is right again.
    let (code, said) = ground.run(&[], APPLY);
    assert!(
        [Some(0), Some(3)].contains(&code),
        "{years} years: {code:?} {said}"
    );
    let (code, said) = ground.run(&[], BACKUP);
    assert_eq!(code, Some(0), "{years} years: {said}");
    ground.nothing_is_lost(&format!("{years} years"));
    let checked = ground.expect(0, &["check", "plan.kdl", "--level", "3"]);
    assert!(checked.contains("No damage found."), "{checked}");
}

#[test]
fn a_clock_ten_years_in_the_past_loses_nothing() {
    keeps_everything_through(-10);
}

#[test]
fn a_clock_ten_years_in_the_future_loses_nothing() {
    keeps_everything_through(10);
}
