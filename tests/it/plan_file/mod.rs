//! Plan files: what is read, what is refused and how that looks, and what formatting keeps.

mod language;
pub(crate) mod support;
