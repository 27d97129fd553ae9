//! Tests of `plan`.

mod check;
mod check_plan;
mod compare;
mod due;
mod keep;
mod make;
mod saved;
mod whole;
