//! Decides what happens to one entry, from what is at its place. Pure.

/// What happens to entries that are in the target and differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// They stay, and each is a problem.
    Never,
    /// They are replaced; what is the same stays.
    IfChanged,
    /// Everything is written anew.
    Always,
}

/// When a file in the target counts as the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sameness {
    /// Size and modification time are equal.
    SizeAndTime,
    /// All its bytes are equal.
    Content,
}

/// What is at an entry's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    Nothing,
    Same,
    Different,
    /// A directory, where the backup has something else.
    Directory,
}

/// What will be done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// There is nothing at its place.
    Create,
    /// Something else is replaced.
    Overwrite,
    /// It is there already.
    Keep,
    /// Something else is at its place and stays: a problem.
    Refuse,
}

/// Decides. Directories are never replaced, because what is in them would go too.
pub(crate) fn decide(existing: Existing, overwrite: Overwrite) -> Intent {
    match (existing, overwrite) {
        (Existing::Nothing, _) => Intent::Create,
        (Existing::Directory, _) | (Existing::Different, Overwrite::Never) => Intent::Refuse,
        (Existing::Same, Overwrite::Never | Overwrite::IfChanged) => Intent::Keep,
        (Existing::Same | Existing::Different, _) => Intent::Overwrite,
    }
}

#[cfg(test)]
mod tests {
    use crate::restore::files::decide::{Existing, Intent, Overwrite, decide};

    #[test]
    fn nothing_that_differs_is_replaced_unless_asked_and_directories_never() {
        use Existing as E;
        use Intent as I;
        let table = [
            (E::Nothing, [I::Create, I::Create, I::Create]),
            (E::Same, [I::Keep, I::Keep, I::Overwrite]),
            (E::Different, [I::Refuse, I::Overwrite, I::Overwrite]),
            (E::Directory, [I::Refuse, I::Refuse, I::Refuse]),
        ];
        for (existing, intents) in table {
            let asked = [Overwrite::Never, Overwrite::IfChanged, Overwrite::Always];
            assert_eq!(
                asked.map(|asked| decide(existing, asked)),
                intents,
                "{existing:?}"
            );
        }
    }
}
