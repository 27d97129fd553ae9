//! Tests of `plan`.

mod check;
mod check_plan;
mod compare;
mod due;
mod saved;
mod whole;
