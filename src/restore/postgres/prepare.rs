//! Looks at the target before anything is written, decides how the dump gets in, and refuses what can not end
//! well: a database with something in it, roles and extensions that are not there.

use crate::model::postgres::{is_named, table_name};
use crate::restore::postgres::roles::{self, Roles};
use crate::restore::postgres::select::{self, Chosen, There};
use crate::restore::postgres::{Request, RestoreError, target};
use crate::source::postgres::archive::Entry;
use crate::source::postgres::connection::Connection;
use crate::source::postgres::{PLAIN, programs};
use std::collections::BTreeSet;
use std::time::Duration;

/// Roles take no time to make.
const ROLES_LIMIT: Duration = Duration::from_secs(120);
/// Names that an error lists.
const LISTED_MAX: usize = 5;

/// How the dump gets in.
pub(crate) struct Prepared {
    /// The database that it is restored into, with programs that fit.
    pub(crate) connection: Connection,
    /// What that is.
    pub(crate) into: Into,
    /// Entries to restore; `None`: all.
    pub(crate) ids: Option<Vec<i64>>,
    /// Tables with rows among them.
    pub(crate) tables: BTreeSet<String>,
    /// What is there of it is dropped first.
    pub(crate) clean: bool,
    /// Everything goes to the default tablespace: the server lacks some that it was in.
    pub(crate) has_other_places: bool,
    /// Settings of the database itself.
    pub(crate) settings: Vec<String>,
    /// What is not as it was at the source.
    pub(crate) notes: Vec<String>,
}

/// What a dump is restored into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Into {
    /// A database that was there; a failure leaves it as it was when one job does all.
    There,
    /// A database that was made for it, and gets the target's name at the end.
    New,
    /// A database that was made beside the target's, which gets the name `aside` at the end.
    Beside { aside: String },
}

/// What was found to be possible; nothing is written yet.
pub(crate) struct Checked {
    into: Into,
    /// With programs that fit.
    target: Connection,
    chosen: Option<Chosen>,
    /// Tablespaces that it was in and that the target does not have.
    places: BTreeSet<String>,
    new_roles: Roles,
    settings: Vec<String>,
}

impl Checked {
    /// What would be done, for people.
    pub(crate) fn intents(&self) -> Vec<String> {
        let title = self.target.title();
        let mut intents = Vec::new();
        if !self.new_roles.new.is_empty() {
            intents.push(format!(
                "make the roles {}",
                listed(self.new_roles.new.iter())
            ));
        }
        intents.push(match &self.into {
            Into::There => format!("restore into {title}"),
            Into::New => format!("make {title} and restore into it"),
            Into::Beside { aside } => format!("restore beside {title}, keep what is there as {aside}, and put the new one in its place"),
        });
        intents
    }
}

/// Looks and refuses.
pub(crate) fn check(
    request: &Request,
    entries: &[Entry],
    globals: Option<&str>,
) -> Result<Checked, RestoreError> {
    let there = target::look(&request.target)?;
    check_version(request, &there)?;
    let is_plain = request.facts.format == PLAIN;
    let is_part = !request.selection.is_all();
    if is_plain && (is_part || request.no_owner) {
        return refuse(
            "a plain dump is restored whole, with its owners: `format \"custom\"` can do more",
        );
    }
    let contents = match there.exists {
        true => target::contents(&request.target)?,
        false => Vec::new(),
    };
    let around = match there.exists && !contents.is_empty() {
        true => There::Database,
        false => There::Nothing,
    };
    let chosen = match is_part {
        true => Some(request.selection.choose(entries, around)),
        false => select::without_dangling(entries),
    };
    if let Some(chosen) = &chosen {
        check_chosen(chosen, request)?;
        if request.target.is_via() {
            return refuse(
                "a part can not be restored through `via`: write the dump with --to FILE.dump and use pg_restore there",
            );
        }
    }
    let is_wanted = |entry: &&Entry| chosen.as_ref().is_none_or(|c| c.ids.contains(&entry.id));
    let wanted: Vec<&Entry> = entries.iter().filter(is_wanted).collect();
    let new_roles = globals
        .map(|text| roles::missing(text, &there.roles))
        .unwrap_or_default();
    if !request.no_owner {
        let known: BTreeSet<&str> = there
            .roles
            .iter()
            .chain(&new_roles.new)
            .map(String::as_str)
            .collect();
        check_roles(&wanted, &request.facts.server.roles, &known)?;
    }
    check_extensions(&wanted, &there.extensions)?;
    let into = decide(
        request,
        &there,
        &contents,
        chosen.as_ref().filter(|_| is_part),
    )?;
    let places = places(&wanted, &there.tablespaces);

    let major = (there.version_number / 10_000).max(request.facts.server.major());
    let program = if is_plain { "psql" } else { "pg_restore" };
    let (target, _) = programs::fitting(&request.target, program, major)?;
    Ok(Checked {
        into,
        target,
        chosen,
        places,
        new_roles,
        settings: target::settings_of(entries),
    })
}

