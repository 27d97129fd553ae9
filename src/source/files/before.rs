//! What the parent backup has of the directories that a walk is in. What is as it is there is held back: a directory
//! that is left as it was goes out as a whole, so that nobody makes, stores or looks up anything of it again; one in
//! which something differs goes out with what was held. Asks for the parent's trees, and reads nothing of the source.

use crate::model::ids::BlobId;
use crate::model::tree::{
    Body, Entries, Found, Node, NodeKind, Previous, Problem, Recorded, RecordedKind, Totals,
};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::vec;

/// So many entries are held back at most before something goes out: whoever shows progress, or wants to stop, waits
/// for no more.
const HELD_MAX: usize = 8192;

/// The parent's side of the directories from the root to the current one.
pub(super) struct Before {
    previous: Option<Box<dyn Previous>>,
    open: Vec<Level>,
    /// How many entries were held back since something went out.
    held: usize,
}

/// A directory on the way down. While it is held, so is all that the walk met in it. One that has gone out lies in one
/// that has gone out.
struct Level {
    path: Vec<u8>,
    /// Its own node, until it goes out.
    held: Option<Node>,
    /// What it was in the parent backup, if it was there.
    tree: Option<BlobId>,
    /// What the parent has in it, if that can be read; opened when the first is asked for.
    entries: Option<Option<Box<dyn Entries>>>,
    /// What was held back in it and below.
    totals: Totals,
    /// Of this, what is in each of the directories that are held as a whole, in order.
    wholes: Vec<Totals>,
}

/// What goes out.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, which a box would cost an allocation each"
)]
pub(super) enum Ready {
    One(Result<Found, Problem>),
    Held(Held),
}

/// Entries of one directory that were held back.
pub(super) struct Held {
    path: Vec<u8>,
    nodes: Box<dyn Iterator<Item = Node> + Send>,
    wholes: vec::IntoIter<Totals>,
}

impl Iterator for Held {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let mut node = self.nodes.next()?;
        let body = match &mut node.kind {
            NodeKind::File { content, .. } => Body::Unchanged(std::mem::take(content)),
            NodeKind::Directory { .. } => Body::Whole(self.wholes.next()?),
            NodeKind::Symlink { .. } | NodeKind::Special { .. } => Body::Nothing,
        };
        Some(Found {
            path: below(&self.path, &node.name),
            node,
            body,
        })
    }
}

impl Before {
    pub(super) fn new(previous: Option<Box<dyn Previous>>) -> Self {
        Self {
            previous,
            open: Vec::new(),
            held: 0,
        }
    }

    /// When the parent's walk started: see [`Previous::started_ns`]. 0 where there is none.
    pub(super) fn started_ns(&self) -> i128 {
        let previous = self.previous.as_ref();
        previous.map_or(0, |previous| previous.started_ns())
    }

    /// Leaves directories until `path` is the innermost. Lets go of what is held when it has become much.
    pub(super) fn leave_until(&mut self, path: &[u8], out: &mut VecDeque<Ready>) {
        while self.open.last().is_some_and(|level| level.path != path) {
            self.leave(out);
        }
        if self.held >= HELD_MAX {
            self.hand_out(out);
        }
    }

