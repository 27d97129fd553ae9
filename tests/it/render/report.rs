//! What a run came to, in words and as JSON that keeps to its schema.

use crate::render::outputs::golden;
use crate::render::sample::{self, at, id};
use crate::render::schema::breaches;
use ccb::model::ids::{Digest, RunId};
use ccb::plan::StepId;
use ccb::plan::report::{Done, Failure, FailureKind, Outcome, RunReport, StepReport};
use ccb::render::{Look, report};
use serde_json::{Value, json};

/// The run of the rich plan, in which every step did what it says.
fn complete() -> RunReport {
    let plan = sample::rich();
    let steps = plan.steps.iter().enumerate().map(|(nth, step)| StepReport {
        id: step.id,
        address: step.address.clone(),
        verb: step.action.verb().into(),
        what: report::what(&plan, step),
        outcome: Outcome::Done(Done {
            backup: Some(id(0xd0 + nth as u8)),
            read_bytes: if step.action.verb() == "back up" {
                431_000_000
            } else {
                0
            },
            stored_bytes: if step.action.is_destructive() {
                0
            } else {
                39_700_000
            },
            note: if step.action.verb() == "verify" {
                "42 files compared".into()
            } else {
                String::new()
            },
            ..Done::default()
        }),
        took_ms: 46_000,
    });
    RunReport {
        run: RunId([0x01; 16]),
        config: Digest([0xb5; 32]),
        started: at("2026-11-22T02:20:01Z"),
        finished: at("2026-11-22T02:21:55Z"),
        interrupted: false,
        steps: steps.collect(),
    }
}

/// The same run with a backup that left something out, a copy that failed, and what waited for it.
fn incomplete() -> RunReport {
    let mut run = complete();
    if let Outcome::Done(done) = &mut run.steps[1].outcome {
        done.left_out = (0..12)
            .map(|n| format!("read file `a{n}\x1b[2J`: permission denied"))
            .collect();
        done.left_out_count = 15;
    }
    run.steps[3].outcome = Outcome::Failed(Failure {
        chain: vec![
            "put packs/51".into(),
            "403 AccessDenied\nafter 4 attempts".into(),
        ],
        kind: FailureKind::Unreachable,
    });
    for step in &mut run.steps[7..12] {
        step.outcome = Outcome::Skipped {
            because_of: StepId(4),
        };
    }
    run.steps[12].outcome = Outcome::NotReached;
    run
}

fn whole(run: &RunReport) -> String {
    let plan = sample::rich();
    let mut out = String::new();
    for (step, done) in plan.steps.iter().zip(&run.steps) {
        out += &format!(
            "{}\n",
            report::start_line(run.started, &plan, step, &Look::PLAIN)
        );
        out += &format!("{}\n", report::run_line(run.finished, done, &Look::PLAIN));
    }
    out + &report::summary(run, &Look::PLAIN)
}

#[test]
fn a_run_reads_well_complete_and_incomplete() {
    golden("report_complete.txt", &whole(&complete()));
    golden("report_incomplete.txt", &whole(&incomplete()));
}

#[test]
fn only_a_complete_run_is_called_complete() {
    assert!(
        report::summary(&complete(), &Look::PLAIN)
            .starts_with("Apply complete! 1 backed up, 3 copied, ")
    );
    let mut interrupted = complete();
    interrupted.interrupted = true;
    let mut left_out = complete();
    left_out.steps = incomplete().steps[..3].to_vec();
    for run in [incomplete(), interrupted, left_out] {
        let text = report::summary(&run, &Look::PLAIN);
        assert!(
            text.contains("Apply incomplete! ") && !text.contains("Apply complete!"),
            "{text}"
        );
    }
}

#[test]
fn no_message_of_a_program_moves_the_cursor_or_adds_a_line() {
    let text = whole(&incomplete());
    assert!(!text.contains('\x1b'), "{text}");
    assert!(
        text.contains("403 AccessDenied\\nafter 4 attempts"),
        "{text}"
    );
}

#[test]
fn the_json_of_a_run_keeps_to_its_schema() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/report.v1.json")).unwrap();
    for run in [complete(), incomplete()] {
        let text = report::json(&run);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            breaches(&schema, &schema, &value, "report"),
            Vec::<String>::new()
        );
        assert_eq!(serde_json::from_str::<RunReport>(&text).unwrap(), run);
    }
    let mut wrong: Value = serde_json::from_str(&report::json(&complete())).unwrap();
    wrong["steps"][0]["outcome"] = json!({"outcome": "done"});
    wrong["surprise"] = json!(1);
    assert_eq!(breaches(&schema, &schema, &wrong, "report").len(), 2);
}
