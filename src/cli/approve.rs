//! Asks before anything is done that was not shown and approved: only the word `yes` is consent.

use crate::cli::exit::{Exit, Trouble};
use crate::cli::{output, world};
use std::io;

/// Asks `question` on the terminal, if questions `may` be asked. Without one, or with another answer, nothing
/// may be done.
pub fn ask(may: bool, question: &str, how_else: &str) -> Result<(), Trouble> {
    if !may || !world::stdin_is_terminal() {
        let words = format!("nobody can be asked here; {how_else}");
        return Err(Trouble::new(Exit::NotApproved, words));
    }
    output::say(&format!("{question} Only \"yes\" is accepted:"));
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    match read {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        _ => Err(Trouble::new(
            Exit::NotApproved,
            "not approved, nothing was done",
        )),
    }
}
