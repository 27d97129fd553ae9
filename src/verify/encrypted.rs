//! Whether what is stored can be read without the key: looks at the stored bytes themselves, not at what
//! the configuration says of them.

use crate::model::records::Check;
use crate::repository::format::key::KeyringId;
use crate::repository::format::pack::PackHeader;
use crate::repository::{ListedBackup, Repository};
use crate::verify::{Against, Finding, chain};

/// What a sealed object begins with; the key epoch stands at 6.
const SEALED: &[u8] = b"CCBO";

/// Checks the manifest of `backup` and a data pack. `expected` is the keyring that the repository must
/// have; `None` when no other destination says which.
pub async fn encrypted(
    repository: &Repository,
    backup: &ListedBackup,
    expected: Option<KeyringId>,
) -> Finding {
    let mut against = Against::default();
    if !repository.is_encrypted() {
        against.push("the repository is not encrypted".to_owned());
    }
    if expected.is_some_and(|expected| expected != repository.keyring_id()) {
        against.push("the repository has another key than the one that is asked for".to_owned());
    }
    let store = repository.store();
    match store.get(&backup.key, None).await {
        Ok(bytes) if !bytes.starts_with(SEALED) => {
            against.push(format!("`{}` does not have ccb's header", backup.key));
        }
        Ok(bytes) if holds(&bytes, backup.manifest.component.as_str().as_bytes()) => {
            against.push(format!("`{}` shows the component's name", backup.key));
        }
        Ok(_) => {}
        Err(error) => against.push(chain(&error)),
    }
    let packs = match store.list("packs/d/").await {
        Ok(listing) => listing.objects,
        Err(error) => {
            against.push(chain(&error));
            Vec::new()
        }
    };
    if let Some(pack) = packs.first() {
        let header = store.get(&pack.key, Some(0..40.min(pack.size))).await;
        match header.map(|bytes| PackHeader::decode(&bytes)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => against.push(format!("`{}`: {}", pack.key, chain(&error))),
            Err(error) => against.push(chain(&error)),
        }
    }
    let facts = [
        ("keyring", repository.keyring_id().to_string().into()),
        ("epoch", backup.manifest.epoch.into()),
        ("packs", packs.len().into()),
    ];
    Finding::new(
        Check::Encrypted,
        facts,
        &against,
        "the stored bytes need the key".to_owned(),
    )
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    // Short names turn up in random bytes.
    text.len() >= 6 && bytes.windows(text.len()).any(|window| window == text)
}
