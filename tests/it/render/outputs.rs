//! Goldens of a rich plan in every form, and what must hold in each.

use crate::render::sample;
use ccb::model::strategy::Level;
use ccb::plan::{Finding, Plan, saved};
use ccb::render::{Look, github, graph, markdown, sarif, text};

pub(crate) fn golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots/render"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn a_rich_plan_reads_well_in_every_form() {
    let (plan, strategy) = (sample::rich(), sample::strategy());
    golden("plan.txt", &text::plan(&plan, &strategy, &Look::PLAIN));
    // The id is a fingerprint of all the plan's fields; what is shown of it is not what is tested here.
    let comment = markdown::plan(&plan, &strategy, markdown::MAX_CHARS);
    golden(
        "plan.md",
        &comment.replace(&saved::id(&plan).short(), "7f3a9c21"),
    );
    golden("plan.github", &github::plan(&plan, &strategy));
    golden(
        "plan.sarif",
        &sarif::findings(&plan.findings, &strategy, "1.0.0"),
    );
    golden("graph.dot", &graph::dot(&plan));
    golden("graph.mermaid", &graph::mermaid(&plan));
    golden("graph.json", &graph::json(&plan));
}

#[test]
fn a_plan_with_nothing_to_do_says_so_last() {
    let (plan, strategy) = (sample::empty(), sample::strategy());
    let text = text::plan(&plan, &strategy, &Look::PLAIN);
    assert!(
        text.ends_with("\nNo changes. The inventory matches the plan.\n"),
        "{text}"
    );
    assert!(!text.contains("ccb will"), "{text}");
}

#[test]
fn a_store_that_creates_over_what_is_there_is_named_in_every_plan() {
    let mut plan = sample::empty();
    plan.single_writer = vec!["offsite".parse().expect("a name")];
    let strategy = sample::strategy();
    let want = "destination offsite does not refuse to create what is there already";
    let text = text::plan(&plan, &strategy, &Look::PLAIN);
    assert!(text.contains(&format!("Warning: {want}")), "{text}");
    let comment = markdown::plan(&plan, &strategy, markdown::MAX_CHARS);
    assert!(comment.contains(want), "{comment}");
}

#[test]
fn no_form_of_a_plan_carries_a_control_character_of_its_values() {
    let (plan, strategy) = (sample::rich(), sample::strategy());
    let all = [
        text::plan(&plan, &strategy, &Look::PLAIN),
        markdown::plan(&plan, &strategy, markdown::MAX_CHARS),
        github::plan(&plan, &strategy),
        sarif::findings(&plan.findings, &strategy, "1.0.0"),
        graph::dot(&plan),
        graph::mermaid(&plan),
    ];
    for form in all {
        let harmful = |c: &char| (c.is_control() && *c != '\n') || *c == '\u{202e}';
        assert_eq!(form.chars().find(harmful), None, "{form}");
    }
}

#[test]
fn colour_changes_nothing_but_colour() {
    let (plan, strategy) = (sample::rich(), sample::strategy());
    let colored = text::plan(
        &plan,
        &strategy,
        &Look {
            color: true,
            ..Look::PLAIN
        },
    );
    assert!(colored.contains("\x1b[32m+\x1b[0m back up"), "{colored}");
    let mut plain = String::new();
    let mut rest = colored.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, text::plan(&plan, &strategy, &Look::PLAIN));
}

#[test]
fn github_shows_the_worst_first_and_counts_what_it_would_not_show() {
    let found = |n: usize, level| -> Vec<Finding> {
        let one = |_| sample::finding("CCB107", "sse-missing", level, "destination.primary");
        (0..n).map(one).collect()
    };
    let findings = [found(2, Level::Warn), found(12, Level::Deny)].concat();
    let plan = Plan {
        findings,
        ..sample::empty()
    };
    let out = github::plan(&plan, &sample::strategy());
    let kinds: Vec<&str> = out
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(kinds[..10], ["::error"; 10]);
    assert_eq!(out.lines().nth(10), Some("and 2 more of kind error"));
    assert_eq!(kinds[11..13], ["::warning"; 2]);
}

#[test]
fn a_value_can_not_end_a_workflow_command_or_begin_another() {
    let annotation = github::Annotation {
        level: github::AnnotationLevel::Error,
        path: Some("a,line=9:b%.kdl".into()),
        line: 3,
        column: 5,
        title: "x::y".into(),
        message: "first\n::set-output name=a::b\r\n100%\x1b[0m".into(),
    };
    assert_eq!(
        github::annotations(&[annotation]),
        "::error file=a%2Cline=9%3Ab%25.kdl,line=3,col=5,title=x%3A%3Ay::first%0A\
         ::set-output name=a::b%0D%0A100%25\\u{1b}[0m\n"
    );
}
