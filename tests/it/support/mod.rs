//! What the tests share.

pub(crate) mod facts;
pub(crate) mod http;
pub(crate) mod plan;
pub(crate) mod play;
pub(crate) mod postgres;
pub(crate) mod strategy;
