//! KDL text to a tree of [`Element`]s that remember where each word stands. It reads on after every
//! mistake, names the ones that people make by what they meant, and takes the repaired value, so that
//! one report shows these and what is wrong with the meaning. On text without a mistake of ours the
//! `kdl` crate has the last word on whether it is KDL.

use crate::model::strategy::Place;
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::lexer::{Kind, NESTING_MAX, Token, lex};
use crate::plan_file::literal::{self, Data};

/// One node: its name, arguments, properties and children.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) name_place: Place,
    pub(crate) args: Vec<Value>,
    pub(crate) props: Vec<Property>,
    pub(crate) children: Vec<Element>,
    /// From the name to the last argument or property: what a report underlines.
    pub(crate) head: Place,
}

/// A property of a node.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) name_place: Place,
    /// `name=value`.
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Value {
    pub(crate) data: Data,
    pub(crate) place: Place,
    /// Where the value came from, when it is not the text itself: `${var.x}`.
    pub(crate) origin: Option<Origin>,
    /// The text with its references, before they were resolved.
    pub(crate) written: Option<String>,
}

/// What a value was taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The variable of that name; its value may be shown.
    Variable(String),
    /// The environment variable of that name; its value is not shown.
    Env(String),
    /// A name that is not set where the caller allowed it: nothing is known of the value.
    Unset(String),
}

