//! Tables and pages of facts: backups, what is in them, how late they are, what rules mean. Each function
//! takes plain values; where no other module has a type for them, one stands next to the function.

pub mod backups;
pub mod checks;
pub mod contents;
pub mod differences;
pub mod explain;
pub mod health;
pub mod pruned;
pub mod refresh;
pub mod restored;
pub mod simulation;
