//! Makes the repository of a destination. Destinations with the same `encryption` share one keyring, so
//! that blobs have the same names in both and copies and healing need no re-chunking.

use crate::apply::error::StepError;
use crate::apply::hands::Hands;
use crate::model::ids::DestinationName;
use crate::model::strategy::Cipher;
use crate::plan::report::Done;
use crate::repository::format::config::CipherSuite;
use crate::repository::{Creation, NewSlot, OpenError, Repository};

/// Name of the key slot that a new repository starts with.
const FIRST_SLOT: &str = "first";

pub(crate) async fn initialize(name: &DestinationName, hands: &Hands) -> Result<Done, StepError> {
    // One after the other: the second of two with the same encryption must find the keyring of the first.
    let _turn = hands.initializing().await;
    let repository = create(name, hands).await?;
    if let Some(locks) = hands.locks() {
        let taken = locks.take(name, &repository).await;
        taken.map_err(|error| error.of_step(name))?;
    }
    let note = format!("repository {}", repository.id().short());
    hands.destinations().opened(name, repository).await;
    Ok(Done {
        note,
        ..Done::default()
    })
}

/// Creates the repository. One that somebody created meanwhile may hold backups that the plan does not know
/// of: a run that counts on being alone ends here.
async fn create(name: &DestinationName, hands: &Hands) -> Result<Repository, StepError> {
    let strategy = hands.strategy();
    let destination = strategy
        .destination(name)
        .ok_or_else(|| StepError::Unknown(format!("destination.{name}")))?;
    let store = hands.destinations().store(name).await?;
    let encryption = destination
        .encrypt
        .as_ref()
        .and_then(|encryption| strategy.encryption(encryption));
    let secret = match encryption {
        None => None,
        Some(encryption) => {
            let read = (hands.secrets())(&encryption.key);
            Some(read.map_err(|cause| StepError::Secret {
                destination: name.clone(),
                cause,
            })?)
        }
    };
    let slot = encryption
        .zip(secret.as_ref())
        .map(|(encryption, secret)| NewSlot {
            name: FIRST_SLOT,
            secret,
            kdf: encryption.kdf,
        });
    let sibling = sibling(name, hands).await;
    let creation = Creation {
        cipher: encryption.map_or(CipherSuite::None, |encryption| match encryption.cipher {
            Cipher::Aes256Gcm => CipherSuite::Aes256Gcm,
            Cipher::ChaCha20Poly1305 => CipherSuite::ChaCha20Poly1305,
        }),
        slot,
        keyring_of: sibling.as_ref(),
    };
    let surroundings = hands.surroundings();
    let made = match Repository::create(store.clone(), &creation, surroundings).await {
        Err(OpenError::Exists(_)) if hands.locks().is_some() => {
            return Err(StepError::MadeMeanwhile(name.clone()));
        }
        Err(OpenError::Exists(_)) => Repository::open(store, secret.as_ref(), surroundings).await,
        made => made,
    };
    made.map_err(|cause| StepError::Open {
        destination: name.clone(),
        cause,
    })
}

/// An open repository of another destination under the same encryption.
async fn sibling(name: &DestinationName, hands: &Hands) -> Option<Repository> {
    let strategy = hands.strategy();
    let encrypt = &strategy.destination(name)?.encrypt;
    for other in &strategy.destinations {
        if other.name == *name || encrypt.is_none() || other.encrypt != *encrypt {
            continue;
        }
        if let Ok(repository) = hands.destinations().repository(&other.name).await {
            return Some(repository);
        }
    }
    None
}