impl Element {
    /// The first argument, when it is a string.
    pub(crate) fn first(&self) -> Option<&str> {
        self.args.first().and_then(|value| value.data.as_str())
    }
    /// The property of that name.
    pub(crate) fn prop(&self, name: &str) -> Option<&Property> {
        self.props.iter().find(|p| p.name == name)
    }
    /// The first child of that name.
    pub(crate) fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
    /// What decides, besides its name, which children it may have: of which kind a source or export is, and where a
    /// restore test stands. `parent` is what this stands in.
    pub(crate) fn kind<'a>(&'a self, parent: &'a str) -> Option<&'a str> {
        match self.name.as_str() {
            "source" | "export" => self.first(),
            "restore-test" => Some(parent),
            _ => None,
        }
    }
    /// Every child of that name.
    pub(crate) fn each<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Files larger than this are no plan files.
const TEXT_LEN_MAX_BYTES: usize = 1 << 20;

/// The nodes of `text`, which is file number `file`; mistakes go to `problems`.
pub(crate) fn read(file: usize, text: &str, problems: &mut Vec<Problem>) -> Vec<Element> {
    let place = |start: usize, len: usize| Place { file, start, len };
    if text.len() > TEXT_LEN_MAX_BYTES {
        let message = "the file is larger than 1 MiB";
        let at = place(0, text.chars().next().map_or(0, char::len_utf8));
        problems.push(
            Problem::error("ccb::kdl::too_large", message, at, "no plan file is this large")
                .help("is this the file you meant? parts can be moved to files of their own with `include`"),
        );
        return Vec::new();
    }
    let tokens = match lex(text) {
        Ok(tokens) => tokens,
        Err(deep) => {
            let message = format!("nested deeper than {NESTING_MAX}");
            problems.push(
                Problem::error(
                    "ccb::kdl::too_deep",
                    message,
                    place(deep.at, 1),
                    "this one is too deep",
                )
                .help("a plan file needs five levels; is a `}` missing above?"),
            );
            return Vec::new();
        }
    };
    let before = problems.len();
    let mut reader = Reader {
        file,
        text,
        tokens: &tokens,
        at: 0,
        problems,
    };
    let elements = reader.nodes(None);
    if problems.len() == before {
        judge(file, text, problems);
    }
    elements
}

/// Lets the KDL parser find what the reader let pass.
fn judge(file: usize, text: &str, problems: &mut Vec<Problem>) {
    let Err(error) = kdl::KdlDocument::parse_v2(text) else {
        return;
    };
    for found in error.diagnostics {
        let start = text.floor_char_boundary(found.span.offset().min(text.len()));
        let end = text.floor_char_boundary((start + found.span.len()).min(text.len()));
        let message = found.message.unwrap_or_else(|| "syntax error".to_owned());
        let label = found.label.unwrap_or_else(|| "here".to_owned());
        let len = end - start;
        let place = Place { file, start, len };
        let mut problem = Problem::error("ccb::kdl::syntax", lower_first(&message), place, label);
        problem.help = found.help.map(|help| lower_first(&help));
        problems.push(problem);
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

struct Reader<'a> {
    file: usize,
    text: &'a str,
    tokens: &'a [Token],
    at: usize,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }
    fn place(&self, token: Token) -> Place {
        Place {
            file: self.file,
            start: token.start,
            len: token.end - token.start,
        }
    }
    fn wrong(&mut self, code: &'static str, message: &str, token: Token, label: &str, help: &str) {
        let place = self.place(token);
        self.problems
            .push(Problem::error(code, message, place, label).help(help));
    }

    /// Nodes up to the end, or to the `}` that closes `opened`.
    fn nodes(&mut self, opened: Option<Token>) -> Vec<Element> {
        let mut nodes = Vec::new();
        loop {
            self.skip(true);
            match self.peek() {
                None => {
                    if let Some(open) = opened {
                        self.wrong(
                            "ccb::kdl::unclosed_block",
                            "`{` is never closed",
                            open,
                            "opened here",
                            "add the missing `}`",
                        );
                    }
                    return nodes;
                }
                Some(token) if token.kind == Kind::Close => {
                    self.at += 1;
                    if opened.is_some() {
                        return nodes;
                    }
                    self.wrong(
                        "ccb::kdl::unopened_block",
                        "`}` closes nothing",
                        token,
                        "no `{` is open here",
                        "remove it",
                    );
                }
                Some(token) if token.kind == Kind::Semicolon => self.at += 1,
                Some(token) if token.kind == Kind::SlashDash => {
                    self.at += 1;
                    self.skip(true);
                    // Dropped by the author; it is read only to know where it ends.
                    self.node();
                }
                Some(_) => nodes.extend(self.node()),
            }
        }
    }

    /// Skips blanks and comments; and newlines too, when `lines`.
    fn skip(&mut self, lines: bool) {
        while let Some(token) = self.peek() {
            match token.kind {
                Kind::Space => {}
                Kind::BlockComment { closed } => {
                    if !closed {
                        self.wrong(
                            "ccb::kdl::unclosed_comment",
                            "`/*` is never closed",
                            Token {
                                end: token.start + 2,
                                ..token
                            },
                            "opened here",
                            "end the comment with `*/`",
                        );
                    }
                }
                Kind::Newline | Kind::LineComment if lines => {}
                Kind::Backslash => {
                    if !self.continues_line() {
                        return;
                    }
                    continue;
                }
                _ => return,
            }
            self.at += 1;
        }
    }

    /// Takes a `\` and the line end behind it.
    fn continues_line(&mut self) -> bool {
        let mut next = self.at + 1;
        while let Some(token) = self.tokens.get(next) {
            match token.kind {
                Kind::Space | Kind::LineComment | Kind::BlockComment { .. } => next += 1,
                Kind::Newline => {
                    self.at = next + 1;
                    return true;
                }
                _ => return false,
            }
        }
        self.at = next;
        true
    }

    fn node(&mut self) -> Option<Element> {
        self.annotation();
        let token = self.peek()?;
        if !matches!(token.kind, Kind::Word | Kind::Text { .. }) {
            if token.kind != Kind::Close {
                self.unexpected(token, "a node starts with its name");
            }
            return None;
        }
        self.at += 1;
        let name = match token.kind {
            Kind::Word => token.of(self.text).to_owned(),
            _ => match self.value(token).data {
                Data::Text(name) => name,
                _ => String::new(),
            },
        };
        let mut element = Element {
            name,
            name_place: self.place(token),
            args: Vec::new(),
            props: Vec::new(),
            children: Vec::new(),
            head: self.place(token),
        };
        self.entries(&mut element, token.end);
        Some(element)
    }

    fn entries(&mut self, element: &mut Element, name_end: usize) {
        let mut end = name_end;
        let mut dropped = false;
        // Brackets and commas come in numbers: one complaint per node is enough.
        let mut told = false;
        loop {
            self.skip(dropped);
            let Some(token) = self.peek() else { return };
            match token.kind {
                Kind::Newline | Kind::Semicolon | Kind::LineComment | Kind::Close => return,
                Kind::SlashDash => {
                    self.at += 1;
                    dropped = true;
                    continue;
                }
                Kind::Open => {
                    self.at += 1;
                    let children = self.nodes(Some(token));
                    if !dropped {
                        element.children.extend(children);
                    }
                    if self.after_children() {
                        return;
                    }
                }
                Kind::Word if token.of(self.text).chars().all(|c| "[],".contains(c)) => {
                    self.at += 1;
                    if !std::mem::replace(&mut told, true) {
                        self.punctuation(token);
                    }
                    end = usize::MAX;
                }
                Kind::Hash
                    if literal::read(token.of(self.text), token.kind)
                        .mistake
                        .is_some() =>
                {
                    self.at += 1;
                    self.value(token);
                }
                Kind::Word | Kind::Text { .. } | Kind::Hash | Kind::ParenOpen => {
                    if token.start == end {
                        self.glued(token);
                    }
                    self.annotation();
                    let Some(first) = self.peek() else { return };
                    end = self.entry(element, first, dropped);
                }
                _ => self.unexpected(token, "write a value, name=value, or { children }"),
            }
            dropped = false;
        }
    }

    /// One argument or property; gives back where it ends.
    fn entry(&mut self, element: &mut Element, first: Token, dropped: bool) -> usize {
        if !matches!(first.kind, Kind::Word | Kind::Text { .. } | Kind::Hash) {
            return first.start;
        }
        self.at += 1;
        let mark = self.at;
        self.skip(false);
        if self.peek().is_some_and(|t| t.kind == Kind::Equals) {
            self.at += 1;
            self.skip(false);
            self.annotation();
            return self.property(element, first, dropped);
        }
        self.at = mark;
        let value = self.value(first);
        if !dropped {
            grow(&mut element.head, value.place);
            element.args.push(value);
        }
        first.end
    }

    fn property(&mut self, element: &mut Element, key: Token, dropped: bool) -> usize {
        let value_token = self
            .peek()
            .filter(|t| matches!(t.kind, Kind::Word | Kind::Text { .. } | Kind::Hash));
        let Some(token) = value_token else {
            let help = format!("write {}=... with a value, or remove it", key.of(self.text));
            self.wrong(
                "ccb::kdl::missing_value",
                "a property without a value",
                key,
                "nothing follows the `=`",
                &help,
            );
            return key.end;
        };
        self.at += 1;
        let name = match key.kind {
            Kind::Word => key.of(self.text).to_owned(),
            _ => self.value(key).data.as_str().unwrap_or_default().to_owned(),
        };
        let value = self.value(token);
        if !dropped {
            let mut place = self.place(key);
            grow(&mut place, self.place(token));
            grow(&mut element.head, place);
            element.props.push(Property {
                name,
                name_place: self.place(key),
                place,
                value,
            });
        }
        token.end
    }

    /// Behind a block only the end of its node may stand. Tells whether something else does: it is
    /// read as the next node.
    fn after_children(&mut self) -> bool {
        self.skip(false);
        if let Some(token) = self.peek()
            && matches!(token.kind, Kind::Word | Kind::Text { .. } | Kind::Hash)
        {
            self.wrong(
                "ccb::kdl::after_block",
                "text behind a block",
                token,
                "the node has ended",
                "start a new line after `}`",
            );
            return true;
        }
        false
    }

    /// Skips `(type)`, which means nothing in a plan file.
    fn annotation(&mut self) {
        let Some(open) = self.peek().filter(|t| t.kind == Kind::ParenOpen) else {
            return;
        };
        let mut last = open;
        while let Some(token) = self.peek() {
            if matches!(token.kind, Kind::Newline | Kind::Open | Kind::Close) {
                break;
            }
            last = token;
            self.at += 1;
            if token.kind == Kind::ParenClose {
                break;
            }
        }
        let whole = Token {
            end: last.end,
            ..open
        };
        self.wrong(
            "ccb::kdl::type_annotation",
            "a type annotation means nothing here",
            whole,
            "values carry their type in how they are written",
            "remove it",
        );
        self.skip(false);
    }

    fn glued(&mut self, token: Token) {
        self.wrong(
            "ccb::kdl::missing_space",
            "a space is missing",
            token,
            "no space before it",
            "put a space before it",
        );
    }

    fn punctuation(&mut self, token: Token) {
        let (code, message) = if token.of(self.text).contains(['[', ']']) {
            ("ccb::kdl::list", "KDL has no lists in brackets")
        } else {
            (
                "ccb::kdl::comma",
                "values are separated by spaces, not commas",
            )
        };
        self.wrong(
            code,
            message,
            token,
            "not KDL",
            "write the values one after another: \"a\" \"b\"",
        );
    }

    fn unexpected(&mut self, token: Token, help: &str) {
        let shown: String = token.of(self.text).chars().take(20).collect();
        let message = format!("`{}` is not expected here", shown.escape_debug());
        self.wrong("ccb::kdl::unexpected", &message, token, "not KDL", help);
        self.at += 1;
        if token.kind == Kind::Hash {
            return;
        }
        // The rest of the line would only repeat the complaint.
        while let Some(next) = self.peek() {
            if matches!(
                next.kind,
                Kind::Newline | Kind::Open | Kind::Close | Kind::Semicolon
            ) {
                return;
            }
            self.at += 1;
        }
    }

    fn value(&mut self, token: Token) -> Value {
        let read = literal::read(token.of(self.text), token.kind);
        let place = self.place(token);
        let unknown = read.mistake.is_some() && read.data == Data::Null;
        if let Some(mistake) = read.mistake {
            let at = Place {
                start: place.start + mistake.range.start,
                len: mistake.range.len(),
                ..place
            };
            self.problems.push(
                Problem::error(mistake.code, mistake.message, at, mistake.label).help(mistake.help),
            );
        }
        Value {
            data: read.data,
            place,
            origin: unknown.then(|| Origin::Unset(String::new())),
            written: None,
        }
    }
}

/// Stretches `place` to the end of `to`.
fn grow(place: &mut Place, to: Place) {
    place.len = to.start + to.len - place.start;
}
