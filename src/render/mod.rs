//! Makes words of values: plans, reports of runs and inventories become text, Markdown, annotations, SARIF
//! and graphs. Pure: data in, `String` out. The width of the terminal and whether it has colours are
//! arguments; nothing here reads or prints.

pub mod escape;
pub mod event;
pub mod github;
pub mod graph;
pub mod listing;
pub mod markdown;
pub mod output;
pub mod report;
pub mod sarif;
pub mod text;

mod groups;
mod paint;
mod place;
mod snippet;
mod table;
pub(crate) mod words;

/// How what is rendered will be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether colour codes may be written.
    pub color: bool,
    /// Columns that there are.
    pub width: usize,
    /// Whether notes that nobody has to act on are told at length.
    pub verbose: bool,
}

impl Look {
    /// Without colours, 100 columns: what files and pipes get.
    pub const PLAIN: Self = Self {
        color: false,
        width: 100,
        verbose: false,
    };
}
