//! Which entries of an archive belong to a table: `pg_restore -t` takes its rows and leaves its indexes, keys,
//! defaults and triggers behind. Decides, and touches nothing.

use crate::model::postgres::{is_named, table_name};
use crate::source::postgres::archive::Entry;
use std::collections::BTreeSet;

/// What is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Tables by name, with or without their schema.
    pub tables: Vec<String>,
    /// Schemas, with everything in them.
    pub schemas: Vec<String>,
}

/// What belongs to a table besides itself, and goes where it goes.
const OF_TABLE: &[&str] = &[
    "TABLE DATA",
    "DEFAULT",
    "CONSTRAINT",
    "CHECK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "TABLE ATTACH",
    "TRIGGER",
    "RULE",
    "POLICY",
    "ROW SECURITY",
    "STATISTICS",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "COMMENT",
    "ACL",
    "SECURITY LABEL",
    "STATISTICS DATA",
];
/// What a table may need to be made, when nothing is there yet.
const NEEDED: &[&str] = &[
    "SCHEMA",
    "EXTENSION",
    "TYPE",
    "SHELL TYPE",
    "DOMAIN",
    "FUNCTION",
    "SEQUENCE",
    "COLLATION",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "AGGREGATE",
    "CAST",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
];
/// Kinds that hold rows.
const TABLES: &[&str] = &["TABLE", "FOREIGN TABLE", "MATERIALIZED VIEW"];

/// What is there where a table is restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// Nothing: the types and functions that it needs come along.
    Nothing,
    /// A database: what it needs is expected to be there.
    Database,
}

/// What was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Numbers of the entries, in the order of the archive.
    pub ids: Vec<i64>,
    /// The tables among them.
    pub tables: Vec<Named>,
    /// Names that were asked for and that nothing has.
    pub missing: Vec<String>,
    /// Foreign keys that were left out: what they point to is not restored with them.
    pub without: Vec<String>,
}

/// A table by its two names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub struct Named {
    pub schema: String,
    pub name: String,
}

impl Selection {
    /// Whether everything is meant.
    pub fn is_all(&self) -> bool {
        self.tables.is_empty() && self.schemas.is_empty()
    }

    /// Chooses among the entries of an archive.
    pub fn choose(&self, entries: &[Entry], there: There) -> Chosen {
        let is_table = |entry: &Entry| TABLES.contains(&entry.kind.as_str());
        let mut chosen = Chosen {
            missing: self.missing(entries),
            ..Chosen::default()
        };
        // What is in a schema, the schema itself, and tables by name.
        let mut ids: BTreeSet<i64> = entries
            .iter()
            .filter(|entry| self.is_in_schema(entry) || is_table(entry) && self.names(entry))
            .map(|entry| entry.id)
            .collect();
        let tables: BTreeSet<i64> = entries
            .iter()
            .filter(|entry| is_table(entry) && ids.contains(&entry.id))
            .map(|entry| entry.id)
            .collect();
        let of_tables = entries.iter().filter(|entry| tables.contains(&entry.id));
        chosen.tables = of_tables
            .map(|entry| Named {
                schema: entry.schema.clone(),
                name: entry.name.clone(),
            })
            .collect();
        add_sequences(entries, &mut ids);
        // What belongs to something chosen; again for what belongs to that, such as the comment on an index.
        loop {
            let before = ids.len();
            for entry in entries
                .iter()
                .filter(|e| OF_TABLE.contains(&e.kind.as_str()))
            {
                let belongs = match entry.kind.as_str() {
                    // Needs what it joins, and is nothing without both.
                    "INDEX ATTACH" | "TABLE ATTACH" => {
                        entry.needs.iter().all(|id| ids.contains(id))
                    }
                    _ => entry.needs.iter().any(|id| ids.contains(id)),
                };
                if belongs && !entry.needs.is_empty() {
                    ids.insert(entry.id);
                }
            }
            if there == There::Nothing {
                add_needed(entries, &mut ids);
            }
            if ids.len() == before {
                break;
            }
        }
        for entry in entries.iter().filter(|entry| entry.kind == "FK CONSTRAINT") {
            let of: Vec<bool> = entry
                .needs
                .iter()
                .filter(|id| entries.iter().any(|e| e.id == **id && is_table(e)))
                .map(|id| tables.contains(id))
                .collect();
            if !of.is_empty() && of.iter().all(|is_chosen| *is_chosen) {
                ids.insert(entry.id);
            } else {
                ids.remove(&entry.id);
                let own = |table: &Named| entry.name.starts_with(&format!("{} ", table.name));
                if chosen.tables.iter().any(own) {
                    chosen.without.push(entry.name.clone());
                }
            }
        }
        let order = entries.iter().filter(|entry| ids.contains(&entry.id));
        chosen.ids = order.map(|entry| entry.id).collect();
        chosen
    }

