//! Tests of `repository`.

mod format;
