//! Tests of `plan`.

mod check;
mod check_plan;
mod compare;
mod due;
mod keep;
mod make;
mod proving;
mod saved;
mod simulate;
mod status;
mod whole;
