//! Decides what is to be done: a strategy, an inventory and an instant become an ordered, acyclic list of
//! steps, each with its cause and reason. Pure: equal inputs give equal plans, nothing is read or done.

mod backups;
pub mod basis;
mod bucket;
pub mod check;
mod checks;
pub mod compare;
mod copies;
pub mod document;
mod draft;
pub mod due;
pub mod explain;
mod exports;
mod failures;
mod forget;
pub mod graph;
pub mod keep;
pub mod make;
mod matching;
pub mod play;
pub mod proving;
mod prune;
pub mod refresh;
pub mod report;
pub mod request;
pub mod saved;
mod settings;
pub mod simulate;
pub mod status;
pub mod whole;
mod world;

pub use basis::inventory_digest;
pub use check::{Surroundings, check_plan, check_strategy};
pub use document::{
    Action, BackupRef, Cause, Change, CheckSpec, Finding, HeldBack, Kept, KeptBecause, NotDue,
    Plan, Reason, Step, StepId, Summary,
};
pub use graph::Cycle;
pub use make::plan;
pub use request::{OnDemand, Request};
pub use whole::plan_with_checks;
