//! Whatever is given as a plan file: an answer comes, and no panic, overflow or hang.

use crate::plan_file::support::World;
use ccb::plan_file::{self, UnsetEnv, diagnostic, table};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::{prop_assert, proptest};

/// Reads, formats and resolves `text`; gives back whether it was a plan file.
fn survives(text: &str) -> bool {
    let world = World {
        files: &[("a.kdl", text), ("b.kdl", "include \"a.kdl\"\n")],
        env: &[("HOME", "/home/x")],
        vars: &[],
        unset_env: UnsetEnv::Warn,
    };
    let _ = plan_file::format("a.kdl", text);
    let _ = world.with(plan_file::resolved);
    match world.parse() {
        Ok(parsed) => {
            diagnostic::report(&parsed.warnings, false, 80);
            true
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert!(problem.position().is_some(), "{problem:?}");
            }
            // Drawing hundreds of labels is slow, and no other code than drawing ten.
            let shown = &error.problems[..error.problems.len().min(10)];
            assert!(!diagnostic::report(shown, true, 80).is_empty());
            false
        }
    }
}

fn token() -> impl Strategy<Value = String> {
    let names: Vec<String> = table::NODES
        .iter()
        .map(|node| node.name.to_owned())
        .collect();
    let props: Vec<String> = table::NODES
        .iter()
        .flat_map(|node| node.props.iter().map(|prop| format!("{}=", prop.name)))
        .collect();
    let examples: Vec<String> = table::NODES
        .iter()
        .flat_map(|node| {
            node.arg
                .map(|arg| arg.ty)
                .into_iter()
                .chain(node.props.iter().map(|p| p.ty))
        })
        .map(|ty| ty.example().to_owned())
        .chain(
            [
                "postgres",
                "redis",
                "files",
                "s3",
                "tar",
                "main",
                "on-demand",
            ]
            .map(|w| format!("\"{w}\"")),
        )
        .collect();
    let marks = [
        "{",
        "}",
        "(",
        ")",
        "=",
        ";",
        "\\",
        "\"",
        "\"\"\"",
        "#\"",
        "\"#",
        "#",
        "//",
        "/*",
        "*/",
        "/-",
        "\n",
        " ",
        "${env.X}",
        "\"${var.main}\"",
        "\"${env.HOME}\"",
        "$",
        "[",
        ",",
        "'",
        "30d",
        "-",
        ".",
        "#true",
        "true",
        "\u{feff}",
        "é",
        "\0",
        "\u{2028}",
    ];
    prop_oneof![
        3 => prop::sample::select(names),
        2 => prop::sample::select(props),
        3 => prop::sample::select(examples),
        4 => prop::sample::select(marks.map(str::to_owned).to_vec()),
        2 => Just("{\n".to_owned()),
        2 => Just("}\n".to_owned()),
    ]
}

proptest! {
    #[test]
    fn random_text(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn random_bytes_read_as_text(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn words_of_the_language_in_any_order(tokens in prop::collection::vec(token(), 0..80)) {
        survives(&tokens.join(" "));
        survives(&tokens.concat());
    }

    #[test]
    fn what_reads_and_what_the_kdl_parser_reads_are_the_same(tokens in prop::collection::vec(token(), 0..12)) {
        let text = tokens.join(" ");
        // What the reader accepts is KDL; it accepts less, where KDL reads what nobody means.
        if plan_file::format("a.kdl", &text).is_ok() {
            prop_assert!(kdl::KdlDocument::parse_v2(&text).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn a_plan_with_a_hole(from in 0usize..6000, len in 0usize..60, by in "[\\x00-\\x7f]{0,3}") {
        let text = crate::plan_file::support::committed("plans/production.kdl");
        let from = text.floor_char_boundary(from.min(text.len()));
        let to = text.ceil_char_boundary((from + len).min(text.len()));
        survives(&format!("{}{by}{}", &text[..from], &text[to..]));
    }
}

#[test]
fn deep_long_and_repeated_text() {
    for part in [
        "a {",
        "/*",
        "(",
        "\"",
        "#",
        "/-",
        "\\\n",
        ";",
        "a 1\n",
        "\"\"\"",
        "a=",
        "[",
        "${",
        "é",
        "{}",
        "a{}",
        "plan \"x\" environment=\"y\"\n",
        "component \"x\" {\n}\n",
    ] {
        for times in [1, 64, 65, 8_000] {
            assert!(!survives(&part.repeat(times)), "{part} {times}");
        }
    }
    assert!(!survives(&"x".repeat(2 << 20)));
    assert!(!survives(&format!(
        "{}{}",
        "a {".repeat(64),
        "}".repeat(64)
    )));
}
