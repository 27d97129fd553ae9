//! PostgreSQL's write-ahead log as files: their names, what their first bytes say, which of them are held,
//! and what is missing between. Pure; nothing here is read from a server or a store.

mod archive;
mod facts;
mod header;
mod history;
mod name;

pub use archive::{Archive, Chain, Gap};
pub use facts::{Archiver, BaseFacts, WalFacts, WalRun};
pub use header::{HEADER_LEN, SegmentHeader, WalError, check_segment};
pub use history::{Fork, History};
pub use name::{Lsn, SegmentBytes, SegmentName, SystemId, WalName};
