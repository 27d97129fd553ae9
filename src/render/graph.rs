//! The steps of a plan and what each needs, as a picture: dot, Mermaid, or JSON for other programs.

use crate::plan::document::{Plan, Step};
use crate::render::{escape, words};
use serde_json::{Value, json};

/// For Graphviz. An arrow goes from a step to those that wait for it.
pub fn dot(plan: &Plan) -> String {
    let mut out =
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for step in &plan.steps {
        let destructive = if step.action.is_destructive() {
            ", color=red"
        } else {
            ""
        };
        out += &format!(
            "  {} [label=\"{}\"{destructive}];\n",
            step.id,
            escape::dot(&label(plan, step))
        );
    }
    for (need, step) in edges(plan) {
        out += &format!("  {need} -> {step};\n");
    }
    out + "}\n"
}

/// For Markdown pages that draw Mermaid.
pub fn mermaid(plan: &Plan) -> String {
    let mut out = "flowchart LR\n".to_owned();
    for step in &plan.steps {
        out += &format!(
            "  {}[\"{}\"]\n",
            step.id,
            escape::mermaid(&label(plan, step))
        );
    }
    for (need, step) in edges(plan) {
        out += &format!("  {need} --> {step}\n");
    }
    out
}

/// Nodes and edges, in the order of the plan.
pub fn json(plan: &Plan) -> String {
    let nodes: Vec<Value> = plan
        .steps
        .iter()
        .map(|step| {
            json!({
                "id": step.id.to_string(),
                "address": step.address,
                "verb": step.action.verb(),
                "what": words::object(plan, step),
                "cause": step.cause,
                "destructive": step.action.is_destructive(),
            })
        })
        .collect();
    let edges: Vec<Value> = edges(plan)
        .map(|(need, step)| json!({"from": need, "to": step}))
        .collect();
    format!(
        "{:#}\n",
        json!({"format_version": "1.0", "kind": "graph", "nodes": nodes, "edges": edges})
    )
}

fn label(plan: &Plan, step: &Step) -> String {
    let verb = step.action.verb();
    format!("{} {verb} {}", step.id, words::object(plan, step))
}

fn edges(plan: &Plan) -> impl Iterator<Item = (String, String)> + '_ {
    plan.steps.iter().flat_map(|step| {
        let to = step.id.to_string();
        step.needs
            .iter()
            .map(move |need| (need.to_string(), to.clone()))
    })
}
