//! Cuts KDL text into tokens that together are the whole text, byte for byte. It never fails: what is
//! not KDL becomes a token too, so that the parser can name the mistake and the formatter can refuse.

/// A stretch of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Token {
    /// The token's own text.
    pub(crate) fn of<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Blanks, and the byte order mark at the start.
    Space,
    Newline,
    /// `// …`, without its newline.
    LineComment,
    /// `/* … */`, nested; `closed` is false when the text ends first.
    BlockComment {
        closed: bool,
    },
    /// `/-`
    SlashDash,
    /// A bare word: an identifier, a number, or what somebody forgot to quote.
    Word,
    /// `"…"`, `"""…"""`, `#"…"#`.
    Text {
        closed: bool,
    },
    /// `#true` and its kind, or what follows a `#` that starts nothing.
    Hash,
    Open,
    Close,
    ParenOpen,
    ParenClose,
    Equals,
    Semicolon,
    Backslash,
}

/// Where nesting went too deep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep {
    pub(crate) at: usize,
}

/// Blocks and block comments deeper than this are refused: the KDL parser recurses on them.
pub(crate) const NESTING_MAX: usize = 64;

/// All tokens of `text`, in order, without gaps.
pub(crate) fn lex(text: &str) -> Result<Vec<Token>, TooDeep> {
    let mut tokens = Vec::new();
    let mut depth: usize = 0;
    let mut at = 0;
    while at < text.len() {
        let (kind, len) = next(text, at)?;
        match kind {
            Kind::Open if depth == NESTING_MAX => return Err(TooDeep { at }),
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token {
            kind,
            start: at,
            end: at + len,
        });
        at += len;
    }
    Ok(tokens)
}

fn next(text: &str, at: usize) -> Result<(Kind, usize), TooDeep> {
    let rest = &text[at..];
    let first = rest.chars().next().unwrap_or('\0');
    Ok(match first {
        '{' => (Kind::Open, 1),
        '}' => (Kind::Close, 1),
        '(' => (Kind::ParenOpen, 1),
        ')' => (Kind::ParenClose, 1),
        '=' => (Kind::Equals, 1),
        ';' => (Kind::Semicolon, 1),
        '\\' => (Kind::Backslash, 1),
        '"' => string(rest),
        '#' => hash(rest),
        '/' if rest.starts_with("//") => (Kind::LineComment, to_line_end(rest)),
        '/' if rest.starts_with("/*") => block_comment(rest, at)?,
        '/' if rest.starts_with("/-") => (Kind::SlashDash, 2),
        _ if rest.starts_with("\r\n") => (Kind::Newline, 2),
        c if is_newline(c) => (Kind::Newline, c.len_utf8()),
        c if is_blank(c) || (at == 0 && c == '\u{feff}') => (Kind::Space, blanks(rest)),
        _ => (Kind::Word, word(rest)),
    })
}

