//! Reads one value of KDL text, and knows the values that people forget to quote.

use crate::plan_file::lexer::Kind;
use std::ops::Range;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Text(String),
    Integer(i128),
    Float(f64),
    Bool(bool),
    Null,
}

impl Data {
    /// The text of a string.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number with decimals",
            Self::Bool(_) => "a boolean",
            Self::Null => "#null",
        }
    }
    /// As it is written in a plan file.
    pub(crate) fn to_kdl(&self) -> String {
        match self {
            Self::Text(text) => quote(text),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => format!("{number:?}"),
            Self::Bool(value) => format!("#{value}"),
            Self::Null => "#null".to_owned(),
        }
    }
}

/// `text` as a quoted KDL string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What was read, and what was wrong with it.
pub(crate) struct Read {
    pub(crate) data: Data,
    pub(crate) mistake: Option<Mistake>,
}

/// A mistake within a value; `range` counts from the value's first byte.
pub(crate) struct Mistake {
    pub(crate) code: &'static str,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) label: String,
    pub(crate) help: String,
}

/// Reads `text`, one token of `kind`. With a mistake the value is what was probably meant, or `Null`
/// when that is not known.
pub(crate) fn read(text: &str, kind: Kind) -> Read {
    match kind {
        Kind::Text { closed: false } => wrong(
            Data::Null,
            "ccb::kdl::unclosed_string",
            0..text.find('\n').unwrap_or(text.len()),
            "a string is never closed".to_owned(),
            "its closing quote is missing",
            format!(
                "end it with {}",
                if text.starts_with('#') { "\"#" } else { "\"" }
            ),
        ),
        Kind::Text { closed: true }
            if text.starts_with("\"\"\"") || text.trim_start_matches('#').starts_with("\"\"\"") =>
        {
            multi_line(text)
        }
        Kind::Text { .. } if text.starts_with('#') => {
            let hashes = text.len() - text.trim_start_matches('#').len();
            right(Data::Text(
                text[hashes + 1..text.len() - hashes - 1].to_owned(),
            ))
        }
        Kind::Text { .. } => single_line(text),
        Kind::Hash => hash(text),
        _ => word(text),
    }
}

fn right(data: Data) -> Read {
    Read {
        data,
        mistake: None,
    }
}

fn wrong(
    data: Data,
    code: &'static str,
    range: Range<usize>,
    message: String,
    label: &str,
    help: String,
) -> Read {
    let label = label.to_owned();
    let mistake = Some(Mistake {
        code,
        range,
        message,
        label,
        help,
    });
    Read { data, mistake }
}

fn hash(text: &str) -> Read {
    match text {
        "#true" => right(Data::Bool(true)),
        "#false" => right(Data::Bool(false)),
        "#null" => right(Data::Null),
        "#inf" => right(Data::Float(f64::INFINITY)),
        "#-inf" => right(Data::Float(f64::NEG_INFINITY)),
        "#nan" => right(Data::Float(f64::NAN)),
        _ => wrong(
            Data::Null,
            "ccb::kdl::hash_comment",
            0..text.len(),
            "`#` does not start a comment in KDL".to_owned(),
            "read as a value",
            "start the comment with `//`".to_owned(),
        ),
    }
}

/// A bare word: a number, an identifier, or what should have been quoted.
fn word(text: &str) -> Read {
    if let Some(number) = number(text) {
        return right(number);
    }
    let as_text = Data::Text(text.to_owned());
    let (code, message, label, help) = if text.contains("://") {
        let scheme = &text[..text.find("//").unwrap_or(0)];
        (
            "ccb::kdl::unquoted_url",
            "unquoted URL".to_owned(),
            format!("`//` starts a comment in KDL, so the value is only \"{scheme}\""),
            format!("quote it: {}", quote(text)),
        )
    } else if text.contains("${") {
        (
            "ccb::kdl::unquoted_interpolation",
            "`${...}` outside of quotes".to_owned(),
            "`{` opens a block here".to_owned(),
            format!("quote it: {}", quote(text)),
        )
    } else if matches!(text, "true" | "false" | "null" | "inf" | "-inf" | "nan") {
        (
            "ccb::kdl::bare_keyword",
            format!("`{text}` without `#` is KDL 1"),
            "neither a keyword nor a quoted string".to_owned(),
            format!("write #{text}"),
        )
    } else if text.starts_with('\'') {
        (
            "ccb::kdl::single_quotes",
            "single quotes do not quote in KDL".to_owned(),
            "the quote would be part of the value".to_owned(),
            format!("use double quotes: {}", quote(text.trim_matches('\''))),
        )
    } else if text.contains(['[', ']']) {
        let inner = text.trim_matches(['[', ']', ',']);
        (
            "ccb::kdl::list",
            "KDL has no lists in brackets".to_owned(),
            "not KDL".to_owned(),
            format!(
                "write the values one after another, without brackets: {}",
                quote(inner)
            ),
        )
    } else if text.ends_with(',') {
        (
            "ccb::kdl::comma",
            "values are separated by spaces, not commas".to_owned(),
            "the comma would be part of the value".to_owned(),
            format!("remove it: {}", without_comma(text).to_kdl()),
        )
    } else if looks_like_number(text) || text.contains('/') {
        (
            "ccb::kdl::unquoted_value",
            format!("`{text}` is neither a number nor a string"),
            "must be quoted".to_owned(),
            format!("quote it: {}", quote(text)),
        )
    } else {
        return right(as_text);
    };
    let data = match text {
        "true" => Data::Bool(true),
        "false" => Data::Bool(false),
        "null" => Data::Null,
        _ if code == "ccb::kdl::list" => Data::Null,
        _ if code == "ccb::kdl::single_quotes" => Data::Text(text.trim_matches('\'').to_owned()),
        _ if code == "ccb::kdl::comma" => without_comma(text),
        _ => as_text,
    };
    wrong(data, code, 0..text.len(), message, &label, help)
}

