//! Tests of `plan_file`.
