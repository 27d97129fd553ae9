//! `ccb fmt` on generated documents: nothing is lost, and formatting again changes nothing.

use ccb::plan_file::format;
use proptest::prelude::{Just, Strategy, prop, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};

fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(" ".to_owned()),
        Just("\t  ".to_owned()),
        Just(" /* why */ ".to_owned()),
        Just(" /* a /* b\n */ */ ".to_owned()),
        Just(" \\\n  ".to_owned()),
        Just(" \\ // go on\n".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "\"[a-z #{}/=;]{0,8}\"",
        "-?[0-9]{1,4}",
        Just("#true".to_owned()),
        Just("#null".to_owned()),
        Just("word".to_owned()),
        Just("#\"raw \" \\ \"#".to_owned()),
        Just("\"é\\n\\\"\\u{41}\"".to_owned()),
        Just("\"\"\"\n  two\n    lines\n  \"\"\"".to_owned()),
    ]
}

fn entry() -> impl Strategy<Value = String> {
    (
        prop_oneof![Just(""), Just("/-"), Just("/- ")],
        prop::option::of("[a-z]{1,5} ?= ?"),
        value(),
    )
        .prop_map(|(dash, key, value)| format!("{dash}{}{value}", key.unwrap_or_default()))
}

fn ending() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n\n".to_owned()),
        Just(" ;".to_owned()),
        Just("; // end\n".to_owned()),
        Just("\t// a comment  \n".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n// alone\n\n// again\n".to_owned()),
    ]
}

fn node(children: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let entries = prop::collection::vec((blank(), entry()), 0..4);
    let block = prop::option::of((prop_oneof![Just(""), Just("/-")], children));
    (
        prop_oneof![Just(""), Just("/-"), Just("/-\n")],
        "[a-z][a-z-]{0,6}",
        entries,
        block,
        ending(),
    )
        .prop_map(|(dash, name, entries, block, ending)| {
            let entries: String = entries
                .into_iter()
                .map(|(blank, entry)| blank + &entry)
                .collect();
            let block = block
                .map(|(dash, inner)| format!(" {dash}{{{inner}}}"))
                .unwrap_or_default();
            format!("{dash}{name}{entries}{block}{ending}")
        })
}

fn document() -> impl Strategy<Value = String> {
    let leaf = Just("\n".to_owned()).boxed();
    let two = node(leaf).boxed();
    let three = prop::collection::vec(
        node(prop::collection::vec(two, 0..3).prop_map(|n| n.concat())),
        0..5,
    );
    three.prop_map(|nodes| nodes.concat())
}

fn comments(text: &str) -> usize {
    [
        "// a comment",
        "// end",
        "// alone",
        "// again",
        "// go on",
        "/* why */",
        "/* a /* b",
    ]
    .iter()
    .map(|comment| text.matches(comment).count())
    .sum()
}

proptest! {
    #[test]
    fn formatting_keeps_the_document_and_every_comment_and_settles(text in document()) {
        let kdl = kdl::KdlDocument::parse_v2(&text);
        let formatted = format("f.kdl", &text);
        prop_assert_eq!(kdl.is_ok(), formatted.is_ok(), "{:?}", text);
        if let (Ok(mut before), Ok(formatted)) = (kdl, formatted) {
            // The KDL parser itself is the judge of whether the document is the same.
            let mut after = kdl::KdlDocument::parse_v2(&formatted).unwrap();
            before.clear_format_recursive();
            after.clear_format_recursive();
            prop_assert_eq!(before.to_string(), after.to_string());
            prop_assert_eq!(comments(&text), comments(&formatted));
            prop_assert!(format("f.kdl", &formatted).unwrap() == formatted, "{}", formatted);
        }
    }
}
