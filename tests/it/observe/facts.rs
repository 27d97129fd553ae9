//! When a prune was here last, what waits, how old the key is, what the store does: each read truly, so that
//! the plan asks for a prune when one is due and not before, and warns of old keys.

use crate::repository::given::{
    back_up, files, memory, newest, noise, repository, secret, store, surroundings,
};
use crate::support::facts::{destination_name, strategy};
use bytes::Bytes;
use ccb::model::ids::EncryptionName;
use ccb::model::inventory::{Coverage, Holding, Inventory, RepositoryFacts};
use ccb::model::strategy::{Cipher, Encryption, Kdf, SecretRef, Strategy};
use ccb::model::units::{AsOf, Period};
use ccb::observe::inventory;
use ccb::plan::check::check_plan;
use ccb::plan::{Action, Request, plan};
use ccb::repository::format::key::Secret;
use ccb::repository::{PruneRequest, Repository, rotate};
use ccb::store::{
    Backend, Doing, Key, Kind, Listing, Put, StoreError,
    memory::{Fault, Memory},
};
use futures_util::future::BoxFuture;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::ops::Range;

const NOW: PruneRequest = PruneRequest {
    trash: Period::hours(0),
    grace: Period::hours(24),
    repack: ccb::repository::Repack {
        unused_max: ccb::model::units::Percent(5),
        budget_bytes: 0,
    },
};

async fn look(repository: &Repository) -> Inventory {
    let opened = Ok(repository.clone());
    inventory(&BTreeMap::from([(destination_name("primary"), opened)])).await
}

fn holding(inventory: &Inventory) -> &Holding {
    &inventory.destinations[&destination_name("primary")]
}

async fn facts(repository: &Repository) -> RepositoryFacts {
    holding(&look(repository).await).repository.clone().unwrap()
}

/// Whether a plan made now, by the store's clock, prunes.
async fn prunes(repository: &Repository) -> bool {
    let mut strategy = strategy(&["primary"]);
    strategy.apply.trash = NOW.trash;
    let seen = look(repository).await;
    let at = AsOf(holding(&seen).repository.as_ref().unwrap().server_time);
    let plan = plan(&strategy, &seen, at, &Request::default()).unwrap();
    let is_prune = |action: &Action| matches!(action, Action::Prune { .. });
    plan.steps.iter().any(|step| is_prune(&step.action))
}

