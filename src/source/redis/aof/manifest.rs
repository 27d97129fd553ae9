//! The manifest of an append-only directory, as Redis 7 writes it: one line per file,
//! `file NAME seq NUMBER type b|h|i`. Pure.

use std::fmt::Write;

/// The files of an append-only directory that hold its data, in the order they are loaded in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AofManifest {
    /// The snapshot that it begins with.
    pub base: Option<AofFile>,
    /// Commands since then.
    pub increments: Vec<AofFile>,
}

/// One file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AofFile {
    /// Its name in the directory.
    pub name: String,
    /// Its number.
    pub sequence: u64,
}

/// Why a manifest can not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the append-only manifest: {why}")]
pub struct ManifestError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl AofManifest {
    /// Reads one. Files of type `h` are history: the server is about to delete them.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        for (index, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| ManifestError {
                line: index + 1,
                why: why.to_owned(),
            };
            let words = words(line).ok_or_else(|| wrong("a quote is not closed"))?;
            let value = |name: &str| {
                let pairs = words.chunks_exact(2);
                let found = pairs.into_iter().find(|pair| pair[0] == name);
                found
                    .map(|pair| pair[1].clone())
                    .ok_or_else(|| wrong(&format!("it has no `{name}`")))
            };
            let name = value("file")?;
            let is_plain =
                !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.');
            if !is_plain {
                return Err(wrong("its file is not in the directory itself"));
            }
            let sequence = value("seq")?
                .parse()
                .map_err(|_| wrong("its `seq` is no number"))?;
            let file = AofFile { name, sequence };
            match value("type")?.as_str() {
                "b" if manifest.base.is_some() => return Err(wrong("there is a second base")),
                "b" => manifest.base = Some(file),
                "i" if manifest
                    .increments
                    .last()
                    .is_some_and(|last| last.sequence >= sequence) =>
                {
                    return Err(wrong("its `seq` does not grow"));
                }
                "i" => manifest.increments.push(file),
                "h" => {}
                _ => return Err(wrong("its `type` is not known")),
            }
        }
        Ok(manifest)
    }

    /// As Redis writes it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let typed = |file, kind| (file, kind);
        let base = self.base.iter().map(|file| typed(file, 'b'));
        for (file, kind) in base.chain(self.increments.iter().map(|file| typed(file, 'i'))) {
            let AofFile { name, sequence } = file;
            // Writing into a string has no way to fail.
            let _ = writeln!(text, "file {} seq {sequence} type {kind}", quoted(name));
        }
        text
    }

    /// All its files, in the order they are loaded in.
    pub fn files(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.increments)
    }
}

/// The words of a line, of which some may be in double quotes with backslashes.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else {
            return Some(words);
        };
        let mut word = String::new();
        if first == '"' {
            chars.next();
            loop {
                match chars.next()? {
                    '"' => break,
                    '\\' => word.push(chars.next()?),
                    c => word.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
                word.push(c);
            }
        }
        words.push(word);
    }
}

fn quoted(name: &str) -> String {
    if name.contains([' ', '"', '\\']) {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    } else {
        name.to_owned()
    }
}
