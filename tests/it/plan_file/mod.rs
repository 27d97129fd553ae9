//! Plan files: what is read, what is refused and how that looks, and what formatting keeps.

mod errors;
mod format;
mod garbage;
mod language;
mod schema;
pub(crate) mod support;
