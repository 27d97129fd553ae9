//! The documents that commands print with `--json`: the committed schemas are those of the code.

use ccb::model::ids::{BackupId, ComponentName};
use ccb::model::inventory::Inventory;
use ccb::render::listing::contents::{Entries, Found};
use ccb::render::output::{Long, inventory_schema, json, schema};
use serde_json::{Map, Value, json as value};

/// Compares a committed file with what the code prints; `CCB_WRITE_SCHEMAS=1` writes it.
fn same(name: &str, printed: &str) {
    let path = format!("{}/schemas/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("CCB_WRITE_SCHEMAS").is_some() {
        std::fs::write(&path, printed).unwrap();
    }
    assert!(
        std::fs::read_to_string(&path).unwrap() == printed,
        "run this test with CCB_WRITE_SCHEMAS=1, and commit {path}"
    );
}

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    same("output.v1.json", &schema());
    same("inventory.v1.json", &inventory_schema());
}

#[test]
fn a_document_says_what_it_is_and_reads_back() {
    let text = json(&Inventory::default());
    assert_eq!(
        text,
        "{\"destinations\":{},\"format_version\":\"1.0\",\"kind\":\"inventory\"}\n"
    );
    assert_eq!(
        serde_json::from_str::<Inventory>(&text).unwrap(),
        Inventory::default()
    );
    let found = Found {
        component: ComponentName::new("db").unwrap(),
        glob: "*".into(),
        searched: 2,
        versions: Vec::new(),
    };
    assert!(json(&found).contains("\"kind\":\"found\""));
}

#[test]
fn a_list_of_any_length_is_one_document() {
    let id = BackupId([7; 16]);
    let members: Map<String, Value> = [("backup".to_owned(), value!(id))].into_iter().collect();
    for count in 0..3 {
        let (mut long, mut text) = Long::begin::<Entries>(&members, "entries");
        for number in 0..count {
            text += &long.item(&number);
        }
        text += &long.end(&[("n".to_owned(), value!(count))].into_iter().collect());
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["kind"], "entries");
        assert_eq!(read["n"], count);
        assert_eq!(read["entries"].as_array().unwrap().len(), count);
    }
}
