//! What commands print with `--json`: documents that say what they are and in which version, as
//! `schemas/output.v1.json` tells. A reader ignores names that it does not know, and refuses another major.

use crate::model::inventory::Inventory;
use crate::plan::simulate::Simulation;
use crate::plan::status::Status;
use crate::render::listing::{backups, checks, contents, differences, explain, restored};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Version of these documents.
pub const FORMAT_VERSION: &str = "1.0";

/// Something that is printed as a document of its own.
pub trait Document: Serialize + JsonSchema {
    /// What the document says it is.
    const KIND: &'static str;
}

/// The document: one line.
pub fn json<T: Document>(body: &T) -> String {
    // Plain data with string keys has no way to fail.
    let mut value = serde_json::to_value(body).expect("a document is plain data");
    if let Value::Object(members) = &mut value {
        members.insert("format_version".into(), json!(FORMAT_VERSION));
        members.insert("kind".into(), json!(T::KIND));
    }
    value.to_string() + "\n"
}

impl Document for Inventory {
    const KIND: &'static str = "inventory";
}

/// The JSON Schema of an inventory; `schemas/inventory.v1.json` holds the same.
pub fn inventory_schema() -> String {
    let mut generator = generator();
    let root = kind::<Inventory>(&mut generator);
    finished(root, &mut generator)
}

/// Writes a document whose list may be longer than memory: begin, each item, end.
#[derive(Debug)]
pub struct Long {
    is_first: bool,
}

impl Long {
    /// The beginning of a document of that kind: its other members so far, then the open list `list`.
    pub fn begin<T: Document>(members: &Map<String, Value>, list: &str) -> (Self, String) {
        let mut text = format!(
            "{{\"format_version\":\"{FORMAT_VERSION}\",\"kind\":\"{}\"",
            T::KIND
        );
        for (name, value) in members {
            text += &format!(",{}:{value}", json!(name));
        }
        text += &format!(",{}:[", json!(list));
        (Self { is_first: true }, text)
    }
    /// One item, with the comma that parts it from the one before.
    pub fn item(&mut self, item: &impl Serialize) -> String {
        let comma = if self.is_first { "\n" } else { ",\n" };
        self.is_first = false;
        // Plain data with string keys has no way to fail.
        let text = serde_json::to_string(item).expect("an item is plain data");
        format!("{comma}{text}")
    }
    /// The end of the list, and members that are known only now.
    pub fn end(self, members: &Map<String, Value>) -> String {
        let mut text = "\n]".to_owned();
        for (name, value) in members {
            text += &format!(",{}:{value}", json!(name));
        }
        text + "}\n"
    }
}

/// The JSON Schema of all these documents; `schemas/output.v1.json` holds the same.
pub fn schema() -> String {
    let mut generator = generator();
    let kinds = [
        kind::<backups::Backups>(&mut generator),
        kind::<backups::Trash>(&mut generator),
        kind::<contents::Entries>(&mut generator),
        kind::<contents::Found>(&mut generator),
        kind::<differences::Differences>(&mut generator),
        kind::<Status>(&mut generator),
        kind::<checks::Checked>(&mut generator),
        kind::<checks::Verified>(&mut generator),
        kind::<Simulation>(&mut generator),
        kind::<explain::BackupExplained>(&mut generator),
        kind::<explain::RuleExplained>(&mut generator),
        kind::<restored::Restored>(&mut generator),
    ];
    let root = schemars::json_schema!({
        "title": "What ccb prints with --json",
        "description": "One document each. Plans, reports of runs and inventories have schemas of their own.",
        "oneOf": kinds,
    });
    finished(root, &mut generator)
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
}

/// The whole schema, with all that it refers to.
fn finished(mut root: Schema, generator: &mut SchemaGenerator) -> String {
    root.insert(
        "$schema".into(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("$defs".into(), generator.take_definitions(true).into());
    // Plain data with string keys has no way to fail.
    serde_json::to_string_pretty(&root).expect("a schema is plain data") + "\n"
}

/// The schema of one kind, with the members that every document has.
fn kind<T: Document>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    schema.insert("title".into(), json!(T::KIND));
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("format_version".into(), json!({ "type": "string" }));
        properties.insert("kind".into(), json!({ "const": T::KIND }));
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.extend([json!("format_version"), json!("kind")]);
    }
    schema
}
