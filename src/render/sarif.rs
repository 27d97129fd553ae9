//! Findings as SARIF 2.1.0, which code scanning dashboards read.

use crate::model::rules;
use crate::model::strategy::{Level, Strategy};
use crate::plan::document::Finding;
use crate::render::escape::line;
use crate::render::place::spot;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A SARIF log with one run: the rules that spoke, and what they said. `version` is ccb's.
pub fn findings(findings: &[Finding], strategy: &Strategy, version: &str) -> String {
    let ids: BTreeSet<&str> = findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "ccb",
                "version": version,
                "rules": ids.iter().map(|id| rule(id)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(|one| result(one, &ids, strategy)).collect::<Vec<_>>(),
        }],
    });
    format!("{log:#}\n")
}

fn rule(id: &str) -> Value {
    match rules::find(id) {
        Some(rule) => json!({
            "id": rule.id,
            "name": rule.name,
            "shortDescription": {"text": rule.message},
            "fullDescription": {"text": rule.reason},
            "help": {"text": rule.fix},
        }),
        None => json!({"id": line(id)}),
    }
}

fn result(finding: &Finding, ids: &[&str], strategy: &Strategy) -> Value {
    let mut result = json!({
        "ruleId": line(&finding.rule),
        "ruleIndex": ids.iter().position(|id| *id == finding.rule),
        "level": level(finding.level),
        "message": {"text": format!("{}. Help: {}", line(&finding.message), line(&finding.help))},
        "partialFingerprints": {"ccbAddress/v1": format!("{} {}", finding.rule, line(&finding.address.0))},
    });
    if let Some(location) = location(finding, strategy) {
        result["locations"] = json!([location]);
    }
    if let Some((until, reason)) = &finding.waived {
        let why = format!("waived until {until}: {}", line(reason));
        result["suppressions"] = json!([{"kind": "inSource", "justification": why}]);
    }
    result
}

fn location(finding: &Finding, strategy: &Strategy) -> Option<Value> {
    let spot = spot(strategy, &finding.address)?;
    Some(json!({
        "physicalLocation": {
            "artifactLocation": {"uri": uri(&spot.file.path)},
            "region": {
                "startLine": spot.line,
                "startColumn": spot.column,
                "byteOffset": spot.place.start,
                "byteLength": spot.place.len,
            },
        },
        "logicalLocations": [{"fullyQualifiedName": line(&finding.address.0)}],
    }))
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Deny => "error",
        Level::Warn => "warning",
        Level::Info => "note",
        Level::Off => "none",
    }
}

/// A path as a URI reference: everything but unreserved characters and `/` is percent-encoded.
fn uri(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out += &format!("%{byte:02X}");
        }
    }
    out
}
