//! Backups of PostgreSQL databases in a repository in memory: as a run makes them, or with what a test puts into
//! them.

use crate::source::postgres::given::{request, spec};
use crate::support::captured::{chain, made_of, stored};
use crate::support::postgres::Cluster;
use ccb::model::postgres::DumpFacts;
use ccb::model::records::Manifest;
use ccb::model::strategy::{Method, PostgresSource};
use ccb::repository::Reader;
use ccb::source::postgres::dump;

/// A backup, and what reads it.
pub(crate) struct PostgresBackup {
    pub(crate) manifest: Manifest,
    pub(crate) reader: Reader,
}

impl PostgresBackup {
    /// Backs a database up.
    pub(crate) async fn of(cluster: &Cluster, database: &str) -> Self {
        Self::as_asked(spec(cluster, database)).await
    }

    /// Backs a database up as a plan file says.
    pub(crate) async fn as_asked(spec: PostgresSource) -> Self {
        let capture = tokio::task::spawn_blocking(move || dump(request(spec)));
        let capture = capture.await.expect("it ran").map_err(|e| chain(&e));
        let (manifest, reader) = stored("db", Method::Dump, capture.expect("it begins")).await;
        Self { manifest, reader }
    }

    /// A backup of these files, that says of itself what `facts` are.
    pub(crate) async fn made_of(files: &[(&str, &[u8])], facts: &DumpFacts) -> Self {
        let facts = serde_json::to_value(facts).expect("plain data");
        let capture = made_of(files, "postgres", facts);
        let (manifest, reader) = stored("db", Method::Dump, capture).await;
        Self { manifest, reader }
    }

    /// What is known of it.
    pub(crate) fn facts(&self) -> DumpFacts {
        DumpFacts::of(&self.manifest).expect("it is a dump")
    }

    /// The same files, and other facts.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut DumpFacts)) -> Self {
        let mut facts = self.facts();
        change(&mut facts);
        let facts = serde_json::to_value(facts).expect("plain data");
        self.manifest.source.insert("postgres".to_owned(), facts);
        self
    }
}

/// Everything that a database holds, as text: equal for equal databases.
pub(crate) fn everything(cluster: &Cluster, database: &str) -> String {
    let mut pg_dump = cluster.client("pg_dump");
    let output = pg_dump.arg(database).output().expect("it can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    let is_random =
        |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    let lines: Vec<&str> = text.lines().filter(|line| !is_random(line)).collect();
    lines.join("\n")
}
