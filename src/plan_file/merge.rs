//! Gives components what their template has. Nothing merges silently: a component's child replaces the
//! template's child of the same name (and first argument, for those that have names), `source` and
//! `verify` merge one level by the same rule, `remove` drops.

use crate::model::strategy::Place;
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::Element;
use std::collections::{BTreeMap, BTreeSet};

/// Names that are defined twice, of every kind of node that has one, and across files.
pub(crate) fn unique_names(elements: &[Element], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<(&str, &str), Place> = BTreeMap::new();
    for element in elements {
        let Some(name) = element.first().filter(|_| element.name != "include") else {
            continue;
        };
        let place = element.args[0].place;
        if let Some(first) = seen.insert((&element.name, name), place)
            && element.name != "plan"
        {
            problems.push(
                Problem::error(
                    "ccb::config::duplicate_name",
                    format!("{} \"{name}\" is defined twice", element.name),
                    place,
                    "defined again here",
                )
                .and(first, "first defined here")
                .help("rename or remove one of them: nothing is merged silently"),
            );
        }
    }
}

/// `elements` with every component's template put in; and the names of the templates that were used.
pub(crate) fn extend(
    elements: Vec<Element>,
    problems: &mut Vec<Problem>,
) -> (Vec<Element>, BTreeSet<String>) {
    let templates: BTreeMap<String, Element> = elements
        .iter()
        .filter(|element| element.name == "template")
        .filter_map(|element| Some((element.first()?.to_owned(), element.clone())))
        .collect();
    let mut used = BTreeSet::new();
    let merged = elements
        .into_iter()
        .map(|element| {
            if element.name != "component" {
                return element;
            }
            let template = template_of(&element, &templates, problems);
            used.extend(template.and_then(Element::first).map(str::to_owned));
            with_template(element, template, problems)
        })
        .collect();
    (merged, used)
}

fn template_of<'a>(
    component: &Element,
    templates: &'a BTreeMap<String, Element>,
    problems: &mut Vec<Problem>,
) -> Option<&'a Element> {
    let extends = component.prop("extends")?;
    let name = extends.value.data.as_str()?;
    let found = templates.get(name);
    if found.is_none() {
        problems.push(
            Problem::error(
                "ccb::config::unknown_template",
                format!("no template is named \"{name}\""),
                extends.value.place,
                "extended here",
            )
            .help(did_you_mean(
                name,
                templates.keys().map(String::as_str),
                '"',
            )),
        );
    }
    found
}

fn with_template(
    mut component: Element,
    template: Option<&Element>,
    problems: &mut Vec<Problem>,
) -> Element {
    let own = std::mem::take(&mut component.children);
    let (removals, own): (Vec<_>, Vec<_>) = own.into_iter().partition(|c| c.name == "remove");
    let mut base = template.map(|t| t.children.clone()).unwrap_or_default();
    base.retain(|child| child.name != "remove");
    for removal in &removals {
        remove(removal, template, &mut base, problems);
    }
    if let (Some(theirs), Some(ours)) = (
        base.iter().find(|child| child.name == "source"),
        own.iter().find(|child| child.name == "source"),
    ) && theirs.first() != ours.first()
    {
        problems.push(other_kind(theirs, ours));
    }
    component.children = overlay(base, own, &["source", "verify"]);
    component
}

fn other_kind(theirs: &Element, ours: &Element) -> Problem {
    let kind = |element: &Element| element.first().unwrap_or_default().to_owned();
    Problem::error(
        "ccb::config::source_kind",
        format!(
            "the template reads \"{}\", the component \"{}\"",
            kind(theirs),
            kind(ours)
        ),
        ours.head,
        "another kind here",
    )
    .and(theirs.head, "the template's source")
    .help("extend another template, or none")
}

/// `base` with the nodes of `own` put over it: those with the same key are replaced where they stood,
/// the others follow. Nodes named in `deep` merge their children by the same rule.
fn overlay(base: Vec<Element>, own: Vec<Element>, deep: &[&str]) -> Vec<Element> {
    let mut own: Vec<Option<Element>> = own.into_iter().map(Some).collect();
    let mut out: Vec<Element> = Vec::new();
    let mut done: BTreeSet<Vec<String>> = BTreeSet::new();
    for theirs in base {
        let key = key(&theirs);
        let same: Vec<Element> = own
            .iter_mut()
            .filter(|ours| ours.as_ref().is_some_and(|ours| self::key(ours) == key))
            .filter_map(Option::take)
            .collect();
        if same.is_empty() {
            if !done.contains(&key) {
                out.push(theirs);
            }
            continue;
        }
        done.insert(key);
        for mut ours in same {
            if deep.contains(&ours.name.as_str()) && ours.first() == theirs.first() {
                ours.children = overlay(theirs.children.clone(), ours.children, &[]);
            }
            out.push(ours);
        }
    }
    out.extend(own.into_iter().flatten());
    out
}

/// What makes two children of one component the same thing.
fn key(element: &Element) -> Vec<String> {
    let first = || element.first().unwrap_or_default().to_owned();
    let to = || {
        element
            .prop("to")
            .and_then(|p| p.value.data.as_str())
            .unwrap_or_default()
    };
    let mut key = vec![element.name.clone()];
    match element.name.as_str() {
        "schedule" | "hook" => key.push(first()),
        "export" => key.extend([first(), to().to_owned()]),
        _ => {}
    }
    key
}

fn remove(
    removal: &Element,
    template: Option<&Element>,
    base: &mut Vec<Element>,
    problems: &mut Vec<Problem>,
) {
    if removal.props.is_empty() || template.is_none() {
        problems.push(
            Problem::error(
                "ccb::config::remove",
                "`remove` removes nothing",
                removal.head,
                if template.is_none() {
                    "this component extends no template"
                } else {
                    "does not say what"
                },
            )
            .help("name what the template has: remove schedule=\"manual\""),
        );
        return;
    }
    for property in &removal.props {
        let Some(name) = property.value.data.as_str() else {
            continue;
        };
        let is_it = |child: &Element| child.name == property.name && child.first() == Some(name);
        if base.iter().any(is_it) {
            base.retain(|child| !is_it(child));
            continue;
        }
        let known: Vec<&str> = base
            .iter()
            .filter(|child| child.name == property.name)
            .filter_map(Element::first)
            .collect();
        problems.push(
            Problem::error(
                "ccb::config::remove",
                format!("the template has no {} \"{name}\"", property.name),
                property.value.place,
                "removed here",
            )
            .help(did_you_mean(name, known, '"')),
        );
    }
}
