//! `ccb schema`: the node table as a KDL schema, as JSON and as Markdown.

use crate::plan_file::literal::quote;
use crate::plan_file::table::{Arg, Count, NODES, Node, Times, Type, children};
use serde_json::{Value, json};

/// The table in the KDL Schema Language.
pub fn kdl() -> String {
    let mut out = String::from(
        "// The plan language of ccb, format 1, in the KDL Schema Language.\n\
         // Printed by `ccb schema --format kdl`; a test compares this file with the code.\n\
         document {\n    info {\n        title \"ccb plan file\"\n        \
         description \"What is protected, when, for how long and where\"\n    }\n",
    );
    for node in children("file") {
        kdl_node(node, 1, &mut out);
    }
    out.push_str("}\n");
    out
}

fn kdl_node(node: &Node, depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    let inner = "    ".repeat(depth + 1);
    out.push_str(&format!("{pad}node {} {{\n", quote(node.name)));
    out.push_str(&format!(
        "{inner}description {}\n",
        quote(&description(node))
    ));
    let (min, max) = bounds(node);
    out.push_str(&format!("{inner}min {min}\n"));
    if let Some(max) = max {
        out.push_str(&format!("{inner}max {max}\n"));
    }
    if let Some(arg) = node.arg {
        out.push_str(&format!("{inner}value {{\n"));
        kdl_arg(arg, depth + 2, out);
        out.push_str(&format!("{inner}}}\n"));
    }
    for prop in node.props {
        let mut about = String::new();
        if prop.required {
            about.push_str(&format!("{inner}    required #true\n"));
        }
        kdl_type(prop.ty, depth + 2, &mut about);
        if let Some(default) = prop.default {
            about.push_str(&format!("{inner}    default {default}\n"));
        }
        let block = if about.is_empty() {
            String::new()
        } else {
            format!(" {{\n{about}{inner}}}")
        };
        out.push_str(&format!("{inner}prop {}{block}\n", quote(prop.name)));
    }
    if node.name == "template" {
        out.push_str(&format!("{inner}children ref=#\"[id=\"component\"]\"#\n"));
    } else if inner_nodes(node).next().is_some() {
        let id = if node.name == "component" {
            " id=\"component\""
        } else {
            ""
        };
        out.push_str(&format!("{inner}children{id} {{\n"));
        for child in inner_nodes(node) {
            kdl_node(child, depth + 2, out);
        }
        out.push_str(&format!("{inner}}}\n"));
    }
    out.push_str(&format!("{pad}}}\n"));
}

/// What may stand in it, of whatever kind it is.
fn inner_nodes(node: &Node) -> impl Iterator<Item = &'static Node> {
    let place = (node.name == "restore-test").then_some(node.parent);
    children(node.name).filter(move |child| child.fits(place))
}

fn kdl_arg(arg: Arg, depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    let min = usize::from(arg.count != Count::Optional);
    out.push_str(&format!("{pad}min {min}\n"));
    if arg.count != Count::OneOrMore {
        out.push_str(&format!("{pad}max 1\n"));
    }
    kdl_type(arg.ty, depth, out);
}

fn kdl_type(ty: Type, depth: usize, out: &mut String) {
    let pad = "    ".repeat(depth);
    match ty {
        Type::Integer { min, max } => {
            out.push_str(&format!(
                "{pad}type \"number\"\n{pad}\">=\" {min}\n{pad}\"<=\" {max}\n"
            ));
        }
        Type::Boolean => out.push_str(&format!("{pad}type \"boolean\"\n")),
        Type::Any => {}
        Type::Choice(words) => {
            let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
            out.push_str(&format!(
                "{pad}type \"string\"\n{pad}enum {}\n",
                words.join(" ")
            ));
        }
        Type::Day => out.push_str(&format!(
            "{pad}format \"day\" // a weekday, or a number from 1 to 28\n"
        )),
        Type::Text => out.push_str(&format!("{pad}type \"string\"\n")),
        other => out.push_str(&format!(
            "{pad}type \"string\"\n{pad}format {}\n",
            quote(other.word())
        )),
    }
}

