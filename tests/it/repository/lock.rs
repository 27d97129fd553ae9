//! The lock of a repository: of two runs one has it, a dead one's ends by the store's clock, and what was
//! ended never comes back.

use crate::repository::given::{memory, reopened, repository};
use ccb::model::holder::{Holder, ProcessMark};
use ccb::model::ids::RunId;
use ccb::model::records::Version;
use ccb::repository::{Attempt, HeldLock, PruneRequest, Repository, RunLock};
use ccb::store::{
    Backend,
    memory::{Fault, Memory},
};
use jiff::SignedDuration;
use std::time::Duration;

fn holder(run: u8) -> Holder {
    Holder {
        v: Version,
        run: RunId([run; 16]),
        plan: "shop / production".to_owned(),
        user: "ana".to_owned(),
        host: "web1".to_owned(),
        process: ProcessMark {
            pid: u32::from(run),
            boot: "boot".to_owned(),
            namespace: "pid:[1]".to_owned(),
            started: 7,
        },
        since: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

async fn attempt(repository: &Repository, run: u8) -> Attempt {
    repository.try_lock(&holder(run), &|_| false).await.unwrap()
}

async fn taken(repository: &Repository, run: u8) -> RunLock {
    match attempt(repository, run).await {
        Attempt::Taken(lock) => lock,
        Attempt::Held(held) => panic!("held: {held:?}"),
    }
}

async fn held(repository: &Repository, run: u8) -> HeldLock {
    match attempt(repository, run).await {
        Attempt::Held(held) => held,
        Attempt::Taken(_) => panic!("run {run} took it"),
    }
}

async fn objects(memory: &Memory) -> Vec<String> {
    let listing = memory.list("locks/").await.unwrap();
    let keys = listing.objects.iter();
    keys.map(|object| object.key.to_string()).collect()
}

#[tokio::test]
async fn the_second_run_is_told_who_has_it_and_gets_it_after_the_first() {
    let memory = memory();
    let (one, two) = (repository(&memory).await, reopened(&memory, "two").await);
    let lock = taken(&one, 1).await;
    let told = held(&two, 2).await.holder.unwrap();
    assert_eq!(told, holder(1));
    lock.release().await.unwrap();
    assert_eq!(two.held_lock().await.unwrap(), None);
    taken(&two, 2).await.release().await.unwrap();
    assert_eq!(
        objects(&memory).await,
        [
            "locks/1/end",
            "locks/1/start",
            "locks/2/end",
            "locks/2/start"
        ]
    );
}

#[tokio::test]
async fn of_many_that_try_at_once_exactly_one_has_it() {
    let memory = memory();
    repository(&memory).await;
    let mut tries = tokio::task::JoinSet::new();
    for run in 1..=20 {
        let repository = reopened(&memory, &format!("{run}")).await;
        tries.spawn(async move { attempt(&repository, run).await });
    }
    let outcomes = tries.join_all().await;
    let winners = outcomes.iter().filter(|it| matches!(it, Attempt::Taken(_)));
    assert_eq!(winners.count(), 1);
}

#[tokio::test]
async fn a_dead_run_holds_it_until_the_store_s_clock_says_so() {
    let memory = memory();
    let (one, two) = (repository(&memory).await, reopened(&memory, "two").await);
    drop(taken(&one, 1).await);
    memory.advance(SignedDuration::from_secs(299));
    assert_eq!(held(&two, 2).await.holder, Some(holder(1)));
    memory.advance(SignedDuration::from_secs(2));
    taken(&two, 2).await;
}

#[tokio::test]
async fn a_run_whose_process_is_gone_does_not_hold_it_at_all() {
    let memory = memory();
    let repository = repository(&memory).await;
    drop(taken(&repository, 1).await);
    let is_gone = |process: &ProcessMark| process.pid == 1;
    let second = repository.try_lock(&holder(2), &is_gone).await.unwrap();
    assert!(matches!(second, Attempt::Taken(_)));
}

#[tokio::test(start_paused = true)]
async fn a_live_run_keeps_it_for_hours_and_loses_it_when_somebody_removes_it() {
    let memory = memory();
    let repository = repository(&memory).await;
    let lock = taken(&repository, 1).await;
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        memory.advance(SignedDuration::from_secs(61));
        assert_eq!(held(&repository, 2).await.holder, Some(holder(1)));
    }
    assert!(!*lock.lost().borrow());
    let seen = repository.held_lock().await.unwrap().unwrap();
    repository.remove_lock(&seen, "bob").await.unwrap();
    let second = taken(&repository, 2).await;
    let mut lost = lock.lost();
    lost.wait_for(|lost| *lost).await.unwrap();
    // That it still gives its own back does not touch the next one's.
    lock.release().await.unwrap();
    assert_eq!(held(&repository, 3).await.holder, Some(holder(2)));
    second.release().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_can_not_be_read_is_held_by_nobody_known_and_ends_like_any_other() {
    let memory = memory();
    let repository = repository(&memory).await;
    drop(taken(&repository, 1).await);
    let key = "locks/1/start".parse().unwrap();
    memory
        .put(&key, "garbage".into(), ccb::store::Put::Replace)
        .await
        .unwrap();
    assert_eq!(held(&repository, 2).await.holder, None);
    memory.advance(SignedDuration::from_secs(301));
    taken(&repository, 2).await;
}

#[tokio::test]
async fn killed_at_every_call_a_run_leaves_a_lock_that_the_next_one_can_take() {
    let before = memory();
    let repository = repository(&before).await;
    drop(taken(&repository, 1).await);
    before.advance(SignedDuration::from_secs(400));
    for n in 1..=6 {
        for fault in [Fault::Crash, Fault::CrashAfter] {
            let memory = before.fork();
            let killed = reopened(&memory, "killed").await;
            memory.set_hook(Box::new(
                move |at, _, _| if at == n { fault } else { Fault::None },
            ));
            let outcome = killed.try_lock(&holder(2), &|_| false).await;
            assert!(outcome.is_err() || n >= 4, "call {n}");
            memory.clear_hook();
            memory.advance(SignedDuration::from_secs(400));
            taken(&reopened(&memory, "next").await, 3).await;
        }
    }
}

#[tokio::test]
async fn a_prune_removes_old_locks_and_keeps_the_newest_number() {
    let memory = memory();
    let repository = repository(&memory).await;
    for run in 1..=3 {
        taken(&repository, run).await.release().await.unwrap();
    }
    repository.prune(PruneRequest::default()).await.unwrap();
    assert_eq!(objects(&memory).await.len(), 6, "they are young");
    memory.advance(SignedDuration::from_hours(3));
    repository.prune(PruneRequest::default()).await.unwrap();
    assert_eq!(objects(&memory).await, ["locks/3/end", "locks/3/start"]);
    taken(&repository, 4).await;
    assert!(objects(&memory).await.contains(&"locks/4/start".to_owned()));
}