pub(crate) fn is_newline(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

fn is_blank(c: char) -> bool {
    c.is_whitespace() && !is_newline(c)
}

fn to_line_end(rest: &str) -> usize {
    rest.find(is_newline).unwrap_or(rest.len())
}

fn blanks(rest: &str) -> usize {
    let mut chars = rest.char_indices();
    chars.next();
    chars
        .find(|(_, c)| !is_blank(*c))
        .map_or(rest.len(), |(i, _)| i)
}

fn block_comment(rest: &str, at: usize) -> Result<(Kind, usize), TooDeep> {
    let bytes = rest.as_bytes();
    let (mut i, mut depth) = (0, 0);
    while i < bytes.len() {
        match (bytes[i], bytes.get(i + 1)) {
            (b'/', Some(b'*')) if depth == NESTING_MAX => return Err(TooDeep { at: at + i }),
            (b'/', Some(b'*')) => (depth, i) = (depth + 1, i + 2),
            (b'*', Some(b'/')) if depth == 1 => {
                return Ok((Kind::BlockComment { closed: true }, i + 2));
            }
            (b'*', Some(b'/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    Ok((Kind::BlockComment { closed: false }, rest.len()))
}

fn string(rest: &str) -> (Kind, usize) {
    let multi_line = rest.starts_with("\"\"\"");
    let quote = if multi_line { "\"\"\"" } else { "\"" };
    let mut i = quote.len();
    while let Some(c) = rest[i..].chars().next() {
        if rest[i..].starts_with(quote) {
            return (Kind::Text { closed: true }, i + quote.len());
        }
        if c == '\\' {
            i += escape_len(&rest[i..]);
        } else if is_newline(c) && !multi_line {
            break;
        } else {
            i += c.len_utf8();
        }
    }
    (Kind::Text { closed: false }, i)
}

/// Length of the escape that `rest` starts with; one before white space swallows all of it.
fn escape_len(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        None => rest.len(),
        Some((i, c)) if !c.is_whitespace() => i + c.len_utf8(),
        Some(_) => chars
            .find(|(_, c)| !c.is_whitespace())
            .map_or(rest.len(), |(i, _)| i),
    }
}

fn hash(rest: &str) -> (Kind, usize) {
    let hashes = rest.bytes().take_while(|b| *b == b'#').count();
    let after = &rest[hashes..];
    if after.starts_with('"') {
        return raw_string(rest, hashes);
    }
    let word = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .unwrap_or(after.len());
    if matches!(
        &rest[..hashes + word],
        "#true" | "#false" | "#null" | "#inf" | "#-inf" | "#nan"
    ) {
        return (Kind::Hash, hashes + word);
    }
    // Somebody wrote a shell comment: the rest of the line is no KDL.
    (Kind::Hash, to_line_end(rest))
}

fn raw_string(rest: &str, hashes: usize) -> (Kind, usize) {
    let multi_line = rest[hashes..].starts_with("\"\"\"");
    let quotes = if multi_line { 3 } else { 1 };
    let end = format!("{}{}", "\"".repeat(quotes), "#".repeat(hashes));
    let from = hashes + quotes;
    let body = &rest[from..];
    let line = if multi_line {
        body.len()
    } else {
        to_line_end(body)
    };
    match body[..line].find(&end) {
        Some(i) => (Kind::Text { closed: true }, from + i + end.len()),
        None => (Kind::Text { closed: false }, from + line),
    }
}

/// Length of a bare word. An unquoted URL and an unquoted `${NAME}` are one word each, so that what
/// people meant can be named as a whole; KDL itself sees a comment and a block in them.
fn word(rest: &str) -> usize {
    let mut i = 0;
    let mut url = false;
    while let Some(c) = rest[i..].chars().next() {
        let here = &rest[i..];
        if c == '{' && rest[..i].ends_with('$') {
            match here.find(['}', '\n', ' ', '"']) {
                Some(end) if here.as_bytes()[end] == b'}' => i += end + 1,
                _ => break,
            }
        } else if here.starts_with("//") && (url || rest[..i].ends_with(':')) {
            (url, i) = (true, i + 2);
        } else if ends_word(c, here, i, url) {
            break;
        } else {
            i += c.len_utf8();
        }
    }
    i.max(rest.chars().next().map_or(0, char::len_utf8))
}

/// Whether a bare word ends before `c`, which stands at byte `i` of it and starts `here`.
fn ends_word(c: char, here: &str, i: usize, url: bool) -> bool {
    let comment = i > 0 && (here.starts_with("//") || here.starts_with("/*"));
    comment
        || c.is_whitespace()
        || matches!(c, '{' | '}' | '(' | ')' | ';' | '"' | '\\')
        || (matches!(c, '=' | '#') && !url)
}

#[cfg(test)]
mod tests {
    use super::{Kind, lex};

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        let tokens = lex(text).unwrap();
        tokens.iter().map(|t| (t.kind, t.of(text))).collect()
    }

    #[test]
    fn tokens_are_the_whole_text() {
        for text in [
            "a \"b\\\" c\" k=1 // d\n",
            "/* a /* b */ c */ x #\"raw \" \"#",
            "\"open",
            "#",
            "/",
            "a\\\n b",
            "\u{feff}é=\"ü\";",
            "\"\"\"\n a\n \"\"\"",
        ] {
            let joined: String = kinds(text).iter().map(|(_, t)| *t).collect();
            assert_eq!(joined, text);
        }
    }

    #[test]
    fn an_unquoted_url_is_one_word() {
        assert_eq!(kinds("s3://b/x y")[0], (Kind::Word, "s3://b/x"));
        assert_eq!(kinds("a${env.X}b c")[0], (Kind::Word, "a${env.X}b"));
        assert_eq!(kinds("a// c")[0], (Kind::Word, "a"));
    }

    #[test]
    fn nesting_beyond_the_limit_is_refused() {
        assert!(lex(&"a {".repeat(64)).is_ok());
        assert_eq!(lex(&"a {".repeat(65)).unwrap_err().at, 64 * 3 + 2);
        assert!(lex(&"/*".repeat(100_000)).is_err());
    }
}