    fn names(&self, entry: &Entry) -> bool {
        let name = table_name(&entry.schema, &entry.name);
        self.tables.iter().any(|wanted| is_named(&name, wanted))
    }

    fn is_in_schema(&self, entry: &Entry) -> bool {
        self.schemas.iter().any(|schema| {
            entry.schema == *schema || entry.kind == "SCHEMA" && entry.name == *schema
        })
    }

    fn missing(&self, entries: &[Entry]) -> Vec<String> {
        let is_table = |entry: &&Entry| TABLES.contains(&entry.kind.as_str());
        let tables = self.tables.iter().filter(|wanted| {
            let mut tables = entries.iter().filter(is_table);
            !tables.any(|entry| is_named(&table_name(&entry.schema, &entry.name), wanted))
        });
        let schemas = self.schemas.iter().filter(|schema| {
            !entries.iter().any(|entry| {
                entry.schema == **schema || entry.kind == "SCHEMA" && entry.name == **schema
            })
        });
        tables.chain(schemas).cloned().collect()
    }
}

/// All but the foreign keys that point to tables which the archive does not have, where there are such: what a plan
/// file leaves out of a dump is still pointed to from the rest of it. `None`: everything can be restored.
pub fn without_dangling(entries: &[Entry]) -> Option<Chosen> {
    let tables: BTreeSet<String> = entries
        .iter()
        .filter(|entry| TABLES.contains(&entry.kind.as_str()))
        .map(|entry| table_name(&entry.schema, &entry.name))
        .collect();
    let dangles = |entry: &&Entry| {
        entry.kind == "FK CONSTRAINT"
            && points_to(&entry.definition).is_some_and(|table| !tables.contains(table))
    };
    let (dangling, others): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(dangles);
    (!dangling.is_empty()).then(|| Chosen {
        ids: others.iter().map(|entry| entry.id).collect(),
        without: dangling.iter().map(|entry| entry.name.clone()).collect(),
        ..Chosen::default()
    })
}

/// The table that a foreign key points to, as its definition names it: quoted where it must be, with its schema.
fn points_to(definition: &str) -> Option<&str> {
    let (_, after) = definition.rsplit_once(") REFERENCES ")?;
    let mut is_quoted = false;
    let end = after.find(|c: char| {
        is_quoted ^= c == '"';
        c == '(' && !is_quoted
    });
    Some(&after[..end?])
}

/// Sequences that a table's columns take their numbers from: those that are owned by a column, which
/// `SEQUENCE OWNED BY` says, and those that make an identity, which need the table itself.
fn add_sequences(entries: &[Entry], ids: &mut BTreeSet<i64>) {
    let owned = entries
        .iter()
        .filter(|entry| entry.kind == "SEQUENCE OWNED BY");
    let mut more: BTreeSet<i64> = BTreeSet::new();
    for entry in owned {
        if entry.needs.iter().any(|id| ids.contains(id)) {
            more.extend(
                entry
                    .needs
                    .iter()
                    .filter(|id| entries.iter().any(|e| e.id == **id && e.kind == "SEQUENCE")),
            );
        }
    }
    ids.extend(more);
}

/// What the chosen entries need to be made.
fn add_needed(entries: &[Entry], ids: &mut BTreeSet<i64>) {
    let needed: BTreeSet<i64> = entries
        .iter()
        .filter(|entry| ids.contains(&entry.id))
        .flat_map(|entry| entry.needs.iter().copied())
        .collect();
    let known = entries
        .iter()
        .filter(|entry| NEEDED.contains(&entry.kind.as_str()));
    ids.extend(known.map(|entry| entry.id).filter(|id| needed.contains(id)));
}