fn without_comma(text: &str) -> Data {
    let meant = text.trim_end_matches(',');
    number(meant).unwrap_or_else(|| Data::Text(meant.to_owned()))
}

fn looks_like_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let digits = digits.strip_prefix('.').unwrap_or(digits);
    digits.starts_with(|c: char| c.is_ascii_digit())
}

fn number(text: &str) -> Option<Data> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let negative = text.starts_with('-');
    let radix = match unsigned.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    let digits = if radix == 10 {
        unsigned
    } else {
        &unsigned[2..]
    };
    let first = digits.chars().next()?;
    if !first.is_digit(radix) || digits.ends_with("._") {
        return None;
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    if plain.chars().all(|c| c.is_digit(radix)) {
        let value = i128::from_str_radix(&plain, radix).ok()?;
        return Some(Data::Integer(if negative { -value } else { value }));
    }
    let is_float = radix == 10
        && plain
            .chars()
            .all(|c| c.is_ascii_digit() || ".eE+-".contains(c))
        && plain
            .split('.')
            .nth(1)
            .is_none_or(|f| f.starts_with(|c: char| c.is_ascii_digit()));
    let value: f64 = plain.parse().ok().filter(|_| is_float)?;
    Some(Data::Float(if negative { -value } else { value }))
}

fn single_line(text: &str) -> Read {
    let body = &text[1..text.len() - 1];
    let mut out = String::with_capacity(body.len());
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let rest = &body[at + 1..];
        match escape(rest) {
            Some((text, len)) => {
                out.push_str(&text);
                let end = at + 1 + len;
                while chars.clone().next().is_some_and(|(i, _)| i < end) {
                    chars.next();
                }
            }
            None => {
                let len = rest.chars().next().map_or(0, char::len_utf8);
                let start = at + 1;
                return wrong(
                    Data::Null,
                    "ccb::kdl::escape",
                    start..start + 1 + len,
                    format!("`\\{}` is no escape", &rest[..len]),
                    "escapes are \\\" \\\\ \\n \\r \\t \\b \\f \\s \\u{...}",
                    format!("double the backslash: \\\\{}", &rest[..len]),
                );
            }
        }
    }
    right(Data::Text(out))
}

/// What the escape behind a backslash stands for, and its length.
fn escape(rest: &str) -> Option<(String, usize)> {
    let first = rest.chars().next()?;
    let one = |text: &str| Some((text.to_owned(), 1));
    match first {
        'n' => one("\n"),
        'r' => one("\r"),
        't' => one("\t"),
        'b' => one("\u{8}"),
        'f' => one("\u{c}"),
        's' => one(" "),
        '"' => one("\""),
        '\\' => one("\\"),
        'u' => {
            let hex = rest.strip_prefix("u{")?.split('}').next()?;
            let valid = (1..=6).contains(&hex.len()) && hex.bytes().all(|b| b.is_ascii_hexdigit());
            let c = u32::from_str_radix(hex, 16)
                .ok()
                .filter(|_| valid)
                .and_then(char::from_u32)?;
            rest.as_bytes().get(2 + hex.len()).filter(|b| **b == b'}')?;
            Some((c.to_string(), hex.len() + 3))
        }
        c if c.is_whitespace() => {
            let len = rest
                .find(|c: char| !c.is_whitespace())
                .unwrap_or(rest.len());
            Some((String::new(), len))
        }
        _ => None,
    }
}

/// Longer multi-line strings do not occur, and the KDL parser recurses on bad ones.
const MULTI_LINE_LEN_MAX_BYTES: usize = 16 << 10;

/// The rules of indentation in multi-line strings are subtle; the KDL parser knows them.
fn multi_line(text: &str) -> Read {
    let parsed = if text.len() <= MULTI_LINE_LEN_MAX_BYTES {
        kdl::KdlEntry::parse(text).ok()
    } else {
        None
    };
    match parsed.as_ref().and_then(|entry| entry.value().as_string()) {
        Some(value) => right(Data::Text(value.to_owned())),
        None => wrong(
            Data::Null,
            "ccb::kdl::multi_line_string",
            0..text.find('\n').unwrap_or(text.len()),
            "a multi-line string that is none".to_owned(),
            "starts here",
            "start and end it on lines of their own, and indent every line like the closing quotes"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{Data, number, quote, read};
    use crate::plan_file::lexer::Kind;

    #[test]
    fn numbers_are_read_as_kdl_reads_them() {
        for (text, value) in [("1_000", 1000), ("-5", -5), ("0xff", 255), ("+0b10", 2)] {
            assert_eq!(number(text), Some(Data::Integer(value)), "{text}");
        }
        assert_eq!(number("1.5e3"), Some(Data::Float(1500.0)));
        for text in [
            "30d",
            "02:00",
            "50%",
            "1.",
            "x",
            "",
            "-",
            "1.2.3",
            "2026-12-31",
            "_1",
        ] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_reads_back() {
        for text in ["", "a\"b\\c\n\t", "é\u{1}\u{2028}", "${x}"] {
            let quoted = quote(text);
            let back = read(&quoted, Kind::Text { closed: true });
            assert_eq!(back.data, Data::Text(text.to_owned()));
            assert!(back.mistake.is_none());
        }
    }
}
