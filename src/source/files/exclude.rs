//! Globs that leave files out, as in a `.gitignore`: the last one that matches decides, `!` takes
//! back, `/` at the start or in the middle ties to the root, `/` at the end means directories only.
//! What lies in a directory that is left out is never looked at, so it can not be taken back.

use crate::source::files::FilesError;
use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Compiled globs.
#[derive(Debug, Default)]
pub(crate) struct Excludes {
    globs: GlobSet,
    rules: Vec<Rule>,
    matches: Vec<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    takes_back: bool,
    directories_only: bool,
}

impl Excludes {
    pub(crate) fn new(globs: &[String]) -> Result<Self, FilesError> {
        let mut set = GlobSetBuilder::new();
        let mut rules = Vec::with_capacity(globs.len());
        for text in globs {
            let bad = |cause| FilesError::Exclude {
                glob: text.clone(),
                cause: Box::new(cause),
            };
            let (rule, glob) = read(text);
            let glob = GlobBuilder::new(&glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build();
            set.add(glob.map_err(bad)?);
            rules.push(rule);
        }
        let all = |cause| FilesError::Exclude {
            glob: globs.join(" "),
            cause: Box::new(cause),
        };
        let globs = set.build().map_err(all)?;
        Ok(Self {
            globs,
            rules,
            matches: Vec::new(),
        })
    }

    /// Whether the globs leave out `path`, whose directories are not left out themselves.
    pub(crate) fn excludes(&mut self, path: &[u8], is_directory: bool) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let mut matches = std::mem::take(&mut self.matches);
        self.globs
            .matches_candidate_into(&candidate(path), &mut matches);
        let decided = self.decide(&matches, is_directory);
        self.matches = matches;
        decided
    }

    /// Whether the directory `path` or one that it lies in is left out.
    pub(crate) fn excludes_or_parent(&self, path: &[u8]) -> bool {
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| {
            self.decide(
                &self.globs.matches_candidate(&candidate(&path[..end])),
                true,
            )
        })
    }

    fn decide(&self, matches: &[usize], is_directory: bool) -> bool {
        matches
            .iter()
            .filter(|at| is_directory || !self.rules[**at].directories_only)
            .max()
            .is_some_and(|at| !self.rules[*at].takes_back)
    }
}

/// One glob to look for: matches where a line of a `.gitignore` would.
#[derive(Debug)]
pub struct Glob {
    excludes: Excludes,
    /// The directories that it names before its first wildcard; what lies elsewhere can not match.
    below: Vec<Vec<u8>>,
}

impl Glob {
    /// Compiles it.
    pub fn new(text: &str) -> Result<Self, FilesError> {
        let plain = |part: &&str| !part.contains(['*', '?', '[', '{', '\\', '!']);
        let parts = text.trim_start_matches('/').split('/');
        let mut below: Vec<Vec<u8>> = parts
            .take_while(plain)
            .map(|part| part.as_bytes().to_vec())
            .collect();
        // Without `/` before its end it matches anywhere; the last part is the name itself.
        if !text.trim_end_matches('/').contains('/') {
            below.clear();
        }
        Ok(Self {
            excludes: Excludes::new(&[text.to_owned()])?,
            below,
        })
    }
    /// Whether `path` matches.
    pub fn matches(&mut self, path: &[u8], is_directory: bool) -> bool {
        self.excludes.excludes(path, is_directory)
    }
    /// Whether something below `directory` can match.
    pub fn may_match_below(&self, directory: &[u8]) -> bool {
        let parts = directory.split(|byte| *byte == b'/');
        parts.zip(&self.below).all(|(part, named)| part == named)
    }
}

fn candidate(path: &[u8]) -> Candidate<'_> {
    Candidate::new(Path::new(OsStr::from_bytes(path)))
}

fn read(text: &str) -> (Rule, String) {
    let (takes_back, glob) = text
        .strip_prefix('!')
        .map_or((false, text), |rest| (true, rest));
    let (directories_only, glob) = glob
        .strip_suffix('/')
        .map_or((false, glob), |rest| (true, rest));
    let tied = glob.contains('/');
    let glob = glob.strip_prefix('/').unwrap_or(glob);
    let glob = if tied {
        glob.to_owned()
    } else {
        format!("**/{glob}")
    };
    (
        Rule {
            takes_back,
            directories_only,
        },
        glob,
    )
}

#[cfg(test)]
mod tests {
    use crate::source::files::exclude::{Excludes, Glob};

    #[test]
    fn globs_decide_as_in_a_gitignore() {
        // globs, path, is it a directory, left out
        let table: [(&[&str], &str, bool, bool); 22] = [
            (&[], "a", false, false),
            (&["*.tmp"], "a.tmp", false, true),
            (&["*.tmp"], "deep/er/a.tmp", false, true),
            (&["**/*.tmp"], "a.tmp", false, true),
            (&["**/*.tmp"], "deep/a.tmp", false, true),
            (&["*.tmp"], "a.tmp.keep", false, false),
            (&["/cache"], "cache", true, true),
            (&["/cache"], "sub/cache", true, false),
            (&["a/b"], "a/b", false, true),
            (&["a/b"], "x/a/b", false, false),
            (&["cache/"], "cache", true, true),
            (&["cache/"], "cache", false, false),
            (&["cache/"], "sub/cache", true, true),
            (&["/logs/*"], "logs/a", false, true),
            (&["/logs/*"], "logs/a/b", false, false),
            (&["*.log", "!keep.log"], "keep.log", false, false),
            (&["*.log", "!keep.log"], "other.log", false, true),
            (&["!keep.log", "*.log"], "keep.log", false, true),
            (&["a?c"], "abc", false, true),
            (&["a?c"], "a/c", false, false),
            (&["[ab].txt"], "b.txt", false, true),
            (&["node_modules/**"], "node_modules/x/y", false, true),
        ];
        for (globs, path, is_directory, left_out) in table {
            let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
            let mut excludes = Excludes::new(&globs).expect("the globs are well formed");
            assert_eq!(
                excludes.excludes(path.as_bytes(), is_directory),
                left_out,
                "{globs:?} on {path}"
            );
        }
    }

    #[test]
    fn a_name_that_is_not_text_is_matched_by_its_bytes() {
        let mut excludes = Excludes::new(&["*.tmp".to_owned()]).expect("the glob is well formed");
        assert!(excludes.excludes(b"\xff\xfe.tmp", false));
        assert!(!excludes.excludes(b"\xff\xfe.txt", false));
    }

    #[test]
    fn a_glob_that_is_looked_for_says_where_it_can_not_be() {
        // glob, directory, may it hold a match
        let table = [
            ("*.pdf", "any/where", true),
            ("reports/*.pdf", "reports", true),
            ("reports/*.pdf", "reports/2026", true),
            ("reports/*.pdf", "pictures", false),
            ("/reports/2026/a.pdf", "reports/2025", false),
            ("/reports/2026/a.pdf", "reports/2026", true),
            ("cache/", "deep/er", true),
            ("**/x/y", "anything", true),
        ];
        for (glob, directory, may) in table {
            let made = Glob::new(glob).expect("the glob is well formed");
            let directory = directory.as_bytes();
            assert_eq!(
                made.may_match_below(directory),
                may,
                "{glob} in {directory:?}"
            );
        }
        let mut glob = Glob::new("reports/*.pdf").expect("the glob is well formed");
        assert!(glob.matches(b"reports/a.pdf", false));
        assert!(!glob.matches(b"x/reports/a.pdf", false));
    }
}