    /// Leaves all directories: the walk is at its end.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Ready>) {
        while !self.open.is_empty() {
            self.leave(out);
        }
    }

    /// Enters a directory of the innermost one, or the root.
    pub(super) fn enter(&mut self, path: Vec<u8>, node: Node, out: &mut VecDeque<Ready>) {
        let tree = match self.open.is_empty() {
            true => self.previous.as_ref().map(|previous| previous.root()),
            false => self.tree_of(&node.name).or_else(|| {
                // Something before it is gone, or it is new.
                self.hand_out(out);
                self.tree_of(&node.name)
            }),
        };
        let mut level = Level {
            path,
            held: None,
            tree,
            entries: None,
            totals: Totals::default(),
            wholes: Vec::new(),
        };
        // The root goes out at once: it has no node in a directory.
        match tree {
            Some(_) if !self.open.is_empty() => level.held = Some(node),
            _ => out.push_back(Ready::One(Ok(directory(&level.path, node)))),
        }
        self.open.push(level);
    }

    /// Holds an entry back if all of the innermost directory is, and `is_same` of what the parent has next.
    pub(super) fn hold(
        &mut self,
        kind: &NodeKind,
        is_same: impl FnOnce(&mut dyn Entries) -> bool,
    ) -> bool {
        let Some(level) = self.open.last_mut().filter(|level| level.held.is_some()) else {
            return false;
        };
        let Some(entries) = entries(level, self.previous.as_deref_mut()) else {
            return false;
        };
        if !is_same(&mut **entries) {
            return false;
        }
        entries.pass();
        level.totals.count(kind);
        self.held += 1;
        true
    }

    /// The parent's node of this name in the innermost directory, which has gone out, if it is as `is_wanted` says.
    pub(super) fn find(
        &mut self,
        name: &[u8],
        is_wanted: impl FnOnce(&Recorded<'_>) -> bool,
    ) -> Option<Node> {
        let level = self.open.last_mut()?;
        let before = seek(entries(level, self.previous.as_deref_mut())?, name)?;
        if !is_wanted(&before.peek()?) {
            return None;
        }
        before.peek_node()
    }

    /// Lets go of all that is held.
    pub(super) fn hand_out(&mut self, out: &mut VecDeque<Ready>) {
        // Where the innermost has gone out, so have those above.
        if self.open.last().is_none_or(|level| level.held.is_none()) {
            return;
        }
        self.held = 0;
        for level in &mut self.open {
            level.hand_out(out);
        }
    }

    /// The parent's tree of a directory of this name in the innermost one.
    fn tree_of(&mut self, name: &[u8]) -> Option<BlobId> {
        let level = self.open.last_mut()?;
        let is_held = level.held.is_some();
        let mut entries = entries(level, self.previous.as_deref_mut())?;
        if !is_held {
            entries = seek(entries, name)?;
        }
        match entries.peek()? {
            Recorded {
                name: before,
                what: RecordedKind::Directory { tree },
                ..
            } if before == name => Some(tree),
            _ => None,
        }
    }

    fn leave(&mut self, out: &mut VecDeque<Ready>) {
        let Some(mut level) = self.open.pop() else {
            return;
        };
        if level.held.is_none() {
            return;
        }
        let entries_here = entries(&mut level, self.previous.as_deref_mut());
        let is_as_it_was = entries_here.is_some_and(|entries| entries.is_at_end());
        let tree = level.tree.filter(|_| is_as_it_was);
        let Some((tree, mut node)) = tree.zip(level.held.take_if(|_| tree.is_some())) else {
            self.hand_out(out);
            self.held = 0;
            return level.hand_out(out);
        };
        node.kind = NodeKind::Directory { tree: Some(tree) };
        self.held += 1;
        if let Some(above) = self.open.last_mut()
            && above.held.is_some()
            && let Some(before) = entries(above, self.previous.as_deref_mut())
            && before.peek_node().as_ref() == Some(&node)
        {
            before.pass();
            above.totals.count(&node.kind);
            above.totals.add(&level.totals);
            above.wholes.push(level.totals);
            return;
        }
        self.hand_out(out);
        self.held = 0;
        out.push_back(Ready::One(Ok(Found {
            path: level.path,
            node,
            body: Body::Whole(level.totals),
        })));
    }
}

impl Level {
    fn hand_out(&mut self, out: &mut VecDeque<Ready>) {
        let Some(node) = self.held.take() else {
            return;
        };
        out.push_back(Ready::One(Ok(directory(&self.path, node))));
        let Some(Some(entries)) = &mut self.entries else {
            return;
        };
        out.push_back(Ready::Held(Held {
            path: self.path.clone(),
            nodes: entries.take_passed(),
            wholes: std::mem::take(&mut self.wholes).into_iter(),
        }));
    }
}

/// What the parent has in this directory.
fn entries<'a>(
    level: &'a mut Level,
    previous: Option<&mut (dyn Previous + 'static)>,
) -> Option<&'a mut Box<dyn Entries>> {
    let open = || {
        let mut opened = previous?.open(&level.tree?)?;
        if level.held.is_none() {
            // Nothing of it is ever held.
            drop(opened.take_passed());
        }
        Some(opened)
    };
    level.entries.get_or_insert_with(open).as_mut()
}

/// Goes on to the entry of this name, if there is one: calls come in the order of names.
fn seek<'a>(entries: &'a mut Box<dyn Entries>, name: &[u8]) -> Option<&'a mut Box<dyn Entries>> {
    loop {
        match entries.peek()?.name.cmp(name) {
            Ordering::Less => entries.pass(),
            Ordering::Equal => return Some(entries),
            Ordering::Greater => return None,
        }
    }
}

fn directory(path: &[u8], node: Node) -> Found {
    Found {
        path: path.to_vec(),
        node,
        body: Body::Nothing,
    }
}

fn below(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        [] => name.to_vec(),
        _ => [path, b"/", name].concat(),
    }
}
