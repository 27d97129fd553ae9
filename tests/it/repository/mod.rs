//! Tests of `repository`: the real code over a store in memory or a directory, with fixed surroundings.

mod comparing;
mod copying;
mod crash;
mod damage;
mod deltas;
mod format;
pub(crate) mod given;
mod healing;
mod hostile_deltas;
mod incremental;
mod keys;
mod late_listing;
mod listing;
mod lock;
mod many_deltas;
mod open;
mod pruning;
mod rotation;
mod round_trip;
mod sessions;
mod simulation;
mod simulation_of_prunes;
mod tidying;
mod trouble;
mod unreadable;
mod wal;
