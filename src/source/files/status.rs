//! Reads the status of what its directory says is a regular file, on a thread of its own between the one that reads
//! directories and who asks: in a large tree that takes most of the time. Keeps the order; opens nothing.

use crate::model::strategy::Symlinks;
use crate::model::tree::Problem;
use crate::source::files::scan::{Entry, Item, Message, Note, Noted};
use rustix::fs::{AtFlags, readlinkat, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::{Receiver, SyncSender};

/// Hands on what comes, with its status, until the end comes or nobody listens any more. Where no end came, none is
/// handed on.
pub(crate) fn run(from: &Receiver<Message>, to: &SyncSender<Message>, symlinks: Symlinks) {
    while let Ok(message) = from.recv() {
        let is_end = matches!(message, Message::End);
        let message = match message {
            Message::Batch(items) => {
                let seen = items.into_iter().map(|item| match item {
                    Item::Unseen(entry) => look_at(entry, symlinks),
                    seen => seen,
                });
                Message::Batch(seen.collect())
            }
            Message::End => Message::End,
        };
        if to.send(message).is_err() || is_end {
            return;
        }
    }
}

/// What is there. Since its directory was read it may be something else.
pub(crate) fn look_at(mut entry: Entry, symlinks: Symlinks) -> Item {
    let name = OsStr::from_bytes(entry.name());
    match statat(&entry.parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => entry.stat = stat.into(),
        Err(error) => return failed(entry.path, "read the status of", error),
    }
    if entry.stat.kind.is_symlink() && symlinks == Symlinks::Skip {
        return Item::Excluded;
    }
    if entry.stat.kind.is_symlink() && symlinks == Symlinks::Keep {
        match readlinkat(&entry.parent, OsStr::from_bytes(entry.name()), Vec::new()) {
            Ok(target) => entry.target = target.into_bytes(),
            Err(error) => return failed(entry.path, "read link", error),
        }
        return Item::Entry(entry);
    }
    if entry.stat.kind.is_symlink() || entry.stat.kind.is_dir() {
        // Where it leads was not looked into.
        return Item::Problem(Problem {
            path: entry.path,
            doing: "read",
            cause: io::Error::other("it is no file, as its directory said a moment ago"),
        });
    }
    Item::Entry(entry)
}

/// What was deleted meanwhile is no failure: a backup taken a moment later has it neither.
pub(crate) fn failed(path: Vec<u8>, doing: &'static str, cause: Errno) -> Item {
    if cause == Errno::NOENT {
        return Item::Note(Note {
            path,
            what: Noted::Vanished,
        });
    }
    Item::Problem(Problem {
        path,
        doing,
        cause: cause.into(),
    })
}

#[cfg(test)]
mod tests {
    use crate::model::strategy::Symlinks;
    use crate::source::files::scan::{Entry, Item, Message, Noted};
    use crate::source::files::stat::Stat;
    use crate::source::files::status::{look_at, run};
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mknodat, open, statat};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;

    /// What is told of what its directory called a regular file.
    fn told(directory: &Path, name: &str, symlinks: Symlinks) -> String {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = Arc::new(open(directory, flags, Mode::empty()).unwrap());
        let stat = Stat::from(statat(CWD, directory, AtFlags::empty()).unwrap());
        let entry = Entry {
            parent,
            path: format!("in/{name}").into_bytes(),
            name_at: 3,
            stat,
            target: Vec::new(),
            followed: false,
        };
        match look_at(entry, symlinks) {
            Item::Entry(entry) if entry.stat.kind == FileType::RegularFile => {
                format!("file of {}", entry.stat.size)
            }
            Item::Entry(entry) if entry.stat.kind.is_symlink() => {
                format!("link to {}", String::from_utf8_lossy(&entry.target))
            }
            Item::Entry(entry) => format!("{:?}", entry.stat.kind),
            Item::Note(note) if note.what == Noted::Vanished => "vanished".to_owned(),
            Item::Note(_) | Item::Unseen(_) => "something else".to_owned(),
            Item::Problem(problem) => problem.cause.to_string(),
            Item::Excluded => "excluded".to_owned(),
        }
    }

    #[test]
    fn where_no_end_came_none_is_handed_on() {
        for has_ended in [true, false] {
            let ((to, from), (seen, out)) = (sync_channel(2), sync_channel(2));
            to.send(Message::Batch(vec![Item::Excluded])).unwrap();
            if has_ended {
                to.send(Message::End).unwrap();
            }
            drop(to);
            run(&from, &seen, Symlinks::Keep);
            drop(seen);
            assert!(matches!(out.recv(), Ok(Message::Batch(items)) if items.len() == 1));
            assert_eq!(matches!(out.recv(), Ok(Message::End)), has_ended);
        }
    }

    #[test]
    fn what_took_the_place_of_a_file_is_taken_or_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "12345").unwrap();
        symlink("elsewhere", at("link")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, at("fifo"), FileType::Fifo, mode, 0).unwrap();
        let replaced = "it is no file, as its directory said a moment ago";
        let table = [
            ("file", Symlinks::Keep, "file of 5"),
            ("gone", Symlinks::Keep, "vanished"),
            ("link", Symlinks::Keep, "link to elsewhere"),
            ("link", Symlinks::Skip, "excluded"),
            ("link", Symlinks::Follow, replaced),
            ("directory", Symlinks::Keep, replaced),
            ("fifo", Symlinks::Keep, "Fifo"),
        ];
        for (name, symlinks, expected) in table {
            assert_eq!(told(directory.path(), name, symlinks), expected, "{name}");
        }
    }
}
