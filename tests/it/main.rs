//! The one test binary: a folder per module of `src/`, and `support/` for what they share.
// Helpers panic as tests do: clippy's own exemption ends at `#[test]` functions.
#![allow(clippy::unwrap_used)]

mod apply;
mod architecture;
mod cli;
mod export;
mod fuzz;
mod observe;
mod plan;
mod plan_file;
mod render;
mod repository;
mod restore;
mod source;
mod store;
mod support;
mod verify;
