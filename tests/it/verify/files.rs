//! Contents, integrity, encryption and restore tests on real backups, whole and damaged.

use crate::repository::given::noise;
use crate::restore::given::{Backup, back_up, write};
use ccb::model::ids::BlobId;
use ccb::model::records::Subtotal;
use ccb::model::strategy::ContentsCheck;
use ccb::model::tree::{Content, Node};
use ccb::model::units::Percent;
use ccb::repository::{Reader, RepositoryError};
use ccb::restore::{Contents, Sink, Unread};
use ccb::store::{Backend, Put};
use ccb::verify::contents::contents;
use ccb::verify::encrypted::encrypted;
use ccb::verify::integrity::integrity;
use ccb::verify::restore_test::{Compare, RestoreTestRequest, restore_test};
use futures_util::future::BoxFuture;
use std::fs;
use std::os::unix::fs::MetadataExt;
use tempfile::TempDir;

const STRICT: ContentsCheck = ContentsCheck {
    counts: true,
    sizes: true,
    keys_tolerance: Percent(0),
    tables: Vec::new(),
};

fn source() -> TempDir {
    let source = TempDir::new().expect("a directory");
    for n in 0..40 {
        write(
            source.path(),
            &format!("voiceovers/{n}"),
            format!("voice {n}").as_bytes(),
        );
    }
    write(source.path(), "videos/long", &noise("video", 3 << 20));
    source
}

