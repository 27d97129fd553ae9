//! Proves something of a backup and keeps the result with it, passed or not. A check that finds fault is
//! a failed step, so that nothing that needs its proof goes on.

use crate::apply::capture::password;
use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::apply::physical;
use crate::model::ids::{ComponentName, DestinationName};
use crate::model::postgres::DumpFacts;
use crate::model::records::{Annotation, Manifest, Note, Version};
use crate::model::strategy::{
    BucketSource, Component, ContentsCheck, FilesSource, Method, PresenceCheck, RedisSource,
    SourceSpec, TestServer,
};
use crate::model::tree::Node;
use crate::model::units::{Percent, Size};
use crate::plan::report::Done;
use crate::plan::{BackupRef, CheckSpec};
use crate::repository::{ListedBackup, Reader, Repository};
use crate::source::bucket::Bucket;
use crate::source::postgres::connection::Connection;
use crate::verify::postgres::DumpTest;
use crate::verify::restore_test::{Compare, RestoreTestRequest};
use crate::verify::{self, Finding, presence};
use futures_util::FutureExt;

pub(crate) async fn verify(
    component: &ComponentName,
    backup: &BackupRef,
    destination: &DestinationName,
    check: &CheckSpec,
    hands: &Hands,
) -> Result<Done, StepError> {
    let (repository, listed) = hands.find(backup, destination).await?;
    let component = hands.component(component)?;
    let finding = match check {
        CheckSpec::Presence => check_presence(component, &listed, destination, hands).await?,
        CheckSpec::Encrypted => verify::encrypted::encrypted(&repository, &listed, None).await,
        CheckSpec::Integrity { .. } | CheckSpec::Contents | CheckSpec::RestoreTest { .. } => {
            let at = (destination, &repository);
            check_bytes(component, at, &listed, check, hands).await?
        }
    };
    let (passed, message) = (finding.passed, finding.message.clone());
    let at = (hands.surroundings().now)();
    let annotation = Annotation {
        v: Version,
        backup: listed.manifest.id,
        at,
        note: Note::Verified(finding.evidence(at, destination.clone())),
    };
    let kept = repository.annotate(&annotation).await;
    kept.map_err(|cause| StepError::Repository {
        doing: "keep the result of",
        what: check.as_str().to_owned(),
        cause,
    })?;
    if !passed {
        return Err(StepError::CheckFailed(message));
    }
    Ok(Done {
        backup: Some(listed.manifest.id),
        note: message,
        ..Done::default()
    })
}

async fn check_presence(
    component: &Component,
    listed: &ListedBackup,
    destination: &DestinationName,
    hands: &Hands,
) -> Result<Finding, StepError> {
    let usual = PresenceCheck {
        min_size: Size(1),
        max_shrink: Percent(50),
        fresh: None,
    };
    let mut settings = component.verify.presence.clone().unwrap_or(usual);
    let manifest = &listed.manifest;
    if manifest.method == Method::Wal {
        // As much as was written meanwhile, which may be nothing.
        (settings.min_size, settings.max_shrink) = (Size(0), Percent(100));
    }
    let earlier = earlier(manifest, destination, hands).await?;
    let sizes: Vec<u64> = earlier
        .iter()
        .take(presence::HISTORY_LEN)
        .map(|other| other.stats.bytes)
        .collect();
    let now = (hands.surroundings().now)();
    Ok(presence::presence(&settings, manifest, &sizes, now))
}

/// The checks that read the backup's own bytes.
async fn check_bytes(
    component: &Component,
    (destination, repository): (&DestinationName, &Repository),
    listed: &ListedBackup,
    check: &CheckSpec,
    hands: &Hands,
) -> Result<Finding, StepError> {
    let failed = |cause| StepError::Repository {
        doing: "read",
        what: listed.manifest.id.short(),
        cause,
    };
    let _pinned = repository.pin(&[listed]).await.map_err(failed)?;
    let reader = repository.reader().await.map_err(failed)?;
    let manifest = &listed.manifest;
    let root = manifest.root_node();
    let random = u64::from_le_bytes(hands.random());
    if let CheckSpec::Integrity { sample } = check {
        let checked = verify::integrity::integrity(*sample, random, &reader, &root);
        return Ok(checked.boxed().await);
    }
    if matches!(manifest.method, Method::Base | Method::Wal) {
        let at = (destination, repository);
        return physical::check(component, at, listed, check, &reader, hands).await;
    }
    match &component.source {
        SourceSpec::Files(files) => match check {
            CheckSpec::RestoreTest { files: many, .. } => {
                let (parent, source) = (hands.scratch(), hands.path(&files.path));
                let request = RestoreTestRequest {
                    files: *many,
                    random,
                    parent: &parent,
                    compare: Compare::Source(&source),
                };
                let tested = verify::restore_test::restore_test(&reader, &root, request);
                Ok(tested.boxed().await)
            }
            _ => Ok(check_contents(component, files, manifest, &reader, &root).await),
        },
        SourceSpec::Redis(redis) => Ok(check_redis(
            component, redis, manifest, &reader, check, hands,
        )
        .boxed()
        .await),
        SourceSpec::Postgres(_) => {
            let from = (listed, destination);
            check_dump(component, from, &reader, check, hands)
                .boxed()
                .await
        }
        SourceSpec::S3(spec) => {
            Ok(
                check_bucket(component, spec, manifest, (&reader, &root), check, hands)
                    .boxed()
                    .await,
            )
        }
    }
}

