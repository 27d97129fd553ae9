//! What can be captured and put back, by kind of source. Knows nothing of stores and repositories:
//! a source gives nodes and bytes, and somebody else keeps them.

pub mod files;
