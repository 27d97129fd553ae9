//! What these tests start from.

use crate::support::captured::{captured, chain};
use crate::support::redis::Server;
use ccb::model::secret::Secret;
use ccb::source::redis::facts::RedisFacts;
use ccb::source::redis::{Request, aof, rdb};
use std::collections::BTreeMap;
use std::time::Duration;

/// A request for a server whose files can not be reached.
pub(crate) fn request(url: &str) -> Request {
    Request {
        url: Secret::new(url.as_bytes().to_vec()),
        via: Vec::new(),
        data_dir: None,
        scratch: std::env::temp_dir(),
        at_ns: 1_800_000_000_000_000_000,
        patience: Duration::from_secs(60),
    }
}

/// A request for a server whose files can be read.
pub(crate) fn with_files(server: &Server) -> Request {
    Request {
        data_dir: Some(server.data().to_path_buf()),
        ..request(&server.url())
    }
}

/// A far side that is here: it only starts what it is given.
pub(crate) fn via() -> Vec<String> {
    ["env", "-u", "FAR"].map(str::to_owned).to_vec()
}

type Files = BTreeMap<String, Vec<u8>>;

/// A snapshot, or why there is none.
pub(crate) fn snapshot(request: Request) -> Result<(Vec<u8>, RedisFacts), String> {
    let (mut files, facts) = captured(rdb(request).map_err(|e| chain(&e))?)?;
    let bytes = files.remove("dump.rdb").expect("it has one file");
    assert!(files.is_empty(), "{:?}", files.keys());
    Ok((bytes, RedisFacts::of(&facts.source).expect("facts")))
}

/// The append-only files, or why there are none.
pub(crate) fn append_only(request: Request) -> Result<(Files, RedisFacts), String> {
    let (files, facts) = captured(aof(request).map_err(|e| chain(&e))?)?;
    Ok((files, RedisFacts::of(&facts.source).expect("facts")))
}
