//! The checks of base backups and of WAL. What a base says of its files is held against every byte of them;
//! WAL against its names, its own headers, and what must come before it.

mod base;
mod crc32c;
mod restore_test;
mod wal;

pub use base::base;
pub use restore_test::{BaseTest, restore_test};
pub use wal::{Around, wal};
