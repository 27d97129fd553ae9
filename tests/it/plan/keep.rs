//! Keep rules, against tables and against a second implementation that only counts and sorts texts.

use crate::support::facts::{backup_id, manifest, rule, time};
use ccb::model::records::Manifest;
use ccb::model::strategy::{Keep, KeepRule, Method, Pick};
use ccb::model::units::{Day, Period, Weekday};
use ccb::plan::KeptBecause;
use ccb::plan::keep::{Subject, Taken, Verdict, judge};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::{ProptestConfig, Strategy as _, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, BTreeSet};

const NOW: &str = "2026-11-22T02:07Z";

fn judged(rules: &[KeepRule], backups: &[Manifest], zone: &TimeZone) -> Vec<Verdict> {
    let subjects: Vec<Subject> = backups
        .iter()
        .map(|backup| Subject::new(Taken::from(backup), false, false, zone))
        .collect();
    judge(rules, &subjects, time(NOW))
}

/// A dump every day at 02:00, `days` of them, the newest on 2026-11-22; without those days ago.
fn daily_dumps(days: i64, without: &[i64]) -> Vec<Manifest> {
    let ago = (0..days).rev().filter(|ago| !without.contains(ago));
    ago.map(|ago| {
        let started = time("2026-11-22T02:00Z") - SignedDuration::from_hours(24 * ago);
        let id = backup_id(u32::try_from(ago).unwrap());
        manifest(id, "db", Method::Dump, &started.to_string())
    })
    .collect()
}

fn weekly(count: u32) -> Keep {
    let on = Day::Week(Weekday::Sunday);
    Keep::Weekly {
        count,
        on,
        pick: Pick::First,
    }
}

fn monthly(count: u32) -> Keep {
    Keep::Monthly {
        count,
        on: Day::Month(1),
        pick: Pick::First,
    }
}

fn daily(count: u32) -> Keep {
    Keep::Daily {
        count,
        pick: Pick::Last,
    }
}

fn kept_days(rules: &[Keep], backups: &[Manifest]) -> Vec<String> {
    let rules: Vec<KeepRule> = rules.iter().map(|keep| rule(*keep)).collect();
    let verdicts = judged(&rules, backups, &TimeZone::UTC);
    let kept = backups
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| verdict.is_kept());
    kept.map(|(backup, _)| backup.started.strftime("%m-%d").to_string())
        .collect()
}

#[test]
fn rules_keep_the_newest_buckets_that_have_a_backup() {
    // 2026-11-22, 11-15, 11-08 and 11-01 are Sundays; no backup on the 8th, 14 days ago.
    let gap = daily_dumps(60, &[14]);
    let table: [(&[Keep], &[&str]); 6] = [
        (&[Keep::Last(2)], &["11-21", "11-22"]),
        (&[daily(3)], &["11-20", "11-21", "11-22"]),
        (&[weekly(4)], &["11-01", "11-09", "11-15", "11-22"]),
        (&[monthly(3)], &["09-24", "10-01", "11-01"]),
        (&[Keep::Within(Period::days(2))], &["11-21", "11-22"]),
        (&[daily(1), weekly(2)], &["11-15", "11-22"]),
    ];
    for (rules, days) in table {
        assert_eq!(kept_days(rules, &gap), days, "{rules:?}");
    }
}

#[test]
fn an_outage_never_ages_out_the_last_good_backups() {
    let old = daily_dumps(60, &(0..30).collect::<Vec<_>>());
    assert_eq!(kept_days(&[daily(2)], &old), ["10-22", "10-23"]);
    assert_eq!(kept_days(&[Keep::Within(Period::days(2))], &old), [""; 0]);
}

#[test]
fn a_backup_carries_every_reason_and_what_gave_it_up() {
    let backups = daily_dumps(60, &[]);
    let rules = [rule(daily(14)), rule(weekly(2))];
    let verdicts = judged(&rules, &backups, &TimeZone::UTC);
    let bucket = |keep, text: &str| KeptBecause::Rule {
        keep,
        bucket: Some(text.into()),
    };
    let newest = verdicts.last().unwrap();
    assert_eq!(
        newest.because,
        [
            bucket(daily(14), "2026-11-22"),
            bucket(weekly(2), "2026-11-22")
        ]
    );
    // 15 days ago was a Saturday: only `daily` would have kept it, and that ends on the 9th.
    let given_up = &verdicts[verdicts.len() - 16];
    assert_eq!(given_up.was, Some((daily(14), time("2026-11-09T00:00Z"))));
}

#[test]
fn a_hard_cap_outweighs_and_alone_keeps_the_rest() {
    let backups = daily_dumps(5, &[]);
    let cap = Keep::Expire(Period::days(3));
    assert_eq!(kept_days(&[cap], &backups), ["11-20", "11-21", "11-22"]);
    assert_eq!(
        kept_days(&[cap, Keep::All(None)], &backups),
        ["11-20", "11-21", "11-22"]
    );
}

#[test]
fn incomplete_and_future_backups_fill_no_bucket() {
    let mut backups = daily_dumps(4, &[]);
    backups[2].complete = false;
    backups.push(manifest(
        backup_id(99),
        "db",
        Method::Dump,
        "2026-11-23T02:00Z",
    ));
    assert_eq!(kept_days(&[Keep::Last(2)], &backups), ["11-20", "11-22"]);
}