/// Makes the roles and the database.
pub(crate) fn make(request: &Request, checked: Checked) -> Result<Prepared, RestoreError> {
    let Checked {
        into,
        target,
        chosen,
        places,
        new_roles,
        settings,
    } = checked;
    let is_part = !request.selection.is_all();
    let mut notes = Vec::new();
    if !new_roles.sql.is_empty() {
        target::maintenance(&target).run(&new_roles.sql, ROLES_LIMIT)?;
        notes.push(format!("made the roles {}", listed(new_roles.new.iter())));
    }
    let connection = match &into {
        Into::There => target,
        // Under its own name stands only what is whole.
        Into::New | Into::Beside { .. } => {
            let beside = target::name_beside(target.database(), &format!("_ccb_{}", request.mark));
            target.to_database(&beside)
        }
    };
    if into != Into::There {
        notes.extend(target::create(&connection, &request.facts.server)?);
    }
    if let Some(chosen) = &chosen {
        let without = chosen.without.iter();
        notes.extend(without.map(|key| {
            format!("without the foreign key {key}: what it points to is not restored with it")
        }));
    }
    if !places.is_empty() {
        notes.push(format!(
            "the server does not have the tablespaces {}: what was in them is in its default one",
            listed(places.iter())
        ));
    }
    Ok(Prepared {
        has_other_places: !places.is_empty(),
        tables: chosen_tables(chosen.as_ref()),
        clean: into == Into::There && request.overwrite && is_part,
        settings,
        ids: chosen.map(|chosen| chosen.ids),
        connection,
        into,
        notes,
    })
}

fn decide(
    request: &Request,
    there: &target::There,
    contents: &[String],
    chosen: Option<&Chosen>,
) -> Result<Into, RestoreError> {
    let title = request.target.title();
    let database = request.target.database();
    if !there.exists {
        return match there.may_create {
            true => Ok(Into::New),
            false => refuse(&format!(
                "there is no database {title}, and the role may not make one: make it empty first"
            )),
        };
    }
    if let Some(chosen) = chosen {
        let in_the_way: Vec<&String> = contents
            .iter()
            .filter(|name| {
                chosen
                    .tables
                    .iter()
                    .any(|t| is_named(name, &table_name(&t.schema, &t.name)))
            })
            .collect();
        return match in_the_way.is_empty() || request.overwrite {
            true => Ok(Into::There),
            false => refuse(&format!(
                "{title} has {} already: add --overwrite to replace them, or restore into another database with --to database=NAME",
                listed(in_the_way.into_iter())
            )),
        };
    }
    if contents.is_empty() {
        return Ok(Into::There);
    }
    if !request.overwrite {
        return refuse(&format!(
            "{title} is not empty: it has {}; restore into another database with --to database=NAME, or add --overwrite, which keeps what is there under another name",
            listed(contents.iter())
        ));
    }
    if !there.may_create {
        return refuse(&format!(
            "{title} is replaced by a database beside it, and the role may not make one"
        ));
    }
    if there.sessions > 0 {
        return refuse(&format!(
            "{} sessions use {title}: stop what uses it, then restore again",
            there.sessions
        ));
    }
    Ok(Into::Beside {
        aside: target::name_beside(database, &format!("_before_{}", request.mark)),
    })
}