fn description(node: &Node) -> String {
    let mut text = node.meaning.to_owned();
    if !node.only.is_empty() {
        text.push_str(&format!(" ({} only)", node.only.join(", ")));
    }
    if let Times::OneOf(group) = node.times {
        text.push_str(&format!(" (exactly one of {group})"));
    }
    if let Some(default) = node.default {
        text.push_str(&format!("; without it: {default}"));
    }
    text
}

/// Least and most times that a node stands in its parent, whatever the kind of source or export.
fn bounds(node: &Node) -> (usize, Option<usize>) {
    match node.times {
        Times::Once if node.only.is_empty() => (1, Some(1)),
        Times::Once | Times::Optional | Times::OneOf(_) => (0, Some(1)),
        Times::Any => (0, None),
        Times::OneOrMore => (1, None),
    }
}

/// The table as JSON, for editors and generators.
pub fn json() -> String {
    let nodes: Vec<Value> = NODES.iter().map(json_node).collect();
    let document = json!({ "format": 1, "nodes": nodes });
    // Plain data with string keys always has a JSON form.
    let mut text = serde_json::to_string_pretty(&document).expect("the table is plain data");
    text.push('\n');
    text
}

fn json_node(node: &Node) -> Value {
    let (min, max) = bounds(node);
    let props: Vec<Value> = node
        .props
        .iter()
        .map(|prop| {
            json!({
                "name": prop.name,
                "type": json_type(prop.ty),
                "required": prop.required,
                "default": prop.default,
            })
        })
        .collect();
    json!({
        "in": if node.parent == "component" { vec!["component", "template"] } else { vec![node.parent] },
        "name": node.name,
        "argument": node.arg.map(|arg| json!({
            "name": arg.name,
            "type": json_type(arg.ty),
            "required": arg.count != Count::Optional,
            "repeats": arg.count == Count::OneOrMore,
        })),
        "properties": props,
        "min": min,
        "max": max,
        "only": node.only,
        "default": node.default,
        "meaning": node.meaning,
    })
}

fn json_type(ty: Type) -> Value {
    match ty {
        Type::Choice(words) => json!({ "choice": words }),
        Type::Integer { min, max } => json!({ "integer": { "min": min, "max": max } }),
        other => json!(other.word()),
    }
}

/// The table as Markdown.
pub fn markdown() -> String {
    let mut out = String::from(
        "# The plan language, format 1\n\nPrinted by `ccb schema --format markdown`. `!` is required, `=` a default, `+` one or more, `?` optional.\n\n\
         | in | node | argument | properties | times | meaning |\n|---|---|---|---|---|---|\n",
    );
    for node in NODES {
        let arg = node.arg.map(|arg| {
            let count = match arg.count {
                Count::One => "",
                Count::Optional => "?",
                Count::OneOrMore => "+",
            };
            format!("{}:{}{count}", arg.name, type_words(arg.ty))
        });
        let props: Vec<String> = node
            .props
            .iter()
            .map(|prop| {
                let required = if prop.required { "!" } else { "" };
                let default = prop.default.map(|d| format!("={d}")).unwrap_or_default();
                format!("`{}:{}{required}{default}`", prop.name, type_words(prop.ty))
            })
            .collect();
        let row = [
            node.parent.to_owned(),
            format!("`{}`", node.name),
            arg.map(|arg| format!("`{arg}`")).unwrap_or_default(),
            props.join(" "),
            times(node),
            meaning(node),
        ];
        out.push_str(&format!("| {} |\n", row.join(" | ")));
    }
    out
}

fn type_words(ty: Type) -> String {
    match ty {
        Type::Choice(words) => format!("({})", words.join(",")),
        Type::Integer { min, max } => format!("{min}..{max}"),
        other => other.word().to_owned(),
    }
}

fn times(node: &Node) -> String {
    let times = match node.times {
        Times::Once => "1".to_owned(),
        Times::Optional => "0..1".to_owned(),
        Times::Any => "0..n".to_owned(),
        Times::OneOrMore => "1..n".to_owned(),
        Times::OneOf(group) => format!("one of {group}"),
    };
    match node.default {
        Some(default) => format!("{times} = {default}"),
        None => times,
    }
}

fn meaning(node: &Node) -> String {
    match node.only {
        [] => node.meaning.to_owned(),
        kinds => format!("{}: {}", kinds.join(", "), node.meaning),
    }
}
