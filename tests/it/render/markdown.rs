//! A comment always fits, always says the main thing, and no value breaks out of its place.

use crate::render::sample;
use ccb::model::strategy::Level;
use ccb::plan::{Finding, Plan, Step, StepId};
use ccb::render::markdown;
use proptest::prelude::{Strategy, any, prop_assert, proptest};

/// A rich plan with `forgets` more forgets and `findings` more violations that say `text`.
fn grown(forgets: usize, findings: usize, text: &str) -> Plan {
    let mut plan = sample::rich();
    let last = plan
        .steps
        .iter()
        .rfind(|step| step.action.verb() == "forget")
        .cloned()
        .unwrap();
    for nth in 0..forgets {
        plan.steps.push(Step {
            id: StepId(100 + nth as u32),
            ..last.clone()
        });
    }
    for _ in 0..findings {
        plan.findings.push(Finding {
            message: text.to_owned(),
            ..sample::finding("CCB202", "copies", Level::Deny, "component.uploads.store")
        });
    }
    plan.changes[0].after = Some(text.to_owned());
    plan.environment = text.to_owned();
    plan
}

proptest! {
    #[test]
    fn a_comment_is_never_too_long_and_always_has_its_headline(
        text in any::<String>(),
        repeat in 1usize..200,
        findings in 0usize..30,
        max in 1_200usize..20_000,
    ) {
        let plan = grown(40, findings, &text.repeat(repeat));
        let out = markdown::plan(&plan, &sample::strategy(), max);
        prop_assert!(out.chars().count() <= max, "{} > {max}", out.chars().count());
        prop_assert!(out.starts_with("<!-- ccb:plan content-creation-crew/"));
        prop_assert!(out.lines().nth(1).is_some_and(|line| line.starts_with("### ❌ ccb plan, ")));
        prop_assert!(out.lines().nth(2).is_some_and(|line| line.starts_with("**Plan: 1 to back up")));
    }

    #[test]
    fn no_value_ends_its_fence_or_opens_an_element(
        text in "[`~<>!a-z\\-\n|@\\[\\]]{0,40}".prop_filter("", |t| !t.contains("details")),
    ) {
        let out = markdown::plan(&grown(0, 1, &text), &sample::strategy(), markdown::MAX_CHARS);
        let mut fence: Option<usize> = None;
        for line in out.lines() {
            let run = line.chars().take_while(|c| *c == '`').count();
            match fence {
                None if run >= 3 => fence = Some(run),
                Some(open) if run >= open && line.trim_matches('`').is_empty() => fence = None,
                _ => {}
            }
        }
        prop_assert!(fence.is_none(), "a fence stays open:\n{out}");
        prop_assert!(out.matches("<details>").count() == out.matches("</details>").count());
        prop_assert!(out.matches("<!-- ccb:plan").count() == 1);
    }
}

#[test]
fn lists_show_twenty_rows_and_count_the_rest() {
    let mut plan = sample::rich();
    let row = plan.changes[0].clone();
    plan.changes = vec![row; 33];
    let out = markdown::plan(&plan, &sample::strategy(), markdown::MAX_CHARS);
    let shown = out
        .lines()
        .filter(|line| line.starts_with("! component.storage.retain.daily"));
    assert_eq!(shown.count(), 20);
    // 33 changes and the line of forgets that they cause.
    assert!(out.contains("\n  and 14 more\n"), "{out}");
}

#[test]
fn folded_parts_go_first_when_it_does_not_fit() {
    let (plan, strategy) = (sample::rich(), sample::strategy());
    let whole = markdown::plan(&plan, &strategy, markdown::MAX_CHARS);
    let short = markdown::plan(&plan, &strategy, whole.chars().count() - 1);
    assert!(
        short.contains("CCB202") && short.contains("#### This pull request"),
        "{short}"
    );
    assert!(!short.contains("backups kept</summary>"), "{short}");
    assert!(short.contains("left out for length"), "{short}");
}
