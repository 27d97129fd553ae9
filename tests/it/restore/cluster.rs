//! Data directories made of base backups: only into an empty directory, and what makes one a database comes last.

use crate::restore::given::back_up;
use ccb::model::ids::BlobId;
use ccb::model::tree::{Content, Node};
use ccb::repository::RepositoryError;
use ccb::restore::cluster::restore;
use ccb::restore::{Contents, Sink, Unread};
use futures_util::future::BoxFuture;
use std::fs;

/// A backup whose blobs can not be read, but for those of `readable`.
struct Damaged<'a> {
    contents: &'a dyn Contents,
    readable: &'a [u8],
}

impl Contents for Damaged<'_> {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        self.contents.entries(tree)
    }

    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        self.contents.blobs(content)
    }

    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        let good = self.contents.id_of(self.readable);
        let (read, lost): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| *id == good);
        Box::pin(async move {
            let mut unread = self.contents.read(read, sink).await?;
            let missing = |id| (id, RepositoryError::BlobMissing { id });
            unread.extend(lost.into_iter().map(missing));
            Ok(unread)
        })
    }

    fn id_of(&self, data: &[u8]) -> BlobId {
        self.contents.id_of(data)
    }
}

#[tokio::test]
async fn what_is_half_restored_has_no_control_file_and_starts_nowhere() {
    let source = tempfile::tempdir().expect("a folder");
    for (path, text) in [
        ("PG_VERSION", "15\n"),
        ("backup_label", "START WAL LOCATION: 0/2000028\n"),
        ("base/1/1259", "pages"),
        ("global/pg_control", "control"),
        ("standby.signal", ""),
    ] {
        let path = source.path().join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        fs::write(path, text).expect("written");
    }
    let backup = back_up(source.path()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("data");
    let damaged = Damaged {
        contents: &backup.reader,
        readable: b"control",
    };
    let failed = restore(&damaged, &backup.root, &target, "").await;
    let said = failed.expect_err("files are missing").to_string();
    assert!(said.contains("files were not restored"), "{said}");
    assert!(!target.join("global/pg_control").exists());

    let again = restore(&backup.reader, &backup.root, &target, "").await;
    let said = again.expect_err("something is there").to_string();
    assert!(said.contains("is not empty"), "{said}");
    fs::remove_dir_all(&target).expect("removed");
    let settings = "archive_mode = 'off'\n";
    let restored = restore(&backup.reader, &backup.root, &target, settings).await;
    restored.expect("all is there");
    for (path, text) in [
        ("global/pg_control", "control"),
        ("backup_label", "START WAL LOCATION: 0/2000028\n"),
        ("postgresql.auto.conf", settings),
        ("recovery.signal", ""),
    ] {
        assert_eq!(fs::read_to_string(target.join(path)).expect(path), text);
    }
    assert!(!target.join("standby.signal").exists(), "it is no standby");
}
