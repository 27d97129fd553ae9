//! Holds the house together: which module of `src/` may import which, and that the pure ones touch
//! nothing of the world. A text scan: it prints file, line and the wrong import.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module, and the modules it may import; bottom layer first.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("plan_file", &["model"]),
    ("plan", &["model"]),
    ("render", &["model", "plan"]),
    ("wire", &[]),
    ("store", &["wire"]),
    ("repository", &["model", "store"]),
    ("source", &["model", "wire"]),
    ("observe", &["model", "store", "repository", "source"]),
    ("restore", &["model", "store", "repository", "source"]),
    (
        "verify",
        &["model", "store", "repository", "source", "restore"],
    ),
    ("export", &["model", "store", "repository", "restore"]),
    (
        "apply",
        &[
            "export",
            "model",
            "plan",
            "store",
            "repository",
            "source",
            "restore",
            "verify",
        ],
    ),
    ("notify", &["model", "plan"]),
    (
        "cli",
        &[
            "apply",
            "export",
            "model",
            "notify",
            "observe",
            "plan",
            "plan_file",
            "render",
            "repository",
            "restore",
            "source",
            "store",
            "verify",
            "wire",
        ],
    ),
];

/// Modules that read no file, socket, process, clock, environment, thread, terminal or random number.
const PURE: &[&str] = &["model", "plan_file", "plan", "render", "repository/format"];

const EFFECTS: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::process",
    "std::env",
    "std::thread",
    "std::time::SystemTime",
    "Instant::now",
    "::now()",
    "tokio::",
    "rayon::",
    "rustix::",
    "tempfile::",
    "SystemRandom",
    "println!",
];

/// Outside `cli`, nobody reads the clock, the environment, the terminal or random numbers.
const ONLY_IN_CLI: &[&str] = &[
    "Timestamp::now",
    "Zoned::now",
    "SystemTime::now",
    "env::var",
    "env::args",
    "SystemRandom",
    "is_terminal",
];

#[test]
fn modules_import_only_what_the_table_allows() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = top_module(&path);
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let Some(may) = allowed.get(module.as_str()) else {
            wrong.push(format!("{path}: module {module} has no row in ALLOWED"));
            continue;
        };
        for (number, line) in code_lines(&text) {
            for rest in line.split("crate::").skip(1) {
                let other: String = rest
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                if other != module
                    && allowed.contains_key(other.as_str())
                    && !may.contains(&other.as_str())
                {
                    wrong.push(format!("{path}:{number}: {module} imports {other}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pure_modules_touch_nothing_of_the_world() {
    assert_absent(EFFECTS, |path| {
        PURE.iter()
            .any(|pure| path == format!("{pure}.rs") || path.starts_with(&format!("{pure}/")))
    });
}

#[test]
fn clock_environment_terminal_and_randomness_enter_in_cli_only() {
    // A directory has no clock of its own when no file can be made in it.
    let own_clock = ["store/local.rs", "store/sftp.rs"];
    assert_absent(ONLY_IN_CLI, |path| {
        !path.starts_with("cli/") && !own_clock.contains(&path)
    });
}

fn assert_absent(effects: &[&str], concerns: impl Fn(&str) -> bool) {
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| concerns(path)) {
        for (number, line) in code_lines(&text) {
            for effect in effects.iter().filter(|effect| line.contains(**effect)) {
                wrong.push(format!("{path}:{number}: uses {effect}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Lines of code, numbered from 1: no comments, nothing below the file's test module.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(i, line)| (i + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn top_module(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs").to_owned()
}

/// Every file under `src/`: its path below it, and its text.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> = vec![root.clone()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(
        found.len() > 20,
        "the scan found hardly any source: {found:?}"
    );
    found.sort();
    found
}
