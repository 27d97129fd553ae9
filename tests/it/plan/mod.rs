//! Tests of `plan`.

mod compare;
mod saved;
