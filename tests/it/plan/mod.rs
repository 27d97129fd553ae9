//! Tests of `plan`.

mod compare;
mod due;
mod saved;
