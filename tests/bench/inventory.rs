//! Repositories with very many backups: made in memory by the real code, and then laid out on disk.

use crate::tools::write_key;
use ccb::model::ids::{BackupId, ComponentName, Digest, RunId, ScheduleName};
use ccb::model::records::{Annotation, Check, Evidence, Note, PlanRef, Slot, Version};
use ccb::model::strategy::{Kdf, Method};
use ccb::model::tree::{Body, Found, Node, NodeKind};
use ccb::repository::format::config::CipherSuite;
use ccb::repository::format::key::Secret;
use ccb::repository::{Commit, Creation, Draft, Effort, NewSlot, Repository, Surroundings};
use ccb::store::memory::Memory;
use ccb::store::{Backend, Store};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::data::Numbers;

/// Between two backups.
const EVERY: SignedDuration = SignedDuration::from_hours(6);

/// Makes two repositories below `place` that hold the same `count` backups, the newest a few hours old, a
/// key, and the plan file that names them.
pub fn make(place: &Path, count: usize) -> io::Result<()> {
    fs::create_dir_all(place)?;
    write_key(&place.join("key"))?;
    fs::create_dir_all(place.join("data"))?;
    fs::write(place.join("data/file"), "content")?;
    fs::write(place.join("plan.kdl"), plan(place))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let made = runtime.block_on(async {
        let primary = fill(None, count).await?;
        let second = fill(Some(&primary.1), count).await?;
        lay_out(&primary.0, &place.join("repository")).await?;
        lay_out(&second.0, &place.join("second")).await
    });
    made.map_err(|error| io::Error::other(error.to_string()))
}

fn plan(place: &Path) -> String {
    format!(
        r#"plan "bench" environment="development" timezone="UTC"
encryption "default" {{ key file="{place}/key" }}
destination "primary" {{
    local "{place}/repository"
    encrypt "default"
}}
destination "second" {{
    local "{place}/second"
    encrypt "default"
}}
component "data" sensitive=#false {{
    source "files" {{ path "{place}/data" }}
    store "primary" "second"
    schedule "six-hourly" every="6h" method="incremental"
    retain {{
        within "3650d"
        daily 30
        weekly 8
        monthly 12
    }}
    verify {{ presence; integrity every="7d" }}
}}
policy preset="development"
"#,
        place = place.display()
    )
}

async fn fill(
    like: Option<&Repository>,
    count: usize,
) -> Result<(Memory, Repository), Box<dyn Error>> {
    let now = Timestamp::now();
    let started = now - EVERY * i32::try_from(count)?;
    let clock = Arc::new(Mutex::new(started));
    let memory = Memory::new(started);
    let secret = Secret::new("5a".repeat(32).into_bytes());
    let slot = NewSlot {
        name: "main",
        secret: &secret,
        kdf: Kdf::Auto,
    };
    let creation = Creation {
        cipher: CipherSuite::Aes256Gcm,
        slot: Some(slot),
        keyring_of: like,
    };
    let store = Store::new(Arc::new(memory.clone()), 8);
    let surroundings = surroundings(clock.clone(), like.is_some());
    let repository = Repository::create(store, &creation, &surroundings).await?;
    for number in 0..count {
        *clock.lock().unwrap_or_else(PoisonError::into_inner) += EVERY;
        memory.advance(EVERY);
        back_up(&repository, number, (surroundings.now)(), like.is_some()).await?;
    }
    Ok((memory, repository))
}

/// What a repository is told of the world: a clock that is set, and numbers that are the same each time.
pub fn surroundings(clock: Arc<Mutex<Timestamp>>, is_second: bool) -> Surroundings {
    let numbers = Mutex::new(Numbers::new(if is_second { 8 } else { 7 }));
    Surroundings {
        random: Arc::new(move |bytes: &mut [u8]| {
            let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
            bytes.fill_with(|| numbers.next() as u8);
        }),
        now: Arc::new(move || *clock.lock().unwrap_or_else(PoisonError::into_inner)),
        uptime: Arc::new(std::time::Duration::default),
        host: "bench".to_owned(),
        cache_dir: None,
    }
}

async fn back_up(
    repository: &Repository,
    number: usize,
    at: Timestamp,
    is_second: bool,
) -> Result<(), Box<dyn Error>> {
    let mut session = repository.begin(draft(number, at)?, None).await?;
    let walk = std::iter::once(Ok(empty_root()));
    session.write_tree(Box::new(walk), Arc::new(())).await?;
    let manifest = session.commit(Commit::default()).await?;
    for check in [Check::Presence, Check::Integrity] {
        let evidence = Evidence {
            check,
            at,
            destination: if is_second { "second" } else { "primary" }.parse()?,
            passed: true,
            facts: BTreeMap::new(),
            message: "1 file, 30 B".to_owned(),
        };
        let note = Note::Verified(evidence);
        repository
            .annotate(&Annotation {
                v: Version,
                backup: manifest.id,
                at,
                note,
            })
            .await?;
    }
    Ok(())
}

/// Backup number `number`.
pub fn draft(number: usize, at: Timestamp) -> Result<Draft, Box<dyn Error>> {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&Numbers::new(number as u64).next().to_be_bytes());
    Ok(Draft {
        id: BackupId(id),
        component: ComponentName::new("data")?,
        method: Method::Incremental,
        slots: vec![Slot {
            schedule: ScheduleName::new("six-hourly")?,
            at,
        }],
        tags: Vec::new(),
        run: RunId(id),
        plan: PlanRef {
            name: "bench".to_owned(),
            digest: Digest([0; 32]),
        },
        environment: "development".to_owned(),
        effort: Effort::always(1),
    })
}

/// What was read each time: a directory with nothing in it.
fn empty_root() -> Found {
    Found {
        path: Vec::new(),
        node: Node {
            name: Vec::new(),
            kind: NodeKind::Directory { tree: None },
            mode: 0o755,
            uid: 0,
            gid: 0,
            user: None,
            group: None,
            mtime_ns: 0,
            ctime_ns: 0,
            inode: 0,
            device: 0,
            hard_link: None,
            xattrs: Vec::new(),
            unknown: Vec::new(),
        },
        body: Body::Nothing,
    }
}

/// Writes the objects as a local store has them, save for leases: those of ended sessions go.
pub async fn lay_out(memory: &Memory, to: &Path) -> Result<(), Box<dyn Error>> {
    for meta in memory.list("").await?.objects {
        if meta.key.as_str().starts_with("leases/") {
            continue;
        }
        let path = to.join(meta.key.as_str());
        fs::create_dir_all(path.parent().unwrap_or(to))?;
        fs::write(&path, memory.get(&meta.key, None).await?)?;
        fs::File::options()
            .write(true)
            .open(&path)?
            .set_modified(meta.modified.into())?;
    }
    Ok(())
}