async fn forget_newest(repository: &Repository) {
    let backup = newest(repository).await;
    repository.forget(&backup, "test", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_is_planned_when_something_can_go_and_then_not_before_the_grace_is_over() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("kept", noise("kept", 3000))]))
        .await
        .unwrap();
    back_up(&repository, &files(&[("gone", noise("gone", 3000))]))
        .await
        .unwrap();
    let fresh = facts(&repository).await;
    assert_eq!((fresh.last_prune, fresh.condemned_bytes), (None, 0));
    assert!(!prunes(&repository).await);

    forget_newest(&repository).await;
    assert!(prunes(&repository).await, "a backup can leave the trash");
    let report = repository.prune(NOW).await.unwrap();
    let after = facts(&repository).await;
    assert_eq!(after.condemned_bytes, report.condemned.bytes);
    assert!(after.condemned_bytes > 0 && after.stored_bytes > after.condemned_bytes);
    let last = after.last_prune.unwrap();
    assert!(last > fresh.server_time && last <= after.server_time);
    for hours in [0, 10, 13] {
        memory.advance(SignedDuration::from_hours(hours));
        assert!(!prunes(&repository).await, "the grace is not over");
    }
    memory.advance(SignedDuration::from_hours(2));
    assert!(prunes(&repository).await);
    assert_eq!(
        repository.prune(NOW).await.unwrap().deleted,
        report.condemned
    );
    assert_eq!(facts(&repository).await.condemned_bytes, 0);
    assert!(!prunes(&repository).await, "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_go_yet_is_asked_for_once_a_day_and_not_by_every_plan() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("gone", noise("gone", 3000))]))
        .await
        .unwrap();
    forget_newest(&repository).await;
    repository.prune(NOW).await.unwrap();
    memory.set_hook(Box::new(|_, doing, what| {
        match doing == Doing::Delete && what.starts_with("packs/") {
            true => Fault::Fail(Kind::Denied),
            false => Fault::None,
        }
    }));
    for _ in 0..3 {
        memory.advance(SignedDuration::from_hours(25));
        assert!(prunes(&repository).await);
        let report = repository.prune(NOW).await.unwrap();
        assert_eq!(report.retained.count, 2, "{report:?}");
        assert!(!prunes(&repository).await, "it was tried just now");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_as_old_as_its_last_rotation() {
    let memory = memory();
    let made = repository(&memory).await;
    let created = made.config().created;
    assert_eq!(facts(&made).await.key_since, Some(created));
    let mut plan_file: Strategy = strategy(&["primary"]);
    plan_file.encryptions = vec![Encryption {
        name: EncryptionName::new("default").unwrap(),
        cipher: Cipher::Aes256Gcm,
        key: SecretRef::Env("KEY".to_owned()),
        kdf: Kdf::Auto,
        rotate_after: Some(Period::days(365)),
    }];
    plan_file.destinations[0].encrypt = Some(EncryptionName::new("default").unwrap());
    let warned = async |repository: &Repository, days: u64| {
        let seen = look(repository).await;
        let at = AsOf(Period::days(days).after(created));
        let plan = plan(&plan_file, &seen, at, &Request::default()).unwrap();
        let findings = check_plan(&plan_file, &seen, &plan, None);
        findings.iter().any(|finding| finding.rule == "CCB208")
    };
    assert!(!warned(&made, 364).await);
    assert!(warned(&made, 366).await);
    // The keys are rotated on day 400, by a host whose clock is right.
    let later = Period::days(400).after(created);
    let surroundings = ccb::repository::Surroundings {
        now: std::sync::Arc::new(move || later),
        ..surroundings("rotate")
    };
    let key: Secret = secret();
    let opened = Repository::open(store(&memory), Some(&key), &surroundings)
        .await
        .unwrap();
    rotate(&[&opened], &[&key]).await.unwrap();
    let rotated = Repository::open(store(&memory), Some(&key), &surroundings)
        .await
        .unwrap();
    assert_eq!(facts(&rotated).await.key_since, Some(later));
    assert!(!warned(&rotated, 764).await);
    assert!(warned(&rotated, 766).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_prunes_means_that_not_all_was_seen() {
    let memory = memory();
    let repository = repository(&memory).await;
    back_up(&repository, &files(&[("gone", noise("gone", 3000))]))
        .await
        .unwrap();
    forget_newest(&repository).await;
    repository.prune(NOW).await.unwrap();
    memory.damage(&Key::new("gc/1").unwrap(), |bytes| bytes[20] ^= 1);
    let seen = look(&repository).await;
    assert!(matches!(holding(&seen).coverage, Coverage::Partial { .. }));
    assert!(holding(&seen).damaged.contains_key("gc/1"));
    assert!(!prunes(&repository).await);
}

/// A store that creates over what is there, and says that all is well.
#[derive(Debug, Clone)]
struct Careless(Memory);

impl Backend for Careless {
    fn location(&self) -> String {
        self.0.location()
    }
    fn get(
        &self,
        key: &Key,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'_, Result<Bytes, StoreError>> {
        self.0.get(key, range)
    }
    fn put(&self, key: &Key, body: Bytes, _: Put) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.put(key, body, Put::Replace)
    }
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, StoreError>> {
        self.0.list(prefix)
    }
    fn delete(&self, key: &Key) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.delete(key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_creates_over_what_is_there_is_found_out_and_given_more_time() {
    let memory = memory();
    let repository = repository(&Careless(memory.clone())).await;
    assert!(
        facts(&repository).await.single_writer,
        "found out when it was made"
    );
    let seen = look(&repository).await;
    let at = AsOf(holding(&seen).repository.as_ref().unwrap().server_time);
    let planned = plan(&strategy(&["primary"]), &seen, at, &Request::default()).unwrap();
    assert_eq!(planned.single_writer, [destination_name("primary")]);

    back_up(&repository, &files(&[("gone", noise("gone", 3000))]))
        .await
        .unwrap();
    forget_newest(&repository).await;
    repository.prune(NOW).await.unwrap();
    for (hours, deleted) in [(25, 0), (25, 0), (25, 2)] {
        memory.advance(SignedDuration::from_hours(hours));
        assert_eq!(repository.prune(NOW).await.unwrap().deleted.count, deleted);
    }
    // Moved to a store that keeps the promise, it is an ordinary repository after the next prune.
    let moved = crate::repository::given::reopened(&memory, "moved").await;
    assert!(facts(&moved).await.single_writer);
    moved.prune(NOW).await.unwrap();
    assert!(!facts(&moved).await.single_writer);
}
