//! Rules about secrets in the plan file and on command lines: CCB104 and CCB110. No message repeats one.

use crate::model::ids::Address;
use crate::model::strategy::{DestinationKind, EnvUse, Place, SourceSpec, Strategy};
use crate::plan::check::Broken;
use crate::plan::check::paths::masked_password;

/// Parts of names of environment variables that hold secrets.
const SECRET_WORDS: [&str; 9] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "API_KEY",
    "PRIVATE_KEY",
    "ENCRYPTION_KEY",
    "ACCESS_KEY",
];
/// Ends of names that say where a secret is, or which one, and are none themselves.
const HARMLESS_ENDS: [&str; 4] = ["_ID", "_FILE", "_PATH", "_NAME"];
/// Options whose value is a secret.
const SECRET_OPTIONS: [&str; 7] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api-key",
    "access-token",
];

pub(crate) fn check(strategy: &Strategy) -> Vec<Broken> {
    let mut broken = Vec::new();
    for used in strategy.env_in_values.iter().filter(|used| is_secret(used)) {
        broken.extend(env_in_value(strategy, used));
    }
    passwords_in_urls(strategy, &mut broken);
    literals(strategy, &mut broken);
    command_lines(strategy, &mut broken);
    broken
}

fn is_secret(used: &EnvUse) -> bool {
    let name = used.name.to_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        && !HARMLESS_ENDS.iter().any(|end| name.ends_with(end))
}

/// A secret's variable written into a value: CCB110 in a hook, CCB104 elsewhere. Where a secret is
/// referred to (`key`, `password`, `url`), it belongs.
fn env_in_value(strategy: &Strategy, used: &EnvUse) -> Option<Broken> {
    let address = around(strategy, used.place);
    let last = address.0.rsplit('.').next().unwrap_or_default();
    if matches!(last, "key" | "password" | "url") {
        return None;
    }
    let name = &used.name;
    Some(if address.0.contains(".hook.") {
        in_argv(address, format!("`${{env.{name}}}`"))
    } else {
        Broken::new(
            "CCB104",
            address,
            format!("the secret `${{env.{name}}}` becomes part of a value that is printed"),
            format!("refer to it where a secret belongs: password env=\"{name}\""),
        )
    })
}

fn passwords_in_urls(strategy: &Strategy, broken: &mut Vec<Broken>) {
    let mut say = |address: Address, url: &str| {
        if let Some(shown) = masked_password(url) {
            broken.push(Broken::new(
                "CCB104",
                address,
                format!("a password is written in the URL \"{shown}\""),
                "remove it from the URL and change it: keys, profiles and `env=` carry secrets",
            ));
        }
    };
    for destination in &strategy.destinations {
        let at = Address::destination(&destination.name);
        match &destination.kind {
            DestinationKind::S3 { url, endpoint, .. } => {
                say(at.child("s3"), url);
                say(at.child("s3"), endpoint.as_deref().unwrap_or_default());
            }
            DestinationKind::Sftp { url } => say(at.child("sftp"), url),
            DestinationKind::Local { .. } => {}
        }
    }
    for component in &strategy.components {
        if let SourceSpec::S3(bucket) = &component.source {
            let at = Address::component(&component.name).child("source");
            let endpoint = bucket.endpoint.as_deref().unwrap_or_default();
            say(at.child("bucket"), endpoint);
            let replication = bucket.replication.as_ref();
            let endpoint = replication.and_then(|replication| replication.endpoint.as_deref());
            say(at.child("replication"), endpoint.unwrap_or_default());
        }
    }
}

/// Texts that are keys by their form, in values and in comments alike.
fn literals(strategy: &Strategy, broken: &mut Vec<Broken>) {
    for (number, file) in strategy.files.iter().enumerate() {
        for (start, what) in key_literals(&file.text) {
            let place = Place {
                file: number,
                start,
                len: 1,
            };
            broken.push(Broken::new(
                "CCB104",
                around(strategy, place),
                format!(
                    "{what} is written in {}, line {}",
                    file.path,
                    file.text[..start].matches('\n').count() + 1
                ),
                "remove it, change it, and refer to it: key env=\"NAME\"",
            ));
        }
    }
}

fn key_literals(text: &str) -> Vec<(usize, &'static str)> {
    let aws = text.match_indices("AKIA").filter(|(at, _)| {
        let id = text[*at..].bytes();
        id.take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            .count()
            == 20
    });
    let aws = aws.map(|(at, _)| (at, "an AWS access key id"));
    let pem = text.match_indices("PRIVATE KEY-----");
    let pem = pem.map(|(at, _)| (at, "a private key"));
    aws.chain(pem).collect()
}

/// CCB110 for options such as `--password=hunter2`.
fn command_lines(strategy: &Strategy, broken: &mut Vec<Broken>) {
    for component in &strategy.components {
        for hook in &component.hooks {
            let when = ["before", "after", "failed"][hook.when as usize];
            let at = Address::component(&component.name)
                .child("hook")
                .child(when);
            if let Some(option) = secret_option(&hook.run) {
                broken.push(in_argv(at.child("run"), format!("the value of `{option}`")));
            }
        }
    }
}

fn in_argv(address: Address, what: String) -> Broken {
    let component = address.0.split('.').take(2).collect::<Vec<_>>().join(".");
    let message = format!("a hook of {component} passes a secret on the command line: {what}");
    Broken::new(
        "CCB110",
        address,
        message,
        "let the command read it from its environment or a file",
    )
}

fn secret_option(argv: &[String]) -> Option<&str> {
    argv.iter().enumerate().find_map(|(number, arg)| {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg.as_str(), argv.get(number + 1).map(String::as_str)),
        };
        let option = name.strip_prefix("--").unwrap_or_default().to_lowercase();
        let assigned = arg.contains('=') && is_secret_name(name);
        let given = value.is_some_and(|v| !v.is_empty() && !v.starts_with('-'));
        let secret = SECRET_OPTIONS.contains(&option.as_str()) || assigned;
        (secret && given).then_some(name)
    })
}

/// `PGPASSWORD` in `env PGPASSWORD=hunter2 psql`.
fn is_secret_name(name: &str) -> bool {
    let variable = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    variable
        && SECRET_WORDS.iter().any(|word| name.contains(word))
        && !HARMLESS_ENDS.iter().any(|end| name.ends_with(end))
}

/// The innermost line of the plan file that holds `place`, or the nearest before it in its file.
fn around(strategy: &Strategy, place: Place) -> Address {
    let in_file = strategy.places.iter().filter(|(_, p)| p.file == place.file);
    let holds = |p: &Place| p.start <= place.start && place.start < p.start + p.len;
    let inner = in_file
        .clone()
        .filter(|(_, p)| holds(p))
        .min_by_key(|(_, p)| p.len);
    let before = in_file
        .filter(|(_, p)| p.start <= place.start)
        .max_by_key(|(_, p)| p.start);
    let found = inner.or(before).map(|(address, _)| address.clone());
    found.unwrap_or_else(|| Address("plan".to_owned()))
}
