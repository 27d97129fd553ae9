//! Holds elements against the node table: what is not known, not allowed there, written twice, of the
//! wrong type, or missing. What things mean together is decided elsewhere.

use crate::model::strategy::Place;
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::{Element, Property};
use crate::plan_file::table::{Count, Node, Times, Type, children, find};
use crate::plan_file::values;
use std::collections::BTreeMap;

/// Checks everything about `elements`, which stand in `parent`, but what is missing. `kind` is what
/// [`Element::kind`] says of the node around them; `secrets` collects places that must not be shown.
pub(crate) fn shape(
    parent: &str,
    kind: Option<&str>,
    elements: &[Element],
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<Place>,
) {
    let mut first: BTreeMap<&str, &Element> = BTreeMap::new();
    for element in elements {
        let Some(node) = find(parent, &element.name) else {
            unknown(parent, kind, element, problems);
            continue;
        };
        if !node.fits(kind) {
            misplaced(parent, kind, node, element, problems);
            continue;
        }
        if let Some(earlier) = first.insert(node.name, element)
            && matches!(node.times, Times::Once | Times::Optional | Times::OneOf(_))
        {
            problems.push(
                Problem::error(
                    "ccb::config::duplicate_node",
                    format!("`{}` is written twice", node.name),
                    element.head,
                    "written again here",
                )
                .and(earlier.head, "first written here")
                .help("remove one of them"),
            );
        }
        arguments(node, element, problems, secrets);
        properties(node, element, problems, secrets);
        let inner = element.kind(parent);
        shape(node.name, inner, &element.children, problems, secrets);
    }
}

/// Checks that nothing is missing in `element`, below it included.
pub(crate) fn missing(parent: &str, element: &Element, problems: &mut Vec<Problem>) {
    if find(parent, &element.name).is_none() {
        return;
    }
    absent(
        &element.name,
        element.kind(parent),
        &element.children,
        element.head,
        problems,
    );
    for child in &element.children {
        missing(&element.name, child, problems);
    }
}

/// Checks that the nodes `parent` needs are among `elements`; `around` is where they should be.
pub(crate) fn absent(
    parent: &str,
    kind: Option<&str>,
    elements: &[Element],
    around: Place,
    problems: &mut Vec<Problem>,
) {
    let has = |name: &str| elements.iter().any(|element| element.name == name);
    let mut groups = Vec::new();
    for node in children(parent).filter(|node| node.fits(kind)) {
        match node.times {
            Times::Once | Times::OneOrMore if !has(node.name) => problems.push(
                Problem::error(
                    "ccb::config::missing_node",
                    if parent == "file" {
                        format!("`{}` is missing", node.name)
                    } else {
                        format!("`{parent}` needs `{}`", node.name)
                    },
                    around,
                    format!("has no `{}`", node.name),
                )
                .help(format!("add: {}", pasteable(node))),
            ),
            Times::OneOf(group) if !groups.contains(&group) => {
                groups.push(group);
                let of_group: Vec<&Element> = elements
                    .iter()
                    .filter(|e| group.split(", ").any(|name| name == e.name))
                    .collect();
                one_of(parent, group, &of_group, around, problems);
            }
            _ => {}
        }
    }
}

fn one_of(
    parent: &str,
    group: &str,
    found: &[&Element],
    around: Place,
    problems: &mut Vec<Problem>,
) {
    match found {
        [] => problems.push(
            Problem::error(
                "ccb::config::missing_node",
                format!("`{parent}` needs one of {group}"),
                around,
                "does not say where it is",
            )
            .help("add: local \"./backups\""),
        ),
        [first, second, ..] if first.name != second.name => problems.push(
            Problem::error(
                "ccb::config::one_of",
                format!("`{parent}` has more than one of {group}"),
                second.head,
                "a second one",
            )
            .and(first.head, "the first one")
            .help(format!("keep one, and make another {parent} of the other")),
        ),
        _ => {}
    }
}

