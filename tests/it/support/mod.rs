//! What the tests share.

pub(crate) mod archiving;
pub(crate) mod awaited;
pub(crate) mod captured;
pub(crate) mod ceph;
pub(crate) mod clock;
pub(crate) mod disk;
pub(crate) mod facts;
pub(crate) mod http;
pub(crate) mod on_drop;
pub(crate) mod plan;
pub(crate) mod play;
pub(crate) mod postgres;
pub(crate) mod postgres_backup;
pub(crate) mod proxy;
pub(crate) mod pushing;
pub(crate) mod redis;
pub(crate) mod redis_backup;
pub(crate) mod restored;
pub(crate) mod s3;
pub(crate) mod s3_client;
pub(crate) mod s3_settings;
pub(crate) mod ssh;
pub(crate) mod strategy;
pub(crate) mod tcp;