/// Replaces the largest data pack by one with a byte flipped in its middle.
async fn flip(backup: &Backup) {
    let packs = backup.store.list("packs/d/").await.expect("lists").objects;
    let pack = packs
        .into_iter()
        .max_by_key(|pack| pack.size)
        .expect("there is one");
    let mut bytes = backup
        .store
        .get(&pack.key, None)
        .await
        .expect("reads")
        .to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    backup
        .store
        .put(&pack.key, bytes.into(), Put::Replace)
        .await
        .expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn contents_are_compared_with_what_was_read_from_the_source() {
    let source = source();
    let backup = back_up(source.path()).await;
    let check = async |settings: &ContentsCheck, wanted: &[&str], manifest| {
        let wanted: Vec<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        contents(settings, &wanted, manifest, &backup.reader, &backup.root).await
    };
    let good = check(&STRICT, &["voiceovers", "./videos/"], &backup.manifest).await;
    assert!(good.passed, "{}", good.message);
    assert_eq!(
        (&good.facts["files"], &good.facts["directories"]),
        (&41.into(), &2.into())
    );

    let lacking = check(&STRICT, &["voiceovers", "artifacts"], &backup.manifest).await;
    assert_eq!(lacking.message, "directory `artifacts` is not in it");

    let mut manifest = backup.manifest.clone();
    manifest.stats.files += 1;
    let fewer = check(&STRICT, &[], &manifest).await;
    assert_eq!(fewer.message, "42 files in the source, 41 in the backup");
    let lenient = ContentsCheck {
        counts: false,
        ..STRICT
    };
    assert!(check(&lenient, &[], &manifest).await.passed);

    let mut manifest = backup.manifest.clone();
    manifest.stats.bytes -= 1;
    assert!(!check(&STRICT, &[], &manifest).await.passed);
    let mut manifest = backup.manifest.clone();
    manifest.error_count = 3;
    assert!(!check(&STRICT, &[], &manifest).await.passed);
    let mut manifest = backup.manifest.clone();
    manifest
        .directories
        .insert("gone".to_owned(), Subtotal { files: 1, bytes: 1 });
    assert!(!check(&STRICT, &[], &manifest).await.passed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_packs_are_gone_has_not_its_contents() {
    let source = source();
    let mut backup = back_up(source.path()).await;
    for pack in backup.store.list("packs/d/").await.expect("lists").objects {
        backup.store.delete(&pack.key).await.expect("deleted");
    }
    backup.reader = backup.repository.reader().await.expect("reads");
    let found = contents(&STRICT, &[], &backup.manifest, &backup.reader, &backup.root).await;
    assert!(!found.passed);
    assert_eq!(found.facts["failure_count"], 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn integrity_reads_all_or_a_part_and_finds_a_flipped_bit() {
    let source = source();
    let backup = back_up(source.path()).await;
    let all = integrity(Percent(100), 5, &backup.reader, &backup.root).await;
    assert!(all.passed, "{}", all.message);
    assert_eq!(all.facts["bytes"], backup.manifest.stats.bytes);
    let mut parts = 0;
    for seed in 0..4 {
        let part = integrity(Percent(25), seed, &backup.reader, &backup.root).await;
        assert!(part.passed && part.facts["blobs"].as_u64() < all.facts["blobs"].as_u64());
        parts += part.facts["blobs"].as_u64().expect("a number");
    }
    assert_eq!(parts, all.facts["blobs"], "four quarters are the whole");

    flip(&backup).await;
    let damaged = integrity(Percent(100), 0, &backup.reader, &backup.root).await;
    assert!(!damaged.passed);
    assert!(
        damaged.message.contains("videos/long"),
        "{}",
        damaged.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_test_compares_all_or_some_files_and_leaves_nothing_behind() {
    let source = source();
    let backup = back_up(source.path()).await;
    // Changed since: compared with the backup, and not with the source.
    write(source.path(), "voiceovers/7", b"another");
    let parent = TempDir::new().expect("a directory");
    let request = |files| RestoreTestRequest {
        files,
        random: 11,
        parent: parent.path(),
        compare: Compare::Source(source.path()),
    };
    let all = restore_test(&backup.reader, &backup.root, request(None)).await;
    assert!(all.passed, "{}", all.message);
    assert_eq!(
        (&all.facts["files"], &all.facts["compared_with_source"]),
        (&41.into(), &40.into())
    );
    assert_eq!(all.facts["bytes"], backup.manifest.stats.bytes);
    let some = restore_test(&backup.reader, &backup.root, request(Some(5))).await;
    assert!(some.passed, "{}", some.message);
    assert_eq!(some.facts["files"], 5);

    flip(&backup).await;
    let damaged = restore_test(&backup.reader, &backup.root, request(None)).await;
    assert!(!damaged.passed);
    assert!(
        damaged.message.contains("videos/long"),
        "{}",
        damaged.message
    );
    assert_eq!(fs::read_dir(parent.path()).expect("reads").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_rotted_without_a_trace_is_told_by_a_restore_test() {
    let source = source();
    let mut backup = back_up(source.path()).await;
    let parent = TempDir::new().expect("a directory");
    // The disk gives other bytes than were read, and the file's status says nothing of it: the node is
    // given the status that the changed file has now.
    let path = write(source.path(), "rotten", b"after");
    let other = TempDir::new().expect("a directory");
    write(other.path(), "rotten", b"befor");
    let rotten = back_up(other.path()).await;
    (backup.reader, backup.root) = (rotten.reader.clone(), rotten.root.clone());
    let status = fs::metadata(&path).expect("there");
    let told = Retold {
        reader: backup.reader,
        status,
    };
    let request = RestoreTestRequest {
        files: None,
        random: 3,
        parent: parent.path(),
        compare: Compare::Source(source.path()),
    };
    let found = restore_test(&told, &backup.root, request).await;
    assert_eq!(found.message, "`rotten` differs from the source");
}

/// A reader whose files have the status of another.
struct Retold {
    reader: Reader,
    status: fs::Metadata,
}

impl Contents for Retold {
    fn entries<'a>(
        &'a self,
        tree: &'a BlobId,
    ) -> BoxFuture<'a, Result<Vec<Node>, RepositoryError>> {
        Box::pin(async move {
            let mut entries = self.reader.entries(tree).await?;
            let second = 1_000_000_000;
            for node in &mut entries {
                let status = &self.status;
                node.mtime_ns =
                    i128::from(status.mtime()) * second + i128::from(status.mtime_nsec());
                node.ctime_ns =
                    i128::from(status.ctime()) * second + i128::from(status.ctime_nsec());
                node.inode = status.ino();
            }
            Ok(entries)
        })
    }
    fn blobs<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Vec<(BlobId, u64)>, RepositoryError>> {
        Contents::blobs(&self.reader, content)
    }
    fn read(&self, ids: Vec<BlobId>, sink: Sink) -> BoxFuture<'_, Result<Unread, RepositoryError>> {
        Contents::read(&self.reader, ids, sink)
    }
    fn id_of(&self, data: &[u8]) -> BlobId {
        self.reader.id_of(data)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_bytes_that_need_no_key_are_told() {
    let source = source();
    let backup = back_up(source.path()).await;
    let listed = crate::repository::given::newest(&backup.repository).await;
    let keyring = backup.repository.keyring_id();
    let good = encrypted(&backup.repository, &listed, Some(keyring)).await;
    assert!(good.passed, "{}", good.message);

    let pack = backup
        .store
        .list("packs/d/")
        .await
        .expect("lists")
        .objects
        .remove(0);
    backup
        .store
        .put(&pack.key, b"plain text".to_vec().into(), Put::Replace)
        .await
        .expect("written");
    let plain = encrypted(&backup.repository, &listed, Some(keyring)).await;
    assert!(
        !plain.passed && plain.message.contains(pack.key.as_str()),
        "{}",
        plain.message
    );

    backup.store.delete(&listed.key).await.expect("deleted");
    backup
        .store
        .put(&listed.key, b"{\"v\":1}".to_vec().into(), Put::New)
        .await
        .expect("written");
    let plain = encrypted(&backup.repository, &listed, None).await;
    assert!(
        !plain.passed && plain.message.contains("ccb's header"),
        "{}",
        plain.message
    );
}