#[test]
fn point_in_time_recovery_keeps_the_newest_older_base_and_all_since() {
    let backups: Vec<Manifest> = [
        ("2026-11-01T01:00Z", Method::Base),
        ("2026-11-07T01:00Z", Method::Wal),
        ("2026-11-08T01:00Z", Method::Base),
        ("2026-11-10T01:00Z", Method::Wal),
        ("2026-11-11T01:00Z", Method::Dump),
        ("2026-11-20T01:00Z", Method::Base),
    ]
    .iter()
    .map(|(started, method)| manifest(backup_id(1), "db", *method, started))
    .collect();
    let pitr = Keep::Pitr(Period::days(7));
    assert_eq!(kept_days(&[pitr], &backups), ["11-08", "11-10", "11-20"]);
    // Without a base that is old enough, every base and segment is needed.
    assert_eq!(
        kept_days(&[Keep::Pitr(Period::days(90))], &backups).len(),
        5
    );
}

#[test]
fn wal_with_a_gap_before_it_is_kept_all_the_same() {
    let mut backups: Vec<Manifest> = [
        ("2026-11-14T01:00Z", Method::Base),
        ("2026-11-16T01:00Z", Method::Wal),
        ("2026-11-17T01:00Z", Method::Base),
        ("2026-11-18T01:00Z", Method::Wal),
    ]
    .iter()
    .map(|(started, method)| manifest(backup_id(1), "db", *method, started))
    .collect();
    backups[1].complete = false;
    backups[2].complete = false;
    let pitr = Keep::Pitr(Period::days(3));
    assert_eq!(kept_days(&[pitr], &backups), ["11-14", "11-16", "11-18"]);
}

/// The second implementation: a name for each bucket, then the newest names.
fn naive(keep: &Keep, backups: &[Manifest], zone: &TimeZone) -> BTreeSet<usize> {
    let day = |at: Timestamp| at.to_zoned(zone.clone()).date();
    let walk_back = |at: Timestamp, on: Day| {
        let starts = |d: &jiff::civil::Date| match on {
            Day::Week(weekday) => d.weekday() == weekday.to_jiff(),
            Day::Month(first) => d.day() == first,
        };
        let mut date = day(at);
        while !starts(&date) {
            date -= 1.day();
        }
        date.to_string()
    };
    let (count, pick, name): (u32, Pick, Box<dyn Fn(Timestamp) -> String>) = match *keep {
        Keep::Last(count) => (count, Pick::Last, Box::new(|at| at.to_string())),
        Keep::Hourly { count, pick } => {
            let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%F %H %z").to_string();
            (count, pick, Box::new(local))
        }
        Keep::Daily { count, pick } => (count, pick, Box::new(|at| day(at).to_string())),
        Keep::Weekly { count, on, pick } | Keep::Monthly { count, on, pick } => {
            (count, pick, Box::new(move |at| walk_back(at, on)))
        }
        _ => panic!("not a rule that counts: {keep}"),
    };
    let mut buckets: BTreeMap<String, Vec<(Timestamp, usize)>> = BTreeMap::new();
    for (i, backup) in backups.iter().enumerate() {
        if backup.complete && backup.started <= time(NOW) {
            let bucket = buckets.entry(name(backup.started)).or_default();
            bucket.push((backup.started, i));
        }
    }
    let mut lists: Vec<Vec<(Timestamp, usize)>> = buckets.into_values().collect();
    lists.sort_by_key(|list| std::cmp::Reverse(list[0]));
    let each = lists.iter().take(count as usize).map(|list| match pick {
        Pick::First => list.iter().min().unwrap().1,
        Pick::Last => list.iter().max().unwrap().1,
    });
    each.collect()
}

fn any_rule() -> impl proptest::strategy::Strategy<Value = Keep> {
    let pick = || {
        prop_oneof![
            proptest::strategy::Just(Pick::First),
            proptest::strategy::Just(Pick::Last)
        ]
    };
    prop_oneof![
        (1..9_u32).prop_map(Keep::Last),
        (1..9_u32, pick()).prop_map(|(count, pick)| Keep::Hourly { count, pick }),
        (1..9_u32, pick()).prop_map(|(count, pick)| Keep::Daily { count, pick }),
        (1..6_u32, 0..7_usize, pick()).prop_map(|(count, on, pick)| {
            let on = Day::Week(Weekday::ALL[on]);
            Keep::Weekly { count, on, pick }
        }),
        (1..6_u32, 1..29_i8, pick()).prop_map(|(count, on, pick)| {
            let on = Day::Month(on);
            Keep::Monthly { count, on, pick }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn both_implementations_keep_the_same(
        keep in any_rule(),
        zone in prop_oneof![
            proptest::strategy::Just("UTC"),
            proptest::strategy::Just("Europe/Paris"),
            proptest::strategy::Just("Pacific/Auckland"),
        ],
        minutes_ago in proptest::collection::btree_map(-2_000..200_000_i64, proptest::bool::weighted(0.9), 0..80),
    ) {
        let zone = TimeZone::get(zone).unwrap();
        let backups: Vec<Manifest> = minutes_ago.iter().rev().map(|(ago, complete)| {
            let started = time(NOW) - SignedDuration::from_mins(*ago);
            let mut backup = manifest(backup_id(1), "db", Method::Dump, &started.to_string());
            backup.complete = *complete;
            backup
        }).collect();
        let verdicts = judged(&[rule(keep)], &backups, &zone);
        let kept: BTreeSet<usize> = (0..backups.len()).filter(|i| verdicts[*i].is_kept()).collect();
        prop_assert_eq!(kept, naive(&keep, &backups, &zone));
    }
}
