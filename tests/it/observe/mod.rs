//! Tests of `observe`: facts that a plan is made on, read from real repositories in memory.

mod facts;
