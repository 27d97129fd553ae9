//! Files that restore without ccb: a backup's bytes as they are, as a `.tar.gz`, or encrypted as `openssl enc`
//! and `gpg --symmetric` do it; and the way back, from such a file to its bytes. Streams all the way, in bounded
//! memory. Decides nothing: what is written where stands in the plan, or was asked for.

mod archive;
mod encode;
mod error;
mod file;
pub mod gpg;
pub mod openssl;
mod payload;
mod place;
mod spool;

pub use encode::{Recipe, Seed};
pub use error::ExportError;
pub use file::to_file;
pub use payload::Payload;
pub use place::{Placed, Removed, key, put, remove};
pub use spool::Spool;
