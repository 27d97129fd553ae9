//! A run as lines of JSON: each line keeps to its schema, and together they tell what happened.

use crate::cli::{ccb, expect, given, under};
use crate::render::schema::breaches;
use serde_json::Value;
use std::io::Read;
use std::process::Stdio;

fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(bytes).expect("it is text");
    let schema: Value =
        serde_json::from_str(include_str!("../../../schemas/events.v1.json")).expect("it is JSON");
    let report: Value =
        serde_json::from_str(include_str!("../../../schemas/report.v1.json")).expect("it is JSON");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for line in &lines {
        assert_eq!(
            breaches(&schema, &schema, line, "line"),
            Vec::<String>::new()
        );
        if let Some(of_run) = line.get("report").filter(|it| !it.is_null()) {
            assert_eq!(
                breaches(&report, &report, of_run, "report"),
                Vec::<String>::new()
            );
        }
        if line["type"] == "action_done" {
            let mut step = line.clone();
            for of_line in ["type", "at", "run"] {
                step.as_object_mut().expect("an object").remove(of_line);
            }
            let at = &report["$defs"]["step"];
            assert_eq!(breaches(&report, at, &step, "step"), Vec::<String>::new());
        }
    }
    lines
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["type"].as_str().expect("a type"))
        .collect()
}

#[test]
fn apply_json_streams_what_happens_and_ends_with_the_whole_result() {
    let folder = given();
    let at = folder.path();
    let output = ccb(at, &["apply", "plan.kdl", "--auto-approve", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let lines = lines(&output.stdout);
    let types = types(&lines);
    assert_eq!(types[0], "version");
    assert_eq!(types[types.len() - 1], "summary");
    let count = |what: &str| types.iter().filter(|it| **it == what).count();
    let steps = count("action_done");
    assert!(steps > 5, "{types:?}");
    assert_eq!(count("action_start"), steps);
    let summary = &lines[lines.len() - 1];
    assert_eq!(summary["exit"], 0);
    assert_eq!(summary["counts"]["backed_up"], 1);
    assert_eq!(summary["counts"]["copied"], 1);
    assert_eq!(
        summary["report"]["steps"].as_array().map(Vec::len),
        Some(steps)
    );
    for line in &lines {
        assert_eq!(line["run"], summary["run"]);
    }

    let again = ccb(at, &["apply", "plan.kdl", "--auto-approve", "--json"]);
    let lines = self::lines(&again.stdout);
    assert_eq!(self::types(&lines), ["version", "summary"]);
    assert_eq!(lines[1]["report"], Value::Null);
}

#[test]
fn a_failure_is_a_diagnostic_before_the_summary_on_both_streams() {
    let folder = given();
    let at = folder.path();
    expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--quiet"]);
    let arguments = ["backup", "plan.kdl", "data", "--log-format", "json"];
    let output = ccb(at, &arguments);
    assert_eq!(output.status.code(), Some(0));
    let told = lines(&output.stderr);
    assert!(types(&told).contains(&"action_done"), "{told:?}");

    let mut wrong = under(
        &[],
        at,
        &["apply", "plan.kdl", "--json", "--log-format", "json"],
    );
    let output = wrong.env("KEY", "wrong").output().expect("it starts");
    assert_eq!(output.status.code(), Some(12));
    for stream in [output.stdout, output.stderr] {
        let told = lines(&stream);
        assert_eq!(types(&told), ["version", "diagnostic", "summary"]);
        assert_eq!(told[1]["level"], "error");
        let message = told[1]["message"].as_str().expect("text");
        assert!(
            message.contains("does not open the repository"),
            "{message}"
        );
        assert_eq!(told[2]["exit"], 12);
    }
}

#[test]
fn a_diagnostic_outside_of_a_run_is_a_line_too() {
    let folder = given();
    let output = ccb(folder.path(), &["list", "plan.kdl", "--log-format", "json"]);
    assert_eq!(output.status.code(), Some(10));
    let told = lines(&output.stderr);
    assert_eq!(types(&told), ["diagnostic"]);
    assert_eq!(told[0]["run"], Value::Null);
}

#[test]
fn a_reader_that_goes_away_does_not_stop_the_work_and_nothing_is_said_of_it() {
    let folder = given();
    let at = folder.path();
    for arguments in [
        &["apply", "plan.kdl", "--auto-approve", "--json"][..],
        &["list", "plan.kdl"],
    ] {
        let mut command = under(&[], at, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        drop(child.stdout.take());
        let mut said = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut said).expect("it is text");
        let status = child.wait().expect("it ends");
        assert_eq!(
            (status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
    expect(at, 0, &["restore", "plan.kdl", "data", "--to", "back"]);
}

#[test]
fn verbose_tells_more_and_quiet_less() {
    let folder = given();
    let at = folder.path();
    let said = expect(at, 0, &["apply", "plan.kdl", "--auto-approve", "--verbose"]);
    assert!(said.contains("Journal: "), "{said}");
    let quiet = ccb(at, &["backup", "plan.kdl", "data", "--quiet"]);
    assert_eq!(String::from_utf8_lossy(&quiet.stderr), "");
    let asked = ccb(at, &["unlock", "plan.kdl", "--input=false"]);
    assert_eq!(asked.status.code(), Some(0));
}
