//! `ccb fmt`: prints a plan file's own tokens again with one layout. Comments, the way a string is
//! quoted and what is commented out with `/-` stay as they are. What was printed is read again; where it
//! would say anything else, the formatter refuses.

use crate::model::strategy::{Place, SourceFile};
use crate::plan_file::diagnostic::{PlanFileError, Problem};
use crate::plan_file::lexer::{Kind, Token, lex};
use crate::plan_file::syntax::{self, Element};

/// `text` in the one layout; `path` is for messages.
pub fn format(path: &str, text: &str) -> Result<String, PlanFileError> {
    let refuse = |problems| {
        let file = SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        PlanFileError::new(problems, &[file], &[])
    };
    let mut problems = Vec::new();
    let before = syntax::read(0, text, &mut problems);
    let tokens = lex(text).unwrap_or_default();
    if !problems.is_empty() {
        return Err(refuse(problems));
    }
    let printed = Printer::new(text).print(&tokens);
    let mut after_problems = Vec::new();
    let after = syntax::read(0, &printed, &mut after_problems);
    let kept = after_problems.is_empty()
        && same(&before, &after)
        && meaningful(text, &tokens) == meaningful(&printed, &lex(&printed).unwrap_or_default());
    if kept {
        return Ok(printed);
    }
    let start = Place {
        file: 0,
        start: 0,
        len: 0,
    };
    let message = "formatting would change what the file says; it was left as it is";
    Err(refuse(vec![
        Problem::error("ccb::fmt::would_change", message, start, "in this file")
            .help("please report this file: it is a bug in `ccb fmt`"),
    ]))
}

/// What `format` would change, as a unified diff; `None` when nothing.
pub fn format_diff(path: &str, text: &str) -> Result<Option<String>, PlanFileError> {
    let formatted = format(path, text)?;
    if formatted == text {
        return Ok(None);
    }
    let diff = similar::TextDiff::from_lines(text, &formatted);
    let mut unified = diff.unified_diff();
    let unified = unified.context_radius(3).header(path, path);
    Ok(Some(unified.to_string()))
}

/// Whether two readings say the same, wherever it stands.
fn same(before: &[Element], after: &[Element]) -> bool {
    let values = |element: &Element| -> Vec<String> {
        let args = element.args.iter().map(|value| value.data.to_kdl());
        let props = element
            .props
            .iter()
            .map(|prop| format!("{}={}", prop.name, prop.value.data.to_kdl()));
        args.chain(props).collect()
    };
    before.len() == after.len()
        && before.iter().zip(after).all(|(a, b)| {
            a.name == b.name && values(a) == values(b) && same(&a.children, &b.children)
        })
}

/// Everything that a reader of the file would miss if it were gone.
fn meaningful<'a>(text: &'a str, tokens: &[Token]) -> Vec<&'a str> {
    tokens
        .iter()
        .filter(|t| !matches!(t.kind, Kind::Space | Kind::Newline | Kind::Semicolon))
        .map(|t| t.of(text).trim_end())
        .collect()
}

struct Printer<'a> {
    text: &'a str,
    out: String,
    depth: usize,
    /// The next thing printed starts a line.
    fresh: bool,
    /// The next thing is printed without a space before it.
    glued: bool,
    /// Newlines seen since the last thing was printed.
    newlines: usize,
    /// The line is the continuation of a `\`.
    continued: bool,
}

