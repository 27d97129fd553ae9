//! Looks through a plain SQL dump while it streams past: counts the rows of each `COPY`, and sees that
//! `pg_dump` wrote its last line. Looks at the beginnings of lines only, so lines may be of any length.

use crate::model::ids::Digest;
use crate::model::postgres::{LargeObjectFacts, TableFacts, table_name};
use crate::source::postgres::held::Held;
use std::collections::BTreeMap;

/// So much of a line is looked at.
const HEAD_MAX_BYTES: usize = 4 << 10;
/// What `pg_dump` writes last, but for a closing `\unrestrict`.
const END: &[u8] = b"-- PostgreSQL database dump complete";

/// Reads one plain dump.
#[derive(Default)]
pub struct PlainScanner {
    /// The beginning of the line that is being read.
    head: Vec<u8>,
    copying: Option<Copying>,
    tables: BTreeMap<String, TableFacts>,
    large_objects: u64,
    content: blake3::Hasher,
    is_complete: bool,
}

struct Copying {
    table: String,
    rows: u64,
    bytes: u64,
    hasher: blake3::Hasher,
}

impl PlainScanner {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = HEAD_MAX_BYTES.saturating_sub(self.head.len());
            self.head.extend_from_slice(&piece[..room.min(piece.len())]);
            if let Some(copying) = &mut self.copying {
                copying.bytes += piece.len() as u64;
                copying.hasher.update(piece);
            }
            if piece.ends_with(b"\n") {
                self.line();
                self.head.clear();
            }
        }
    }

    fn line(&mut self) {
        let head = self.head.trim_ascii_end();
        if let Some(mut copying) = self.copying.take() {
            if head != b"\\." {
                copying.rows += 1;
                self.copying = Some(copying);
                return;
            }
            let facts = TableFacts {
                rows: Some(copying.rows),
                bytes: copying.bytes,
                blake3: Digest(*copying.hasher.finalize().as_bytes()),
            };
            self.content.update(&facts.blake3.0);
            self.tables.insert(copying.table, facts);
            return;
        }
        if head == END {
            self.is_complete = true;
        } else if head.starts_with(b"SELECT pg_catalog.lo_create(") {
            self.large_objects += 1;
        }
        let is_incidental = head.starts_with(b"--")
            || head.starts_with(b"\\restrict")
            || head.starts_with(b"\\unrestrict");
        if !is_incidental {
            self.content.update(&self.head);
        }
        if let Some(table) = copied_table(head) {
            self.copying = Some(Copying {
                table,
                rows: 0,
                bytes: 0,
                hasher: blake3::Hasher::new(),
            });
        }
    }

    /// What the dump held, when it was whole.
    pub fn finish(self) -> Option<Held> {
        (self.is_complete && self.copying.is_none()).then(|| Held {
            entries: 0,
            content: Digest(*self.content.finalize().as_bytes()),
            tables: self.tables,
            large_objects: LargeObjectFacts {
                count: self.large_objects,
                bytes: 0,
            },
        })
    }
}

/// The table of `COPY public."Odd name" (a, b) FROM stdin;`.
fn copied_table(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("COPY ")?;
    line.ends_with(" FROM stdin;").then_some(())?;
    let (schema, rest) = name(rest)?;
    let (table, _) = name(rest.strip_prefix('.')?)?;
    Some(table_name(&schema, &table))
}

/// The name that `text` begins with, without its quotes, and what follows.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(['.', ' '])?;
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::source::postgres::plain::{PlainScanner, copied_table};

    const DUMP: &str = "--\n\\restrict abc\nCREATE TABLE public.t (a text);\n\
        COPY public.t (a) FROM stdin;\n1\nCOPY public.x (a) FROM stdin;\n\\.\n\n\
        SELECT pg_catalog.lo_create('16400');\n\
        --\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n";

    fn scanned(text: &str, at_once: usize) -> Option<(Option<u64>, u64, [u8; 32])> {
        let mut scanner = PlainScanner::default();
        text.as_bytes()
            .chunks(at_once)
            .for_each(|b| scanner.feed(b));
        let held = scanner.finish()?;
        Some((
            held.tables["public.t"].rows,
            held.large_objects.count,
            held.content.0,
        ))
    }

    #[test]
    fn rows_are_counted_and_the_last_line_is_asked_for() {
        let whole = scanned(DUMP, 4096).expect("it is whole");
        assert_eq!((whole.0, whole.1), (Some(2), 1));
        assert_eq!(scanned(DUMP, 1), Some(whole));
        let end = DUMP.find("dump complete").expect("it is there");
        for cut in 0..end {
            assert!(scanned(&DUMP[..cut], 7).is_none());
        }
        assert_eq!(scanned(&DUMP.replace("abc", "xyz"), 7), Some(whole));
        assert_ne!(scanned(&DUMP.replace("1\n", "2\n"), 7), Some(whole));
    }

    #[test]
    fn names_of_tables_are_read_as_they_are_quoted() {
        for (line, table) in [
            ("COPY public.t (a, b) FROM stdin;", Some("public.t")),
            (
                r#"COPY "A.b"."c ""d""" (a) FROM stdin;"#,
                Some(r#""A.b"."c ""d""""#),
            ),
            ("COPY public.empty  FROM stdin;", Some("public.empty")),
            ("COPY public.t (a) TO stdout;", None),
            ("SELECT 1;", None),
        ] {
            assert_eq!(copied_table(line.as_bytes()).as_deref(), table, "{line}");
        }
    }
}