fn unknown(parent: &str, kind: Option<&str>, element: &Element, problems: &mut Vec<Problem>) {
    let place = match parent {
        "file" => "at the top level".to_owned(),
        _ => format!("in `{parent}`"),
    };
    let fitting = children(parent).filter(|node| node.fits(kind));
    let help = if fitting.clone().next().is_none() {
        format!("`{parent}` has no children: remove it")
    } else {
        did_you_mean(&element.name, fitting.map(|node| node.name), '`')
    };
    let shown: String = element.name.chars().take(64).collect();
    problems.push(
        Problem::error(
            "ccb::config::unknown_node",
            format!("unknown node `{shown}` {place}"),
            element.name_place,
            "not known here",
        )
        .help(help),
    );
}

fn misplaced(
    parent: &str,
    kind: Option<&str>,
    node: &Node,
    element: &Element,
    problems: &mut Vec<Problem>,
) {
    let kind_name = kind.unwrap_or_default();
    let fitting: Vec<String> = children(parent)
        .filter(|other| other.fits(kind))
        .map(|other| format!("`{}`", other.name))
        .collect();
    problems.push(
        Problem::error(
            "ccb::config::misplaced_node",
            format!("a {kind_name} {parent} has no `{}`", node.name),
            element.name_place,
            format!("belongs to {}", node.only.join(" and ")),
        )
        .help(match fitting.is_empty() {
            true => "remove it".to_owned(),
            false => format!("use one of {}", fitting.join(", ")),
        }),
    );
}

fn arguments(
    node: &Node,
    element: &Element,
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<Place>,
) {
    let Some(arg) = node.arg else {
        if let Some(value) = element.args.first() {
            if is_secret(node) {
                secrets.push(value.place);
                problems.push(literal_secret(node, value.place));
                return;
            }
            let help = if node.props.is_empty() {
                "remove it".to_owned()
            } else {
                let known: Vec<String> =
                    node.props.iter().map(|p| format!("{}=", p.name)).collect();
                format!("remove it, or name what it is: {}", known.join(" "))
            };
            let message = format!("`{}` takes no argument", node.name);
            problems.push(
                Problem::error("ccb::config::argument", message, value.place, "an argument")
                    .help(help),
            );
        }
        return;
    };
    if element.args.is_empty() && arg.count != Count::Optional {
        let message = format!("`{}` needs its {}", node.name, arg.name);
        problems.push(
            Problem::error(
                "ccb::config::missing_argument",
                message,
                element.name_place,
                "nothing follows",
            )
            .help(format!("write {} {}", node.name, values::example(arg.ty))),
        );
    }
    if arg.count != Count::OneOrMore
        && let Some(second) = element.args.get(1)
    {
        let message = format!("`{}` takes one argument", node.name);
        problems.push(
            Problem::error(
                "ccb::config::argument",
                message,
                second.place,
                "one too many",
            )
            .help("remove it, or write a node of its own for it"),
        );
    }
    for value in &element.args {
        if let Err(misfit) = values::check(arg.ty, node.name, value) {
            problems.push(
                Problem::error(
                    "ccb::config::bad_value",
                    misfit.message,
                    value.place,
                    format!("the {}", arg.name),
                )
                .help(misfit.help),
            );
        }
    }
}

