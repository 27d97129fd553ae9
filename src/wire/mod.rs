//! How S3 servers are spoken to: one signed request and its answer at a time, bounded in time and memory, and what
//! a refusal means. Shared by buckets that backups are stored in and buckets that are protected; knows nothing
//! of either, retries nothing, and follows no redirect.

mod access;
mod answer;
mod connection;
mod prompt;
mod request;

pub use access::{Access, SetupError};
pub use answer::{Answer, Kind, Trouble, refusal};
pub use connection::{ANSWER_MAX_BYTES, Wire};
pub use request::{Request, escaped};
