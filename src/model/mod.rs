//! Plain data that every other module speaks: what is asked for ([`strategy`]), what exists
//! ([`inventory`]), the ids and units both are written in. Pure: nothing here reads a file, a clock,
//! the environment or a random number, and nothing here decides.

pub mod bucket;
pub mod difference;
pub mod holder;
pub mod ids;
pub mod inventory;
pub mod postgres;
pub mod records;
pub mod rules;
pub mod secret;
pub mod strategy;
pub mod tree;
pub mod units;
pub mod wal;