fn check_chosen(chosen: &Chosen, request: &Request) -> Result<(), RestoreError> {
    if chosen.missing.is_empty() {
        return Ok(());
    }
    refuse(&format!(
        "the backup has no {}; it has {}",
        listed(chosen.missing.iter()),
        listed(request.facts.tables.keys())
    ))
}

/// Roles of the source that own something or are granted something, and that the target does not have.
fn check_roles(
    wanted: &[&Entry],
    of_source: &[String],
    known: &BTreeSet<&str>,
) -> Result<(), RestoreError> {
    let owners = wanted
        .iter()
        .map(|entry| entry.owner.as_str())
        .filter(|owner| !owner.is_empty());
    let mut missing: BTreeSet<&str> = owners.filter(|owner| !known.contains(owner)).collect();
    let grants: Vec<&str> = wanted
        .iter()
        .filter(|entry| entry.kind == "ACL" || entry.kind == "DEFAULT ACL")
        .map(|entry| entry.definition.as_str())
        .collect();
    for role in of_source
        .iter()
        .filter(|role| !known.contains(role.as_str()))
    {
        let name = table_name("", role);
        let forms = [
            format!(" TO {name}"),
            format!(" FROM {name}"),
            format!(" ROLE {name}"),
        ];
        let is_in = |text: &&str| forms.iter().any(|form| is_word(text, form));
        if grants.iter().any(is_in) {
            missing.insert(role);
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => refuse(&format!(
            "the target does not have the roles {}: add --roles to make them, or --no-owner to do without",
            listed(missing.into_iter())
        )),
    }
}

/// Whether `form` is in `text` and does not go on there.
fn is_word(text: &str, form: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    text.match_indices(form)
        .any(|(at, _)| !text[at + form.len()..].starts_with(goes_on))
}

/// A dump of a newer server has SQL that an older one does not know, and ends in the middle.
fn check_version(request: &Request, there: &target::There) -> Result<(), RestoreError> {
    let major = request.facts.server.major();
    match there.version_number / 10_000 >= major {
        true => Ok(()),
        false => refuse(&format!(
            "the server of {} is PostgreSQL {}, and the dump is of {major}: restore into {major} or newer, or write the dump with --to FILE.dump and change it",
            request.target.title(),
            there.version()
        )),
    }
}

/// Tablespaces of the source that the target does not have.
fn places(wanted: &[&Entry], there: &[String]) -> BTreeSet<String> {
    let of_source = wanted.iter().map(|entry| &entry.tablespace);
    let missing = of_source.filter(|name| !name.is_empty() && !there.contains(name));
    missing.cloned().collect()
}

fn check_extensions(wanted: &[&Entry], available: &[String]) -> Result<(), RestoreError> {
    let needed = wanted.iter().filter(|entry| entry.kind == "EXTENSION");
    let missing: Vec<&str> = needed
        .map(|entry| entry.name.as_str())
        .filter(|name| !available.iter().any(|there| there == name))
        .collect();
    match missing.is_empty() {
        true => Ok(()),
        false => refuse(&format!(
            "the extensions {} are not installed at the target's server",
            listed(missing.into_iter())
        )),
    }
}

fn chosen_tables(chosen: Option<&Chosen>) -> BTreeSet<String> {
    let tables = chosen.into_iter().flat_map(|chosen| &chosen.tables);
    tables
        .map(|table| table_name(&table.schema, &table.name))
        .collect()
}

fn refuse<T>(words: &str) -> Result<T, RestoreError> {
    Err(RestoreError::Refused(words.to_owned()))
}

fn listed<T: std::fmt::Display>(names: impl ExactSizeIterator<Item = T>) -> String {
    let count = names.len();
    let first: Vec<String> = names
        .take(LISTED_MAX)
        .map(|name| name.to_string())
        .collect();
    match count > LISTED_MAX {
        true => format!("{} and {} more", first.join(", "), count - LISTED_MAX),
        false => first.join(", "),
    }
}
