//! Decides what is to be done: a strategy, an inventory and an instant become an ordered, acyclic list of
//! steps, each with its cause and reason. Pure: equal inputs give equal plans, nothing is read or done.

pub mod basis;
pub mod compare;
pub mod document;
mod matching;
pub mod report;
pub mod saved;
mod settings;

pub use basis::inventory_digest;
pub use document::{
    Action, BackupRef, Cause, Change, CheckSpec, Finding, HeldBack, Kept, KeptBecause, NotDue,
    Plan, Reason, Step, StepId, Summary,
};
