//! The committed schema is what the code reads, and every example in the documents is a plan file.

use crate::plan_file::support::report;
use ccb::plan_file::{self, schema, table};
use std::{fs, path::Path};

/// Compares a committed file with what the code prints; `CCB_BLESS=1` writes it.
fn same(path: &str, printed: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("CCB_BLESS").is_some() {
        fs::write(&file, printed).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == printed,
        "{path} is not what the code prints: run the tests with CCB_BLESS=1"
    );
}

#[test]
fn the_committed_schema_is_the_node_table() {
    same("schemas/plan-file.kdl", &schema::kdl());
    same("schemas/plan-file.md", &schema::markdown());
}

#[test]
fn the_schema_is_formatted_kdl_and_its_json_names_every_node() {
    assert_eq!(
        plan_file::format("schema.kdl", &schema::kdl()).unwrap(),
        schema::kdl()
    );
    let json: serde_json::Value = serde_json::from_str(&schema::json()).unwrap();
    assert_eq!(json["nodes"].as_array().unwrap().len(), table::NODES.len());
}

#[test]
fn every_row_of_the_table_is_reachable_and_unique() {
    for node in table::NODES {
        let same = |other: &&table::Node| (other.parent, other.name) == (node.parent, node.name);
        assert_eq!(
            table::NODES.iter().filter(same).count(),
            1,
            "{}/{}",
            node.parent,
            node.name
        );
        let known =
            node.parent == "file" || table::NODES.iter().any(|parent| parent.name == node.parent);
        assert!(
            known,
            "{} stands in {}, which is no node",
            node.name, node.parent
        );
    }
}

#[test]
fn every_kdl_block_in_the_documents_is_kdl() {
    for folder in ["", "schemas"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut names: Vec<_> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        names.sort();
        for path in names
            .iter()
            .filter(|path| path.extension().is_some_and(|e| e == "md"))
        {
            let text = fs::read_to_string(path).unwrap();
            for block in text.split("```kdl\n").skip(1) {
                let block = block.split("```").next().unwrap();
                if let Err(error) = plan_file::format(&path.to_string_lossy(), block) {
                    panic!("{}", report(&error));
                }
            }
        }
    }
}
