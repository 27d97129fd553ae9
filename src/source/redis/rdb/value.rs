//! Walks one value of an RDB, whatever its type, and gives it in its canonical form: strings expanded,
//! elements of sets and hashes marked as having no order.

use crate::source::redis::rdb::RdbError;
use crate::source::redis::rdb::input::{Input, Sink};
use std::io::Read;

/// What kind of value a type byte stands for, as `TYPE` names it; `None` for what is not known here.
pub(crate) fn kind(type_byte: u8) -> Option<&'static str> {
    Some(match type_byte {
        0 => "string",
        1 | 10 | 14 | 18 => "list",
        2 | 11 | 20 => "set",
        3 | 5 | 12 | 17 => "zset",
        4 | 9 | 13 | 16 | 22..=25 => "hash",
        15 | 19 | 21 => "stream",
        _ => return None,
    })
}

/// Copies the value of that type.
pub(crate) fn copy<R: Read>(
    type_byte: u8,
    input: &mut Input<R>,
    to: &mut impl Sink,
) -> Result<(), RdbError> {
    match type_byte {
        // One string: plain, or with all elements packed into it.
        0 | 9..=13 | 16 | 17 | 20 | 23 => input.copy_string(to),
        1 | 14 => {
            for _ in 0..input.copy_count(to)? {
                input.copy_string(to)?;
            }
            Ok(())
        }
        2 => unordered(input, to, |input, to| input.copy_string(to)),
        3 => {
            for _ in 0..input.copy_count(to)? {
                input.copy_string(to)?;
                score_as_text(input, to)?;
            }
            Ok(())
        }
        4 => unordered(input, to, |input, to| {
            input.copy_string(to)?;
            input.copy_string(to)
        }),
        5 => {
            for _ in 0..input.copy_count(to)? {
                input.copy_string(to)?;
                input.copy(8, to)?;
            }
            Ok(())
        }
        15 | 19 | 21 => stream(type_byte, input, to),
        18 => {
            for _ in 0..input.copy_count(to)? {
                input.copy_count(to)?;
                input.copy_string(to)?;
            }
            Ok(())
        }
        22 | 24 => {
            // The earliest time that a field expires at; fields count from it.
            if type_byte == 24 {
                input.copy(8, to)?;
            }
            unordered(input, to, |input, to| {
                input.copy_count(to)?;
                input.copy_string(to)?;
                input.copy_string(to)
            })
        }
        25 => {
            input.copy(8, to)?;
            input.copy_string(to)
        }
        other => Err(RdbError::Unknown {
            what: format!("type {other} at byte {}", input.offset()),
        }),
    }
}

fn unordered<R: Read, S: Sink>(
    input: &mut Input<R>,
    to: &mut S,
    mut element: impl FnMut(&mut Input<R>, &mut S) -> Result<(), RdbError>,
) -> Result<(), RdbError> {
    let count = input.copy_count(to)?;
    to.unordered_begin();
    for _ in 0..count {
        to.element().map_err(RdbError::Scratch)?;
        element(input, to)?;
    }
    to.unordered_end().map_err(RdbError::Scratch)
}

/// A number as text with its length before it; 253 to 255 are NaN and the infinities.
fn score_as_text<R: Read>(input: &mut Input<R>, to: &mut impl Sink) -> Result<(), RdbError> {
    let len = input.byte()?;
    to.put(&[len]).map_err(RdbError::Scratch)?;
    match len {
        253..=255 => Ok(()),
        len => input.copy(len.into(), to),
    }
}

/// A stream: entries, positions, then each consumer group with what it has not acknowledged.
fn stream<R: Read>(
    type_byte: u8,
    input: &mut Input<R>,
    to: &mut impl Sink,
) -> Result<(), RdbError> {
    for _ in 0..input.copy_count(to)? {
        input.copy_string(to)?;
        input.copy_string(to)?;
    }
    // Length, last id; since type 19 also first id, greatest deleted id, entries ever added.
    let positions = if type_byte == 15 { 3 } else { 8 };
    copy_counts(positions, input, to)?;
    for _ in 0..input.copy_count(to)? {
        input.copy_string(to)?;
        copy_counts(if type_byte == 15 { 2 } else { 3 }, input, to)?;
        for _ in 0..input.copy_count(to)? {
            // Entry id, time and number of deliveries.
            input.copy(24, to)?;
            input.copy_count(to)?;
        }
        for _ in 0..input.copy_count(to)? {
            input.copy_string(to)?;
            // When the consumer was seen, and since type 21 when it was active.
            input.copy(if type_byte == 21 { 16 } else { 8 }, to)?;
            for _ in 0..input.copy_count(to)? {
                input.copy(16, to)?;
            }
        }
    }
    Ok(())
}

fn copy_counts<R: Read>(
    count: usize,
    input: &mut Input<R>,
    to: &mut impl Sink,
) -> Result<(), RdbError> {
    for _ in 0..count {
        input.copy_count(to)?;
    }
    Ok(())
}
