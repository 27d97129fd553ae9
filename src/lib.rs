//! `ccb`: a declarative plan-and-apply engine for backups.
//!
//! A plan file says what must be protected, when, for how long and where; `ccb plan` compares that
//! with what the destinations hold, `ccb apply` carries the difference out. The one way through the
//! house: [`plan_file`] reads text into a [`model::strategy::Strategy`]; [`observe`] reads stores into
//! a [`model::inventory::Inventory`]; [`plan`] turns both and an instant into a plan, purely;
//! [`render`] makes words of it, purely; [`apply`] walks it; [`notify`] tells others. `tests/it/architecture.rs` holds who may
//! import whom.

pub mod apply;
pub mod cli;
pub mod export;
pub mod model;
pub mod notify;
pub mod observe;
pub mod plan;
pub mod plan_file;
pub mod render;
pub mod repository;
pub mod restore;
pub mod source;
pub mod store;
pub mod verify;
pub mod wire;