#[cfg(test)]
mod tests {
    use crate::restore::postgres::select::{Selection, There, without_dangling};
    use crate::source::postgres::archive::Entry;

    fn entry(id: i64, kind: &str, name: &str, needs: &[i64]) -> Entry {
        Entry {
            id,
            kind: kind.to_owned(),
            schema: "public".to_owned(),
            name: name.to_owned(),
            tablespace: String::new(),
            owner: String::new(),
            definition: String::new(),
            needs: needs.to_vec(),
            has_data: kind == "TABLE DATA",
        }
    }

    fn archive() -> Vec<Entry> {
        vec![
            entry(20, "TYPE", "mood", &[]),
            entry(1, "TABLE", "users", &[20]),
            entry(2, "SEQUENCE", "users_id_seq", &[1]),
            entry(3, "TABLE", "orders", &[]),
            entry(4, "SEQUENCE", "orders_id_seq", &[]),
            entry(5, "SEQUENCE OWNED BY", "orders_id_seq", &[3, 4]),
            entry(6, "DEFAULT", "orders id", &[4, 3]),
            entry(7, "VIEW", "both", &[1, 3]),
            entry(8, "TABLE DATA", "users", &[1]),
            entry(9, "TABLE DATA", "orders", &[3]),
            entry(10, "SEQUENCE SET", "orders_id_seq", &[4]),
            entry(11, "CONSTRAINT", "users users_pkey", &[1]),
            entry(12, "INDEX", "orders_total", &[3]),
            entry(13, "COMMENT", "INDEX orders_total", &[12]),
            entry(14, "FK CONSTRAINT", "orders orders_user_fkey", &[3, 1, 11]),
        ]
    }

    #[test]
    fn a_table_comes_with_all_that_belongs_to_it_and_without_what_does_not() {
        let selection = Selection {
            tables: vec!["orders".to_owned()],
            ..Selection::default()
        };
        let chosen = selection.choose(&archive(), There::Database);
        assert_eq!(chosen.ids, [3, 4, 5, 6, 9, 10, 12, 13]);
        assert_eq!(chosen.without, ["orders orders_user_fkey"]);
        assert!(chosen.missing.is_empty());
    }

    #[test]
    fn tables_that_are_restored_together_keep_what_joins_them() {
        let selection = Selection {
            tables: vec![
                "public.orders".to_owned(),
                "users".to_owned(),
                "nothing".to_owned(),
            ],
            ..Selection::default()
        };
        let chosen = selection.choose(&archive(), There::Database);
        assert!(chosen.ids.contains(&14) && chosen.ids.contains(&2) && !chosen.ids.contains(&7));
        assert_eq!(chosen.missing, ["nothing"]);
        assert_eq!(chosen.tables.len(), 2);
    }

    #[test]
    fn where_nothing_is_a_table_brings_its_types() {
        let selection = Selection {
            tables: vec!["users".to_owned()],
            ..Selection::default()
        };
        assert_eq!(
            selection.choose(&archive(), There::Database).ids,
            [1, 2, 8, 11]
        );
        assert_eq!(
            selection.choose(&archive(), There::Nothing).ids,
            [20, 1, 2, 8, 11]
        );
    }

    #[test]
    fn a_foreign_key_to_what_was_left_out_of_the_dump_is_left_out_too() {
        let mut entries = archive();
        assert_eq!(without_dangling(&entries), None);
        let mut points = |to: &str| {
            let key = entries.last_mut().expect("it is the last");
            key.definition = format!(
                "ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES {to}(id) ON DELETE CASCADE;\n"
            );
            without_dangling(&entries)
        };
        assert_eq!(points("public.users"), None);
        for absent in ["public.people", "other.users", "\"a (b)\".users"] {
            let chosen = points(absent).expect(absent);
            assert_eq!(chosen.without, ["orders orders_user_fkey"]);
            assert_eq!(chosen.ids.len(), 14);
            assert!(!chosen.ids.contains(&14));
        }
    }

    #[test]
    fn a_schema_comes_whole() {
        let selection = Selection {
            schemas: vec!["public".to_owned()],
            ..Selection::default()
        };
        let entries = archive();
        assert_eq!(
            selection.choose(&entries, There::Nothing).ids.len(),
            entries.len()
        );
    }
}
