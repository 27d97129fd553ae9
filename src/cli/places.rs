//! Opens the destinations of a strategy: their stores, and the repositories in them.

mod bucket;

use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::world::{self, Commands};
use crate::model::ids::DestinationName;
use crate::model::strategy::{Destination, DestinationKind, Strategy};
use crate::observe::Opened;
use crate::repository::{OpenError, Repository};
use crate::store::local::Local;
use crate::store::sftp::{self, AddressError, Sftp};
use crate::store::{Doing, Kind, Store, StoreError};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Store calls at once on a local disk: more only make its head move more.
const LOCAL_CALLS_AT_ONCE: usize = 4;
/// Over SSH all calls share one connection; more of them hide how long an answer takes.
const SFTP_CALLS_AT_ONCE: usize = 8;

/// A destination: its store where this version can reach it, and its repository where there is one.
pub struct Place {
    /// The store.
    pub store: Option<Store>,
    /// The repository, or why it is not open.
    pub opened: Opened,
}

/// Every destination of the strategy.
pub type Places = BTreeMap<DestinationName, Place>;

/// Opens all destinations. A key that is missing or wrong ends the command: what is behind it is there,
/// and must not be taken for absent.
pub async fn open_all(strategy: &Strategy, commands: Commands) -> Result<Places, Trouble> {
    let mut places = Places::new();
    for destination in &strategy.destinations {
        let place = open(strategy, destination, commands).await?;
        places.insert(destination.name.clone(), place);
    }
    Ok(places)
}

/// Opens one destination.
pub async fn open(
    strategy: &Strategy,
    destination: &Destination,
    commands: Commands,
) -> Result<Place, Trouble> {
    let store = match store(destination).await {
        Ok(store) => store,
        Err(error) => {
            return Ok(Place {
                store: None,
                opened: Err(OpenError::Store(error)),
            });
        }
    };
    let encryption = destination.encrypt.as_ref();
    let encryption = encryption.and_then(|name| strategy.encryption(name));
    let secret = encryption.map(|encryption| world::secret(&encryption.key, commands));
    let (secret, unread) = match secret {
        Some(Ok(secret)) => (Some(secret), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let opened = Repository::open(store.clone(), secret.as_ref(), &world::surroundings()).await;
    if let (Ok(repository), Some(encryption)) = (&opened, encryption)
        && !repository.is_encrypted()
    {
        let words = format!(
            "destination.{} holds a repository that is not encrypted, and the plan file asks for encryption `{}`; choose another place, or write encrypt none=#true",
            destination.name, encryption.name
        );
        return Err(Trouble::new(Exit::Key, words));
    }
    match (&opened, unread) {
        (Err(OpenError::KeyMissing(_)), Some(error)) => Err(Trouble::new(
            Exit::Key,
            format!("read the key for destination.{}: {error}", destination.name),
        )),
        (Err(e), _) if e.is_about_the_key() => {
            let words = format!("open destination.{} > {}", destination.name, chain(e));
            Err(Trouble::new(Exit::Key, words))
        }
        _ => Ok(Place {
            store: Some(store),
            opened,
        }),
    }
}

/// The stores that can be used, each with its repository where that is open.
pub fn stores(places: &Places) -> BTreeMap<DestinationName, (Store, Option<Repository>)> {
    let usable = places.iter().filter_map(|(name, place)| {
        let repository = place.opened.as_ref().ok().cloned();
        Some((name.clone(), (place.store.clone()?, repository)))
    });
    usable.collect()
}

async fn store(destination: &Destination) -> Result<Store, StoreError> {
    match &destination.kind {
        DestinationKind::Local { path } => {
            let local = Local::new(Path::new(path));
            Ok(Store::new(Arc::new(local), LOCAL_CALLS_AT_ONCE))
        }
        DestinationKind::S3 {
            url, storage_class, ..
        } => bucket::open(destination, url, storage_class.as_deref()).await,
        DestinationKind::Sftp { url } => {
            // The place is not shown: a URL that is wrong may have a password in it.
            let address = url.parse().map_err(|cause: AddressError| {
                StoreError::new(Doing::List, "", "its SFTP server", Kind::Denied).caused_by(cause)
            })?;
            let program = world::variable("CCB_SSH").unwrap_or_else(|| "ssh".to_owned());
            let program = program.into();
            let sftp = Sftp::new(sftp::Settings { address, program });
            Ok(Store::new(Arc::new(sftp), SFTP_CALLS_AT_ONCE))
        }
    }
}
