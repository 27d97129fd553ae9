//! A data directory as far as `ccb wal` looks at it, and a plan file whose repositories are there: pushes and
//! fetches as a server runs them, without the server.

use crate::support::archiving::{expect, folder, plan};
use crate::support::postgres::give_to_server_user;
use ccb::model::wal::{SegmentBytes, SegmentName};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The cluster.
pub(crate) const SYSTEM: u64 = 7_712_584_460_880_615_971;
/// The length of a segment.
pub(crate) const MIB: usize = 1 << 20;

/// A data directory as far as a push and a fetch look at it, and a plan whose repositories are there.
pub(crate) struct Given(TempDir);

impl Given {
    pub(crate) fn new() -> Self {
        let folder = folder();
        let at = folder.path();
        fs::write(at.join("plan.kdl"), plan(at, "/nowhere", "")).unwrap();
        data_directory(&at.join("data"), SYSTEM);
        let given = Self(folder);
        given.make_repositories();
        given
    }

    pub(crate) fn at(&self) -> &Path {
        self.0.path()
    }

    /// A WAL backup of nothing: it makes the repositories.
    pub(crate) fn make_repositories(&self) {
        expect(
            self.at(),
            0,
            &["backup", "plan.kdl", "db", "--method", "wal"],
        );
    }

    /// A finished segment in `data/pg_wal`; its bytes depend on `seed`.
    pub(crate) fn segment(&self, number: u64, seed: u8) -> String {
        self.segment_of(SYSTEM, 1, number, seed)
    }

    pub(crate) fn segment_of(&self, system: u64, timeline: u32, number: u64, seed: u8) -> String {
        let bytes = SegmentBytes::new(MIB as u64).unwrap();
        let name = SegmentName::new(timeline, number, bytes)
            .unwrap()
            .to_string();
        let mut content = head(system, timeline, number * MIB as u64);
        let filler = (0..).map(|i: usize| (i / 97) as u8 ^ seed);
        content.extend(filler.take(MIB - content.len()));
        self.put(&name, &content);
        name
    }

    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.wal().join(name);
        fs::write(&path, content).unwrap();
        give_to_server_user(&path);
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.at().join("data/pg_wal")
    }

    pub(crate) fn push(&self, code: i32, name: &str) -> String {
        let path = format!("data/pg_wal/{name}");
        expect(self.at(), code, &["wal", "push", "plan.kdl", "db", &path])
    }

    pub(crate) fn fetch(&self, code: i32, name: &str) -> String {
        let to = "data/pg_wal/RECOVERYXLOG";
        let _ = fs::remove_file(self.at().join(to));
        let said = expect(
            self.at(),
            code,
            &["wal", "fetch", "plan.kdl", "db", name, to],
        );
        let there = self.at().join(to).exists();
        assert_eq!(there, code == 0, "{said}");
        said
    }

    /// Fetches a file and holds it against what was pushed.
    pub(crate) fn fetch_same(&self, name: &str) {
        self.fetch(0, name);
        let fetched = fs::read(self.wal().join("RECOVERYXLOG")).unwrap();
        assert!(
            fetched == fs::read(self.wal().join(name)).unwrap(),
            "{name}"
        );
    }

    pub(crate) fn object(&self, destination: &str, name: &str) -> PathBuf {
        let timeline = &name[..8];
        let key = format!("{destination}/wal/db/{SYSTEM}/{timeline}/{name}");
        self.at().join(key)
    }
}

pub(crate) fn data_directory(data: &Path, system: u64) {
    fs::create_dir_all(data.join("pg_wal")).unwrap();
    fs::create_dir_all(data.join("global")).unwrap();
    let mut control = system.to_le_bytes().to_vec();
    control.extend(1300_u32.to_le_bytes());
    control.resize(8192, 0);
    fs::write(data.join("global/pg_control"), control).unwrap();
    give_to_server_user(data);
}

/// The first page's header, as PostgreSQL 15 writes it.
fn head(system: u64, timeline: u32, starts_at: u64) -> Vec<u8> {
    let mut head = vec![0x10, 0xD1, 0x02, 0x00];
    head.extend(timeline.to_le_bytes());
    head.extend(starts_at.to_le_bytes());
    head.extend([0; 8]);
    head.extend(system.to_le_bytes());
    head.extend((MIB as u32).to_le_bytes());
    head.extend(8192_u32.to_le_bytes());
    head
}