fn properties(
    node: &Node,
    element: &Element,
    problems: &mut Vec<Problem>,
    secrets: &mut Vec<Place>,
) {
    let mut seen: BTreeMap<&str, &Property> = BTreeMap::new();
    for property in &element.props {
        if let Some(first) = seen.insert(&property.name, property) {
            let message = format!("property `{}` is set twice", property.name);
            problems.push(
                Problem::error(
                    "ccb::config::duplicate_property",
                    message,
                    property.place,
                    "set again here",
                )
                .and(first.place, "first set here")
                .help("KDL keeps only the last one; remove one of them"),
            );
        }
        let Some(known) = node.prop(&property.name) else {
            if is_secret(node) {
                secrets.push(property.value.place);
            }
            unknown_property(node, property, problems);
            continue;
        };
        if let Err(misfit) = values::check(known.ty, known.name, &property.value) {
            if known.ty == Type::EnvName {
                secrets.push(property.value.place);
            }
            let help = format!(
                "{}={}",
                known.name,
                misfit.help.trim_start_matches("write ")
            );
            let help = if misfit.help.starts_with("write ") {
                format!("write {help}")
            } else {
                misfit.help
            };
            problems.push(
                Problem::error(
                    "ccb::config::bad_value",
                    misfit.message,
                    property.value.place,
                    "this value",
                )
                .help(help),
            );
        }
    }
    for prop in node.props.iter().filter(|prop| prop.required) {
        if element.prop(prop.name).is_none() {
            let message = format!("`{}` needs {}=", node.name, prop.name);
            problems.push(
                Problem::error(
                    "ccb::config::missing_property",
                    message,
                    element.head,
                    "not set here",
                )
                .help(format!("add {}={}", prop.name, values::example(prop.ty))),
            );
        }
    }
    if is_secret(node) && element.args.is_empty() {
        one_reference(node, element, problems);
    }
}

fn unknown_property(node: &Node, property: &Property, problems: &mut Vec<Problem>) {
    let shown: String = property.name.chars().take(64).collect();
    let known = node.props.iter().map(|prop| prop.name);
    let as_child = children(node.name).any(|child| child.name == property.name);
    let help = if as_child {
        format!(
            "it is a node of its own: {} {{ {} {} }}",
            node.name,
            property.name,
            property.value.data.to_kdl()
        )
    } else if node.props.is_empty() {
        format!("`{}` has no properties: remove it", node.name)
    } else {
        did_you_mean(&property.name, known, '`')
    };
    problems.push(
        Problem::error(
            "ccb::config::unknown_property",
            format!("unknown property `{shown}` on `{}`", node.name),
            property.name_place,
            "not a property of this node",
        )
        .help(help),
    );
}

/// Whether the node refers to a secret: exactly one of `env`, `file`, `command`.
pub(crate) fn is_secret(node: &Node) -> bool {
    node.props
        .first()
        .is_some_and(|prop| prop.ty == Type::EnvName)
}

fn literal_secret(node: &Node, place: Place) -> Problem {
    Problem::error(
        "ccb::config::secret_literal",
        format!("`{}` is a secret, and secrets are not written in plan files", node.name),
        place,
        "not shown here",
    )
    .help(format!(
        "say where it is found: {} env=\"NAME\", file=\"PATH\" or command=\"PROGRAM\"; and change it, if this was committed",
        node.name
    ))
}

fn one_reference(node: &Node, element: &Element, problems: &mut Vec<Problem>) {
    let known: Vec<&Property> = element
        .props
        .iter()
        .filter(|property| node.prop(&property.name).is_some())
        .collect();
    match known.as_slice() {
        [] if element.props.is_empty() => problems.push(
            Problem::error(
                "ccb::config::secret_reference",
                format!("`{}` does not say where it is found", node.name),
                element.head,
                "needs exactly one of env=, file=, command=",
            )
            .help(format!("write {} env=\"NAME\"", node.name)),
        ),
        [first, second, ..] if first.name != second.name => problems.push(
            Problem::error(
                "ccb::config::secret_reference",
                format!("`{}` is found at two places", node.name),
                second.place,
                "a second one",
            )
            .and(first.place, "the first one")
            .help("keep exactly one of env=, file=, command="),
        ),
        _ => {}
    }
}

/// The shortest thing that could be written for a node.
fn pasteable(node: &Node) -> String {
    let mut text = node.name.to_owned();
    if let Some(arg) = node.arg {
        text.push(' ');
        text.push_str(
            values::example(arg.ty)
                .split(" or ")
                .next()
                .unwrap_or_default(),
        );
    }
    for prop in node.props.iter().filter(|prop| prop.required) {
        let example = values::example(prop.ty);
        text.push_str(&format!(
            " {}={}",
            prop.name,
            example.split(" or ").next().unwrap_or_default()
        ));
    }
    if is_secret(node) {
        text.push_str(" env=\"NAME\"");
    }
    text
}
