//! The part of JSON Schema that the committed schemas use. A word that it does not know fails the test, so
//! that a schema never says more than is checked.

use serde_json::Value;
use std::collections::BTreeMap;

const NOTES: [&str; 8] = [
    "default",
    "format",
    "$schema",
    "$id",
    "title",
    "description",
    "$defs",
    "properties",
];

/// Every way in which `value` breaks `schema`; `root` is where references start.
pub(crate) fn breaches(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut out = broken_rules(root, schema, value, at);
    // ccb writes only names that its schema tells of, although readers ignore unknown ones.
    let known = known_members(root, schema);
    if let (false, Some(members)) = (known.is_empty(), value.as_object()) {
        let others = schema.get("additionalProperties").is_some();
        for (name, member) in members {
            match known.get(name.as_str()) {
                Some(rule) => out.extend(breaches(root, rule, member, &format!("{at}.{name}"))),
                None if others => {}
                None => out.push(format!("{at}: {name} is not in the schema")),
            }
        }
    }
    out
}

/// The members that a schema names, by itself or by what it refers to.
fn known_members<'a>(root: &'a Value, schema: &'a Value) -> BTreeMap<&'a str, &'a Value> {
    let own = schema.get("properties").and_then(Value::as_object);
    let mut known = match schema.get("$ref") {
        Some(target) => known_members(root, referred(root, target)),
        None => BTreeMap::new(),
    };
    known.extend(
        own.into_iter()
            .flatten()
            .map(|(name, rule)| (name.as_str(), rule)),
    );
    known
}

fn referred<'a>(root: &'a Value, target: &Value) -> &'a Value {
    let name = target.as_str().unwrap().strip_prefix('#').unwrap();
    root.pointer(name).unwrap()
}

fn broken_rules(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        let broken = || vec![format!("{at}: {value} breaks {word} {rule}")];
        out.extend(match word.as_str() {
            "$ref" => broken_rules(root, referred(root, rule), value, at),
            "const" if rule != value => broken(),
            "enum" if !rule.as_array().unwrap().contains(value) => broken(),
            "type" if !is_of_type(rule, value) => broken(),
            "required" => {
                let names = rule.as_array().unwrap().iter();
                let missing = names.filter(|name| value.get(name.as_str().unwrap()).is_none());
                missing
                    .map(|name| format!("{at}: {name} is missing"))
                    .collect()
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items
                    .flat_map(|item| breaches(root, rule, item, &format!("{at}[]")))
                    .collect()
            }
            "oneOf" => {
                let fits = |one: &&Value| breaches(root, one, value, at).is_empty();
                match rule.as_array().unwrap().iter().filter(fits).count() {
                    1 => Vec::new(),
                    _ => broken(),
                }
            }
            "anyOf" => {
                let fits = |one: &Value| breaches(root, one, value, at).is_empty();
                match rule.as_array().unwrap().iter().any(fits) {
                    true => Vec::new(),
                    false => broken(),
                }
            }
            "additionalProperties" if rule.is_boolean() => Vec::new(),
            "additionalProperties" => {
                let known = schema.get("properties");
                let members = value.as_object().into_iter().flatten();
                members
                    .filter(|(name, _)| known.is_none_or(|known| known.get(name).is_none()))
                    .flat_map(|(name, one)| breaches(root, rule, one, &format!("{at}.{name}")))
                    .collect()
            }
            "prefixItems" => {
                let items = value.as_array().into_iter().flatten();
                let pairs = rule.as_array().unwrap().iter().zip(items);
                pairs
                    .flat_map(|(rule, item)| breaches(root, rule, item, &format!("{at}[]")))
                    .collect()
            }
            "minItems" | "maxItems" | "minimum" | "maximum"
                if !is_within(word, rule.as_i64().unwrap(), value) =>
            {
                broken()
            }
            "const" | "enum" | "type" | "minItems" | "maxItems" | "minimum" | "maximum" => {
                Vec::new()
            }
            note => {
                assert!(NOTES.contains(&note), "{note} is not checked");
                Vec::new()
            }
        });
    }
    out
}

fn is_within(word: &str, limit: i64, value: &Value) -> bool {
    let number = match value {
        Value::Array(items) => i64::try_from(items.len()).unwrap(),
        // What is larger than any limit is not compared.
        other => other.as_i64().unwrap_or(i64::MAX),
    };
    match word.starts_with("min") {
        true => number >= limit,
        false => number <= limit,
    }
}

fn is_of_type(rule: &Value, value: &Value) -> bool {
    match rule {
        Value::Array(any) => any.iter().any(|one| is_of_type(one, value)),
        Value::String(name) => match name.as_str() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64() || value.is_i64(),
            "null" => value.is_null(),
            other => panic!("{other} is not checked"),
        },
        other => panic!("{other} is not a type"),
    }
}
