//! How two schemas of a database differ: objects that came, went or changed, tables down to their columns.
//! Decides by value and looks at nothing.

use crate::model::postgres::{Object, Schema};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// Longer definitions are not shown beside each other.
const SHOWN_MAX_CHARS: usize = 120;

/// One object that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Drift {
    /// Its kind and name: `TABLE public.users`.
    pub object: String,
    /// What became of it.
    #[serde(flatten)]
    pub how: How,
}

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "how", rename_all = "lowercase")]
pub enum How {
    /// It is new.
    Added {
        /// How many columns it has; 0 for what is no table.
        column_count: usize,
    },
    /// It is gone.
    Removed {
        /// How many columns it had; 0 for what was no table.
        column_count: usize,
    },
    /// It is another.
    Changed {
        /// Columns that differ; empty where something else of it does.
        columns: Vec<ColumnDrift>,
        /// Its definition before, where it is kept.
        before: Option<String>,
        /// Its definition now.
        after: Option<String>,
    },
}

/// One column that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ColumnDrift {
    /// Its name.
    pub column: String,
    /// Its type and what else is said of it; nothing when it is new.
    pub before: Option<String>,
    /// The same now; nothing when it is gone.
    pub after: Option<String>,
}

/// What became of `before`, by kind and name.
pub fn drift(before: &Schema, after: &Schema) -> Vec<Drift> {
    let (was, is) = (&before.objects, &after.objects);
    let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let how = |name: &String| match (was.get(name), is.get(name)) {
        (None, Some(new)) => Some(How::Added {
            column_count: new.columns.len(),
        }),
        (Some(old), None) => Some(How::Removed {
            column_count: old.columns.len(),
        }),
        (Some(old), Some(new)) if old.digest != new.digest => Some(changed(old, new)),
        _ => None,
    };
    let drifts = names.into_iter().filter_map(|name| {
        Some(Drift {
            how: how(name)?,
            object: name.clone(),
        })
    });
    drifts.collect()
}

fn changed(old: &Object, new: &Object) -> How {
    let said = |of: &Object, name: &str| {
        let found = of.columns.iter().find(|(column, _)| column == name);
        found.map(|(_, said)| said.clone())
    };
    let mut columns: Vec<ColumnDrift> = Vec::new();
    for (name, _) in old.columns.iter().chain(&new.columns) {
        let (before, after) = (said(old, name), said(new, name));
        if before != after && columns.iter().all(|known| known.column != *name) {
            columns.push(ColumnDrift {
                column: name.clone(),
                before,
                after,
            });
        }
    }
    How::Changed {
        columns,
        before: old.definition.clone(),
        after: new.definition.clone(),
    }
}

impl fmt::Display for Drift {
    /// One line: `+ TABLE public.products (14 columns)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = &self.object;
        match &self.how {
            How::Added { column_count } => write!(f, "+ {object}{}", counted(*column_count)),
            How::Removed { column_count } => write!(f, "- {object}{}", counted(*column_count)),
            How::Changed {
                columns,
                before,
                after,
            } => {
                write!(f, "~ {object}")?;
                let short =
                    |text: &Option<String>| text.clone().filter(|t| t.len() <= SHOWN_MAX_CHARS);
                match (columns.as_slice(), short(before), short(after)) {
                    ([], Some(before), Some(after)) if before != after => {
                        write!(f, ": {before} -> {after}")
                    }
                    ([], _, _) => write!(f, ": another definition"),
                    (columns, _, _) => {
                        let columns: Vec<String> =
                            columns.iter().map(ToString::to_string).collect();
                        write!(f, ": {}", columns.join("; "))
                    }
                }
            }
        }
    }
}

impl fmt::Display for ColumnDrift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = &self.column;
        match (&self.before, &self.after) {
            (None, Some(after)) => write!(f, "+ {column} {after}"),
            (Some(_), None) => write!(f, "- {column}"),
            (before, after) => {
                let said = |text: &Option<String>| text.clone().unwrap_or_default();
                write!(f, "~ {column}: {} -> {}", said(before), said(after))
            }
        }
    }
}

fn counted(columns: usize) -> String {
    match columns {
        0 => String::new(),
        1 => " (1 column)".to_owned(),
        n => format!(" ({n} columns)"),
    }
}

#[cfg(test)]
mod tests {
    use crate::model::postgres::drift::drift;
    use crate::model::postgres::{Object, Schema};

    /// Name, columns and definition of an object.
    type Given<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

    fn schema(objects: &[Given<'_>]) -> Schema {
        let objects = objects.iter().map(|(name, columns, definition)| {
            let columns = columns
                .iter()
                .map(|(name, said)| ((*name).to_owned(), (*said).to_owned()))
                .collect::<Vec<_>>();
            let object = Object {
                digest: format!("{columns:?} {definition}"),
                columns,
                definition: (!definition.is_empty()).then(|| (*definition).to_owned()),
            };
            ((*name).to_owned(), object)
        });
        Schema {
            objects: objects.collect(),
        }
    }

    #[test]
    fn what_came_went_and_changed_is_told_down_to_columns() {
        let before = schema(&[
            ("FUNCTION f()", &[], ""),
            ("INDEX public.i", &[], "CREATE INDEX i ON t (a)"),
            ("TABLE public.gone", &[("a", "INTEGER")], ""),
            ("TABLE public.same", &[("a", "INTEGER")], ""),
            (
                "TABLE public.t",
                &[("a", "INTEGER"), ("b", "TEXT"), ("c", "UUID NOT NULL")],
                "",
            ),
        ]);
        let after = schema(&[
            ("FUNCTION f()", &[], " "),
            ("INDEX public.i", &[], "CREATE INDEX i ON t (a, c)"),
            ("TABLE public.new", &[("a", "INTEGER"), ("b", "TEXT")], ""),
            ("TABLE public.same", &[("a", "INTEGER")], ""),
            (
                "TABLE public.t",
                &[("a", "BIGINT"), ("c", "UUID NOT NULL"), ("d", "DATE")],
                "",
            ),
        ]);
        let lines: Vec<String> = drift(&before, &after)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "~ FUNCTION f(): another definition",
                "~ INDEX public.i: CREATE INDEX i ON t (a) -> CREATE INDEX i ON t (a, c)",
                "- TABLE public.gone (1 column)",
                "+ TABLE public.new (2 columns)",
                "~ TABLE public.t: ~ a: INTEGER -> BIGINT; - b; + d DATE",
            ]
        );
        assert_eq!(drift(&after, &after), []);
    }
}
