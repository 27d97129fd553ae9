//! Rules about who can read what is stored and sent: CCB101, 102, 103, 105, 106, 107, 109.

use crate::model::ids::{Address, DestinationName};
use crate::model::strategy::{
    Component, Destination, DestinationKind, ExportKind, Method, SecretRef, SourceSpec, SslMode,
    Strategy,
};
use crate::plan::check::paths::{host, is_loopback, lies_in};
use crate::plan::check::{Broken, Surroundings, active, standing};

pub(crate) fn check(strategy: &Strategy) -> Vec<Broken> {
    let mut broken = Vec::new();
    for component in active(strategy) {
        unencrypted(strategy, component, &mut broken);
        broken.extend(plain_database(component));
        broken.extend(plain_test_server(component));
        broken.extend(plain_source(component));
    }
    for destination in &strategy.destinations {
        broken.extend(plain_destination(destination));
        broken.extend(no_sse(destination));
    }
    keys_beside_data(strategy, &mut broken);
    broken
}

/// CCB109.
pub(crate) fn inside_git(strategy: &Strategy, around: &Surroundings) -> Vec<Broken> {
    let exposed = strategy
        .destinations
        .iter()
        .filter(|d| around.unignored_in_git.contains(&d.name));
    exposed
        .filter_map(|destination| match &destination.kind {
            DestinationKind::Local { path } => Some(Broken::new(
                "CCB109",
                Address::destination(&destination.name).child("local"),
                format!(
                    "destination.{} lies in a git work tree and is not ignored",
                    destination.name
                ),
                format!("add {}/ to .gitignore", path.trim_end_matches('/')),
            )),
            _ => None,
        })
        .collect()
}

/// CCB101 and, where it is sensitive, CCB106.
fn unencrypted(strategy: &Strategy, component: &Component, broken: &mut Vec<Broken>) {
    let at = Address::component(&component.name);
    let name = &component.name;
    let plain = |to: &DestinationName| {
        let destination = strategy.destination(to);
        destination.is_some_and(|d| d.encrypt.is_none())
    };
    let key = strategy.encryptions.first().map(|e| e.name.as_str());
    let encrypt = format!("encrypt \"{}\"", key.unwrap_or("default"));
    for to in component.store.iter().filter(|to| plain(to)) {
        let destination = Address::destination(to);
        broken.push(
            Broken::new(
                "CCB101",
                at.child("store"),
                format!("component.{name} is stored unencrypted at {destination}"),
                format!("write in destination \"{to}\": {encrypt}"),
            )
            .related(destination.child("encrypt")),
        );
        if component.sensitive {
            broken.push(
                Broken::new(
                    "CCB106",
                    at.child("store"),
                    format!(
                        "component.{name} is sensitive and stored at {destination} with `encrypt none`"
                    ),
                    format!(
                        "write in destination \"{to}\": {encrypt}, or sensitive=#false on the component if it holds no such data"
                    ),
                )
                .related(destination.child("encrypt")),
            );
        }
    }
    // Where the backups are unencrypted anyway, a plain export tells nothing new.
    let exports = component.exports.iter().filter(|export| {
        matches!(export.kind, ExportKind::Tar | ExportKind::Plain)
            && !(component.store.contains(&export.to) && plain(&export.to))
    });
    for export in exports {
        let (kind, to) = (export.kind.as_str(), &export.to);
        let rule = if component.sensitive {
            "CCB106"
        } else {
            "CCB101"
        };
        broken.push(Broken::new(
            rule,
            at.child("export").child(kind),
            format!("component.{name} is exported unencrypted to destination.{to} as {kind}"),
            format!("export \"gpg\" to=\"{to}\""),
        ));
    }
}

/// CCB102 for destinations.
fn plain_destination(destination: &Destination) -> Option<Broken> {
    let DestinationKind::S3 {
        endpoint: Some(endpoint),
        ..
    } = &destination.kind
    else {
        return None;
    };
    let address = Address::destination(&destination.name);
    crosses_network_in_clear(endpoint).then(|| {
        Broken::new(
            "CCB102",
            address.child("s3"),
            format!("{address} uses http://"),
            format!("endpoint=\"{}\"", endpoint.replacen("http", "https", 1)),
        )
    })
}

