//! Where something stands in the plan file, as a path, a line and a column.

use crate::model::ids::Address;
use crate::model::strategy::{Place, SourceFile, Strategy};

/// A place that people and programs can go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot<'a> {
    pub(crate) file: &'a SourceFile,
    pub(crate) place: Place,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
}

/// The place of `address`, if the strategy knows one that lies inside its file.
pub(crate) fn spot<'a>(strategy: &'a Strategy, address: &Address) -> Option<Spot<'a>> {
    let place = *strategy.place(address)?;
    let file = strategy.files.get(place.file)?;
    let before = file.text.get(..place.start)?;
    file.text
        .get(place.start..place.start.checked_add(place.len)?)?;
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    Some(Spot {
        file,
        place,
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
    })
}
