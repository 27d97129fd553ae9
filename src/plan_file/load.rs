//! Reads a plan file and what it includes into one list of elements. Reading itself is the caller's.

use crate::model::strategy::{Place, SourceFile};
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::syntax::{self, Element};
use std::{collections::BTreeMap, io};

/// All files, and their top-level nodes in reading order; `include` nodes are replaced.
pub(crate) struct Loaded {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) elements: Vec<Element>,
}

/// Reads `text`, which is the file at `path`, and follows its includes through `read`.
pub(crate) fn load(
    path: &str,
    text: &str,
    read: &dyn Fn(&str) -> io::Result<String>,
    problems: &mut Vec<Problem>,
) -> Loaded {
    let mut loader = Loader {
        read,
        files: Vec::new(),
        elements: Vec::new(),
        chain: Vec::new(),
        included_at: BTreeMap::new(),
        problems,
    };
    loader.file(path, text.to_owned());
    Loaded {
        files: loader.files,
        elements: loader.elements,
    }
}

struct Loader<'a> {
    read: &'a dyn Fn(&str) -> io::Result<String>,
    files: Vec<SourceFile>,
    elements: Vec<Element>,
    /// The paths being read now, outermost first, each with the place of the include that led on.
    chain: Vec<(String, Option<Place>)>,
    included_at: BTreeMap<String, Place>,
    problems: &'a mut Vec<Problem>,
}

impl Loader<'_> {
    fn file(&mut self, path: &str, text: String) {
        let index = self.files.len();
        let elements = syntax::read(index, &text, self.problems);
        self.files.push(SourceFile {
            path: path.to_owned(),
            text,
        });
        self.chain.push((normal(path), None));
        for element in elements {
            if element.name != "include" {
                self.own(element, index);
            } else if let (Some(target), Some(place)) =
                (element.first(), element.args.first().map(|arg| arg.place))
            {
                self.include(&join(path, target), target.contains("${"), place);
            } else {
                // Kept, so that the check of its shape says what is missing.
                self.elements.push(element);
            }
        }
        self.chain.pop();
    }

    fn own(&mut self, element: Element, index: usize) {
        if element.name == "plan" && index > 0 {
            self.problems.push(
                Problem::error(
                    "ccb::config::plan_in_include",
                    "`plan` stands in an included file",
                    element.head,
                    "only the root file says what it is",
                )
                .help("move it to the file that is given to ccb"),
            );
            return;
        }
        self.elements.push(element);
    }

    fn include(&mut self, path: &str, interpolated: bool, place: Place) {
        if interpolated {
            self.problems.push(
                Problem::error(
                    "ccb::config::include",
                    "the path of an include is fixed",
                    place,
                    "`${...}` means nothing here",
                )
                .help("write the path itself: include \"shared/app.kdl\""),
            );
            return;
        }
        if let Some(last) = self.chain.last_mut() {
            last.1 = Some(place);
        }
        let wanted = normal(path);
        if let Some(start) = self.chain.iter().position(|(open, _)| *open == wanted) {
            self.cycle(start, &wanted);
            return;
        }
        if let Some(first) = self.included_at.insert(wanted, place) {
            self.problems.push(
                Problem::error(
                    "ccb::config::included_twice",
                    format!("\"{path}\" is included twice"),
                    place,
                    "included again here",
                )
                .and(first, "first included here")
                .help("remove one of them: every name in it would be defined twice"),
            );
            return;
        }
        match (self.read)(path) {
            Ok(text) => self.file(path, text),
            Err(why) => {
                let why = if why.kind() == io::ErrorKind::NotFound {
                    "no such file".to_owned()
                } else {
                    why.to_string()
                };
                self.problems.push(
                    Problem::error(
                        "ccb::config::include",
                        format!("cannot include \"{path}\": {why}"),
                        place,
                        "included here",
                    )
                    .help("the path is relative to the file that it stands in"),
                );
            }
        }
    }

    fn cycle(&mut self, start: usize, wanted: &str) {
        let ring = &self.chain[start..];
        let mut drawn: Vec<&str> = ring.iter().map(|(path, _)| path.as_str()).collect();
        drawn.push(wanted);
        let message = format!("files include each other: {}", drawn.join(" -> "));
        let mut places = ring.iter().filter_map(|(path, at)| Some((path, (*at)?)));
        let Some((first, at)) = places.next() else {
            return;
        };
        let next = |i: usize| drawn.get(i + 1).copied().unwrap_or(wanted);
        let mut problem = Problem::error(
            "ccb::config::include_cycle",
            message,
            at,
            format!("\"{first}\" includes \"{}\"", next(0)),
        );
        for (i, (path, at)) in places.enumerate() {
            problem = problem.and(at, format!("\"{path}\" includes \"{}\"", next(i + 1)));
        }
        self.problems
            .push(problem.help("remove one of these includes"));
    }
}

/// `target` as seen from the file at `from`.
fn join(from: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    match from.rsplit_once('/') {
        Some((folder, _)) => normal(&format!("{folder}/{target}")),
        None => normal(target),
    }
}

/// The path without `.` and, where it can be known, without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn includes_are_relative_to_the_file_they_stand_in() {
        assert_eq!(join("plans/p.kdl", "shared/a.kdl"), "plans/shared/a.kdl");
        assert_eq!(join("plans/shared/a.kdl", "../b.kdl"), "plans/b.kdl");
        assert_eq!(join("p.kdl", "./a.kdl"), "a.kdl");
        assert_eq!(join("p.kdl", "../a.kdl"), "../a.kdl");
        assert_eq!(join("/x/p.kdl", "/y/a.kdl"), "/y/a.kdl");
        assert_eq!(join("/x/p.kdl", "../a.kdl"), "/a.kdl");
    }
}
