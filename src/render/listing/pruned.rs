//! What a prune removed, and what waits.

use crate::model::ids::DestinationName;
use crate::model::units::Size;
use crate::render::Look;
use crate::render::escape::line;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;

/// So many packs, and what they take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many.
    pub count: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Amount {
    fn words(self) -> String {
        format!("{}, {}", words::count(self.count, "pack"), Size(self.bytes))
    }
}

/// What a prune did at one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Where.
    pub destination: DestinationName,
    /// Backups that left the trash, shortened ids.
    pub emptied: Vec<String>,
    /// Packs that are gone.
    pub removed: Amount,
    /// Packs that nothing needs, found now.
    pub condemned: Amount,
    /// Packs that what is needed was moved out of.
    pub repacked: Amount,
    /// What was stored again for that.
    pub rewritten_bytes: u64,
    /// Packs that go later.
    pub waiting: Amount,
    /// When the first of them have had their grace.
    pub waiting_until: Option<Timestamp>,
    /// Hosts whose runs some of them wait for.
    pub waiting_for: Vec<String>,
    /// Packs that the store does not let go.
    pub locked: Amount,
    /// What takes room in packs that stay.
    pub unused_bytes: u64,
    /// What was found to be damaged, and how.
    pub damaged: Vec<(String, String)>,
}

/// One line that says what came of it, and one for each thing that happened.
pub fn pruned(of: &Pruned, look: &Look) -> String {
    let mut out = format!(
        "destination.{}: {} freed\n",
        of.destination,
        Size(of.removed.bytes)
    );
    let mut say = |words: String| out += &format!("  {words}\n");
    if !of.emptied.is_empty() {
        say(format!("left the trash   {}", of.emptied.join(" ")));
    }
    for (word, amount) in [
        ("removed       ", of.removed),
        ("condemned     ", of.condemned),
    ] {
        if amount.count > 0 {
            say(format!("{word}   {}", amount.words()));
        }
    }
    if of.repacked.count > 0 {
        let again = Size(of.rewritten_bytes);
        say(format!(
            "repacked         {}; {again} of it stored again",
            of.repacked.words()
        ));
    }
    if of.waiting.count > 0 {
        let until = of.waiting_until.map(words::instant).unwrap_or_default();
        say(format!(
            "waiting          {}, the first until {until}",
            of.waiting.words()
        ));
    }
    if !of.waiting_for.is_empty() {
        let hosts: Vec<String> = of.waiting_for.iter().map(|host| line(host)).collect();
        say(format!("waiting for      runs on {}", hosts.join(", ")));
    }
    if of.locked.count > 0 {
        say(format!(
            "locked           {}: the store does not let them go yet",
            of.locked.words()
        ));
    }
    if of.unused_bytes > 0 {
        say(format!(
            "unused           {} in packs that stay",
            Size(of.unused_bytes)
        ));
    }
    for (key, why) in &of.damaged {
        let word = look.paint(Tint::BoldRed, "damaged");
        say(format!(
            "{word}          {}: {}; `ccb check` shows what it hits",
            line(key),
            line(why)
        ));
    }
    out
}