/// CCB102 for buckets that are backed up.
fn plain_source(component: &Component) -> Option<Broken> {
    let SourceSpec::S3(bucket) = &component.source else {
        return None;
    };
    let endpoint = bucket.endpoint.as_deref()?;
    let address = Address::component(&component.name);
    crosses_network_in_clear(endpoint).then(|| {
        Broken::new(
            "CCB102",
            address.child("source").child("bucket"),
            format!("{address} uses http://"),
            format!("endpoint=\"{}\"", endpoint.replacen("http", "https", 1)),
        )
    })
}

fn crosses_network_in_clear(url: &str) -> bool {
    url.starts_with("http://") && !host(url).is_some_and(is_loopback)
}

/// CCB103 for what is backed up.
fn plain_database(component: &Component) -> Option<Broken> {
    let SourceSpec::Postgres(postgres) = &component.source else {
        return None;
    };
    let at = Address::component(&component.name).child("source");
    plain_server(&at, postgres.host.as_deref(), postgres.sslmode)
}

/// CCB103 for where it is restored as a test: the rows are the same.
fn plain_test_server(component: &Component) -> Option<Broken> {
    let server = component.verify.restore_test.as_ref()?.server.as_ref()?;
    let at = Address::component(&component.name).child("verify");
    let at = at.child("restore-test").child("server");
    plain_server(&at, Some(&server.host), server.sslmode)
}

/// Over a Unix socket libpq ignores sslmode, and nothing crosses a network.
fn plain_server(at: &Address, host: Option<&str>, mode: SslMode) -> Option<Broken> {
    let socket = host.is_some_and(|host| host.starts_with('/'));
    (mode < SslMode::Require && !socket).then(|| {
        Broken::new(
            "CCB103",
            at.child("sslmode"),
            format!("sslmode \"{}\" does not force TLS", mode.as_str()),
            "sslmode \"verify-full\"",
        )
    })
}

/// CCB107.
fn no_sse(destination: &Destination) -> Option<Broken> {
    let s3 = matches!(destination.kind, DestinationKind::S3 { .. });
    let address = Address::destination(&destination.name);
    (s3 && destination.sse.is_none()).then(|| {
        let message = format!("{address} has no `sse`");
        Broken::new("CCB107", address, message, "sse \"AES256\"")
    })
}

/// CCB105, for the keys of repositories and of exports.
fn keys_beside_data(strategy: &Strategy, broken: &mut Vec<Broken>) {
    let of_repositories = strategy.encryptions.iter().map(|encryption| {
        let address = Address::encryption(&encryption.name);
        (address.child("key"), Some(&encryption.key))
    });
    let of_exports = active(strategy).flat_map(|component| {
        let at = Address::component(&component.name).child("export");
        let exports = component.exports.iter();
        exports.map(move |e| (at.child(e.kind.as_str()).child("key"), e.key.as_ref()))
    });
    for (address, key) in of_repositories.chain(of_exports) {
        let Some(SecretRef::File(path)) = key else {
            continue;
        };
        for (owner, folder) in folders(strategy) {
            if lies_in(path, folder) {
                broken.push(
                    Broken::new(
                        "CCB105",
                        address.clone(),
                        format!("key file \"{path}\" lies inside {owner}, at \"{folder}\""),
                        "keep the key where it is neither backed up nor written to: key file=\"/etc/ccb/key\"",
                    )
                    .related(standing(strategy, owner)),
                );
            }
        }
    }
}

fn folders(strategy: &Strategy) -> Vec<(Address, &str)> {
    let sources = active(strategy).filter_map(|component| {
        let folder = match &component.source {
            SourceSpec::Files(files) => files.path.as_str(),
            SourceSpec::Redis(redis) if uses(component, Method::Aof) => {
                redis.data_dir.as_deref()?
            }
            _ => return None,
        };
        Some((Address::component(&component.name), folder))
    });
    let destinations = strategy.destinations.iter().filter_map(|d| match &d.kind {
        DestinationKind::Local { path } => Some((Address::destination(&d.name), path.as_str())),
        _ => None,
    });
    sources.chain(destinations).collect()
}

fn uses(component: &Component, method: Method) -> bool {
    component.schedules.iter().any(|s| s.method == method)
}
