//! Tests of `render`: what people and programs read, side by side with the values it is made of.

mod listing;
mod markdown;
mod outputs;
mod report;
mod sample;
pub(crate) mod schema;