async fn check_bucket(
    component: &Component,
    spec: &BucketSource,
    manifest: &Manifest,
    (reader, root): (&Reader, &Node),
    check: &CheckSpec,
    hands: &Hands,
) -> Finding {
    if let CheckSpec::RestoreTest { files, .. } = check {
        let request = RestoreTestRequest {
            files: *files,
            random: u64::from_le_bytes(hands.random()),
            parent: &hands.scratch(),
            compare: Compare::Etags,
        };
        return verify::restore_test::restore_test(reader, root, request).await;
    }
    // Without it, the backup is checked all the same; it is only not compared.
    let access = hands.bucket(&component.name, spec).await;
    let bucket = match access {
        Ok(access) => Bucket::new(&access).map_err(|e| e.to_string()),
        Err(error) => Err(error.into_failure().chain.join(": ")),
    };
    let settings = contents_settings(component);
    verify::bucket::contents(&settings, manifest, reader, root, bucket).await
}

async fn check_redis(
    component: &Component,
    source: &RedisSource,
    manifest: &Manifest,
    reader: &Reader,
    check: &CheckSpec,
    hands: &Hands,
) -> Finding {
    let settings = component.verify.contents.as_ref();
    let tolerance = settings.map_or(Percent(0), |contents| contents.keys_tolerance);
    if !matches!(check, CheckSpec::RestoreTest { .. }) {
        let now = (hands.surroundings().now)();
        return verify::redis::contents(tolerance, manifest, reader, now).await;
    }
    // Without its URL, the backup is tested all the same; it is only not compared with the live server.
    let url = hands.secrets()(&source.url).ok();
    let request = verify::redis::RedisTestRequest {
        random: u64::from_le_bytes(hands.random()),
        parent: hands.scratch(),
        live: url.map(|url| (url, source.via.clone())),
        tolerance,
        limit: crate::source::redis::PATIENCE,
    };
    verify::redis::restore_test(manifest, reader, request).await
}

async fn check_dump(
    component: &Component,
    (listed, destination): (&ListedBackup, &DestinationName),
    reader: &Reader,
    check: &CheckSpec,
    hands: &Hands,
) -> Result<Finding, StepError> {
    let manifest = &listed.manifest;
    if matches!(check, CheckSpec::RestoreTest { .. }) {
        let settings = component.verify.restore_test.as_ref();
        let server = settings.and_then(|settings| settings.server.as_ref());
        let request = DumpTest {
            random: u64::from_le_bytes(hands.random()),
            parent: hands.scratch(),
            server: server
                .map(|server| test_server(component, server, hands))
                .transpose()?,
        };
        return Ok(verify::postgres::restore_test(manifest, reader, &request).await);
    }
    let earlier = earlier(manifest, destination, hands).await?;
    let earlier: Vec<DumpFacts> = earlier.iter().filter_map(DumpFacts::of).collect();
    let settings = contents_settings(component);
    Ok(verify::postgres::contents(&settings, manifest, &earlier, reader).await)
}

/// Where dumps are restored as a test, when the plan file names a server.
fn test_server(
    component: &Component,
    server: &TestServer,
    hands: &Hands,
) -> Result<Connection, StepError> {
    let password = password(component, server.password.as_ref(), hands)?;
    Ok(Connection::to_test_server(server, password))
}

/// What is asked of contents; without a word of it, that counts and sizes are those of the source.
fn contents_settings(component: &Component) -> ContentsCheck {
    component.verify.contents.clone().unwrap_or(ContentsCheck {
        counts: true,
        sizes: true,
        keys_tolerance: Percent(0),
        tables: Vec::new(),
    })
}

/// Older complete backups of the same component and method, newest first.
async fn earlier(
    manifest: &Manifest,
    destination: &DestinationName,
    hands: &Hands,
) -> Result<Vec<Manifest>, StepError> {
    let held = hands.destinations().held(destination).await?;
    let mut earlier: Vec<Manifest> = held
        .backups
        .iter()
        .map(|backup| &backup.manifest)
        .filter(|other| {
            other.component == manifest.component
                && other.method == manifest.method
                && other.complete
                && other.started < manifest.started
        })
        .cloned()
        .collect();
    earlier.sort_by_key(|other| std::cmp::Reverse(other.started));
    Ok(earlier)
}

async fn check_contents(
    component: &Component,
    files: &FilesSource,
    manifest: &Manifest,
    reader: &Reader,
    root: &Node,
) -> Finding {
    let settings = contents_settings(component);
    verify::contents::contents(&settings, &files.subdirectories, manifest, reader, root)
        .boxed()
        .await
}