impl<'a> Printer<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            out: String::with_capacity(text.len()),
            depth: 0,
            fresh: true,
            glued: false,
            newlines: 0,
            continued: false,
        }
    }

    fn print(mut self, tokens: &[Token]) -> String {
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                Kind::Space => {}
                Kind::Newline => self.newline(),
                Kind::Semicolon => {
                    if next_on_line(tokens, at).is_none_or(|t| t.kind != Kind::LineComment) {
                        self.end_line();
                    }
                }
                Kind::Open => self.open(tokens, at),
                Kind::Close => self.close(tokens, at),
                Kind::LineComment => {
                    let comment = token.of(self.text).trim_end();
                    self.glued = false;
                    self.word(comment);
                    self.break_line();
                }
                Kind::Backslash => {
                    self.glued = false;
                    self.word("\\");
                    self.continued = true;
                }
                Kind::Equals | Kind::ParenClose => {
                    self.glued = true;
                    self.word(token.of(self.text));
                    self.glued = true;
                }
                Kind::ParenOpen | Kind::SlashDash => {
                    self.word(token.of(self.text));
                    self.glued = true;
                }
                Kind::Word | Kind::Text { .. } | Kind::Hash | Kind::BlockComment { .. } => {
                    self.word(token.of(self.text));
                }
            }
        }
        self.end_line();
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }

    /// Prints one word, after a space, or an indentation where a line starts.
    fn word(&mut self, word: &str) {
        if self.fresh {
            if self.newlines > 1 && !self.out.is_empty() && !self.out.ends_with("{\n") {
                self.out.push('\n');
            }
            let depth = self.depth + usize::from(self.continued);
            self.out.push_str(&"    ".repeat(depth));
            self.continued = false;
        } else if !self.glued {
            self.out.push(' ');
        }
        self.out.push_str(word);
        self.fresh = false;
        self.glued = false;
        self.newlines = 0;
    }

    fn newline(&mut self) {
        self.newlines += 1;
        if self.fresh || self.glued {
            return;
        }
        self.break_line();
        self.newlines = 1;
    }

    fn break_line(&mut self) {
        self.out.push('\n');
        self.fresh = true;
        self.glued = false;
    }

    fn end_line(&mut self) {
        if !self.fresh {
            self.break_line();
        }
    }

    fn open(&mut self, tokens: &[Token], at: usize) {
        self.glued &= self.out.ends_with("/-");
        self.word("{");
        let blank = |t: &&Token| matches!(t.kind, Kind::Space | Kind::Newline);
        let inside = tokens[at + 1..].iter().find(|t| !blank(t));
        self.depth += 1;
        if inside.is_some_and(|t| t.kind == Kind::Close) {
            self.glued = true;
        } else if next_on_line(tokens, at).is_none_or(|t| t.kind != Kind::LineComment) {
            self.break_line();
        }
    }

    fn close(&mut self, tokens: &[Token], at: usize) {
        self.depth = self.depth.saturating_sub(1);
        let empty = self.out.ends_with('{') && self.glued;
        if !empty {
            self.end_line();
            self.newlines = 0;
        }
        self.word("}");
        // Only a comment or another block of the same node stays on the line.
        let stays = |kind| {
            matches!(
                kind,
                Kind::LineComment | Kind::SlashDash | Kind::Open | Kind::Semicolon
            )
        };
        if next_on_line(tokens, at).is_some_and(|t| !stays(t.kind)) {
            self.end_line();
        }
    }
}

/// The next token on the same line that is not blank.
fn next_on_line(tokens: &[Token], at: usize) -> Option<&Token> {
    tokens[at + 1..]
        .iter()
        .find(|t| t.kind != Kind::Space)
        .filter(|t| t.kind != Kind::Newline)
}

#[cfg(test)]
mod tests {
    use super::{format, format_diff};

    #[test]
    fn one_layout_with_every_comment() {
        let messy = "// top\n\n\n\nplan   \"a\"  environment = \"b\" // end\ncomponent \"x\" {source \"files\" { path \"p\" };\n\n\n  store \"d\" /* why */ \"e\"; /-retain { last 1 }\n\n}\nempty { }\nlong \\\n  \"a\" \\ // more\n \"b\"\n";
        let tidy = "// top\n\nplan \"a\" environment=\"b\" // end\ncomponent \"x\" {\n    source \"files\" {\n        path \"p\"\n    }\n\n    store \"d\" /* why */ \"e\"\n    /-retain {\n        last 1\n    }\n}\nempty {}\nlong \\\n    \"a\" \\ // more\n    \"b\"\n";
        assert_eq!(format("f.kdl", messy).unwrap(), tidy);
        assert_eq!(format("f.kdl", tidy).unwrap(), tidy);
    }

    #[test]
    fn the_difference_is_shown_as_a_unified_diff() {
        assert_eq!(format_diff("f.kdl", "a 1\n").unwrap(), None);
        let diff = format_diff("f.kdl", "a   1\nb\n").unwrap().unwrap();
        assert_eq!(
            diff,
            "--- f.kdl\n+++ f.kdl\n@@ -1,2 +1,2 @@\n-a   1\n+a 1\n b\n"
        );
    }

    #[test]
    fn text_that_is_not_kdl_is_refused_with_its_problems() {
        assert_eq!(format("f.kdl", "a {\n").unwrap_err().problems.len(), 1);
        assert_eq!(
            format("f.kdl", "every 30d\n").unwrap_err().problems.len(),
            1
        );
    }
}
