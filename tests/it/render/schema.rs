//! The part of JSON Schema that the committed schemas use. A word that it does not know fails the test, so
//! that a schema never says more than is checked.

use serde_json::Value;

const NOTES: [&str; 6] = [
    "$schema",
    "$id",
    "title",
    "description",
    "$defs",
    "properties",
];

/// Every way in which `value` breaks `schema`; `root` is where references start.
pub(crate) fn breaches(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut out = Vec::new();
    for (word, rule) in schema.as_object().unwrap() {
        let broken = || vec![format!("{at}: {value} breaks {word} {rule}")];
        out.extend(match word.as_str() {
            "$ref" => {
                let name = rule.as_str().unwrap().strip_prefix('#').unwrap();
                breaches(root, root.pointer(name).unwrap(), value, at)
            }
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
            "const" | "enum" | "type" => Vec::new(),
            note => {
                assert!(NOTES.contains(&note), "{note} is not checked");
                Vec::new()
            }
        });
    }
    // ccb writes only names that its schema tells of, although readers ignore unknown ones.
    if let (Some(known), Some(members)) = (schema.get("properties"), value.as_object()) {
        for (name, member) in members {
            match known.get(name) {
                Some(rule) => out.extend(breaches(root, rule, member, &format!("{at}.{name}"))),
                None => out.push(format!("{at}: {name} is not in the schema")),
            }
        }
    }
    out
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
