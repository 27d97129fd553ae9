//! Which statements of `globals.sql` make the roles that a target does not have yet. Roles that are there stay as
//! they are, their passwords too; tablespaces are places on another machine's disk and are never made. Decides,
//! and touches nothing.

use std::collections::BTreeSet;

/// SQL that makes what is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roles {
    /// The statements.
    pub sql: String,
    /// The roles that they make.
    pub new: BTreeSet<String>,
}

/// Chooses the statements of `globals`, which `pg_dumpall --globals-only` wrote, for a server that has the roles
/// `existing`.
pub fn missing(globals: &str, existing: &[String]) -> Roles {
    let existing: BTreeSet<&str> = existing.iter().map(String::as_str).collect();
    let mut roles = Roles::default();
    for statement in statements(globals) {
        let words = statement.trim();
        let is_wanted = if let Some(rest) = words.strip_prefix("CREATE ROLE ") {
            let name = identifier(rest).0;
            let is_new = !existing.contains(name.as_str());
            if is_new {
                roles.new.insert(name);
            }
            is_new
        } else if let Some(rest) = words.strip_prefix("ALTER ROLE ") {
            roles.new.contains(&identifier(rest).0)
        } else if let Some(rest) = words.strip_prefix("COMMENT ON ROLE ") {
            roles.new.contains(&identifier(rest).0)
        } else if let Some(rest) = words.strip_prefix("GRANT ") {
            let (of, rest) = identifier(rest);
            let member = rest.strip_prefix(" TO ").map(|rest| identifier(rest).0);
            member.is_some_and(|to| roles.new.contains(&to) || roles.new.contains(&of))
        } else {
            false
        };
        if is_wanted {
            roles.sql.push_str(words);
            roles.sql.push('\n');
        }
    }
    roles
}

/// The statements of a text, comments and `psql`'s own commands left out. A statement ends with a `;` at the end
/// of a line, outside of quotes.
fn statements(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut statement = String::new();
    for line in text.lines() {
        let is_between = statement.is_empty();
        if is_between && (line.is_empty() || line.starts_with("--") || line.starts_with('\\')) {
            continue;
        }
        statement.push_str(line);
        let is_open = |quote| !statement.matches(quote).count().is_multiple_of(2);
        if line.ends_with(';') && !is_open('\'') && !is_open('"') {
            all.push(std::mem::take(&mut statement));
        } else {
            statement.push('\n');
        }
    }
    all
}

/// The name that `text` begins with, and what follows.
fn identifier(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', ';', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut name = String::new();
    let mut rest = quoted;
    while let Some((part, after)) = rest.split_once('"') {
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (name, after),
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use crate::restore::postgres::roles::missing;

    const GLOBALS: &str = "--\n-- Roles\n--\n\\restrict x\n\
        CREATE ROLE app;\n\
        ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a''b;\nc';\n\
        CREATE ROLE \"Odd \"\"name\"\"\";\n\
        ALTER ROLE \"Odd \"\"name\"\"\" SET work_mem TO '1MB';\n\
        CREATE ROLE postgres;\n\
        ALTER ROLE postgres WITH SUPERUSER PASSWORD 'stolen';\n\
        CREATE TABLESPACE fast OWNER app LOCATION '/mnt/fast';\n\
        GRANT app TO \"Odd \"\"name\"\"\" GRANTED BY postgres;\n\
        GRANT postgres TO postgres;\n";

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays_as_it_is() {
        let roles = missing(GLOBALS, &["postgres".to_owned()]);
        let new: Vec<&str> = roles.new.iter().map(String::as_str).collect();
        assert_eq!(new, ["Odd \"name\"", "app"]);
        assert!(
            roles
                .sql
                .contains("PASSWORD 'SCRAM-SHA-256$4096:a''b;\nc';"),
            "{}",
            roles.sql
        );
        assert!(
            roles
                .sql
                .contains("GRANT app TO \"Odd \"\"name\"\"\" GRANTED BY postgres;")
        );
        assert!(!roles.sql.contains("stolen") && !roles.sql.contains("TABLESPACE"));
        assert!(!roles.sql.contains("GRANT postgres"));
    }

    #[test]
    fn where_all_roles_are_nothing_is_done() {
        let all = ["postgres", "app", "Odd \"name\""].map(str::to_owned);
        assert_eq!(missing(GLOBALS, &all), Default::default());
    }
}
