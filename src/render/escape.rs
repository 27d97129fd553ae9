//! Makes untrusted text harmless. File names, tags, messages of programs and texts of plan files come from
//! elsewhere: in no output may they move the cursor, end a line, or pose as markup.

use std::fmt::Write;

/// `text` on one line: control characters, line ends and what reorders or hides text become `\u{1b}` and the
/// like. Everything else stays.
pub fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` with its lines and its length in bytes unchanged, for drawing places in it: each byte of what
/// [`line`] would escape becomes `?`; tabs and line feeds stay.
pub fn same_length(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) && c != '\n' && c != '\t' {
            out.extend(std::iter::repeat_n('?', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// `text` in running Markdown: no character of it is markup, a mention or HTML.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in line(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // The comment parts the sign from the name, so that nobody is notified.
            '@' => out.push_str("@<!-- -->"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '!' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}

/// `text` as a Markdown code span whose fence is longer than any run of backticks inside.
pub fn code_span(text: &str) -> String {
    let text = line(text);
    let fence = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Markdown in a cell of a table, which ends at a bar, in a code span too.
pub fn cell(markdown: &str) -> String {
    markdown.replace('|', "\\|")
}

/// A fenced block of that language around `body`, one backtick longer than any run inside, at least three.
pub fn fenced(language: &str, body: &str) -> String {
    let fence = "`".repeat((longest_run(body, '`') + 1).max(3));
    format!(
        "{fence}{language}\n{}\n{fence}\n",
        body.trim_end_matches('\n')
    )
}

/// `text` between double quotes in a dot file, or a Mermaid label.
pub fn dot(text: &str) -> String {
    line(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// `text` in a Mermaid label between double quotes, where only entities escape.
pub fn mermaid(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in line(text).chars() {
        if c.is_ascii_alphanumeric() || " .,:/=+>?~-()".contains(c) || !c.is_ascii() {
            out.push(c);
        } else {
            // Writing into a string has no way to fail.
            let _ = write!(out, "#{};", c as u32);
        }
    }
    out
}

fn longest_run(text: &str, wanted: char) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// Control characters, line and paragraph separators, and what has no width or turns the direction of text.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use crate::render::escape;

    #[test]
    fn a_line_holds_no_control_character_and_no_turned_text() {
        let table = [
            ("grün 日本", "grün 日本"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("exe\u{202e}gpj", "exe\\u{202e}gpj"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
        ];
        for (text, safe) in table {
            assert_eq!(escape::line(text), safe);
        }
    }

    #[test]
    fn offsets_stay_where_text_is_drawn() {
        let text = "a\x1b\u{202e}b\tc\nd";
        let safe = escape::same_length(text);
        assert_eq!(safe, "a????b\tc\nd");
        assert_eq!(safe.len(), text.len());
    }

    #[test]
    fn a_fence_is_longer_than_any_run_inside() {
        assert_eq!(escape::code_span("a``b"), "```a``b```");
        assert_eq!(escape::code_span("`"), "`` ` ``");
        assert_eq!(
            escape::fenced("diff", "x\n````\n"),
            "`````diff\nx\n````\n`````\n"
        );
        assert_eq!(escape::fenced("", "x"), "```\nx\n```\n");
    }

    #[test]
    fn running_markdown_has_no_markup_mention_or_html_of_the_value() {
        assert_eq!(
            escape::markdown("<b>@team *x* [a](b) | `c`\n# d"),
            "&lt;b&gt;@<!-- -->team \\*x\\* \\[a\\](b) \\| \\`c\\`\\n\\# d".replace("\\n", "\\\\n")
        );
    }
}
