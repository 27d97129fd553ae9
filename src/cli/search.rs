//! `ccb find` and `ccb diff`: which backups hold a path, and how two backups differ. Both read directories,
//! never content, and each directory that backups share once.

use crate::cli::Context;
use crate::cli::args::{DiffArguments, FindArguments};
use crate::cli::exit::{Exit, Trouble, chain};
use crate::cli::holdings::{FoundBackup, Reading, Seen, Wanted};
use crate::cli::output::{self, Out};
use crate::cli::schema_diff::{self, DumpDifferences};
use crate::model::ids::{BackupId, ComponentName, DestinationName};
use crate::model::strategy::Component;
use crate::model::tree::printable;
use crate::render::listing::contents::{self, Entry, Found, FoundVersion};
use crate::render::listing::differences::{self, Counts, Differences, PathDifference, Side};
use crate::render::output::{self as document, Long};
use crate::repository::{self, Comparison, ListedBackup, Reader, UnreadDirectory, Versions};
use crate::source::files::Glob;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Finds paths in all backups of a component: each distinct version once, newest first.
pub async fn find(arguments: &FindArguments, context: &Context) -> Result<Exit, Trouble> {
    let glob = Glob::new(&arguments.glob).map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let reading = Reading::open(&arguments.file, context).await?;
    let component = reading.component(&arguments.component)?;
    let all = reading.holdings(None).await?;
    let backups = newest_first(&all, component);
    let mut readers = Readers::default();
    let mut versions = Versions::default();
    let mut exit = Exit::Ok;
    let mut looked_for = LookedFor(glob);
    for backup in &backups {
        let id = backup.manifest.id;
        let found = reading.holders(&all, &id).swap_remove(0);
        let reader = readers.of(&found).await?;
        let root = &found.backup.manifest.root;
        for unread in versions.add(&reader, root, &mut looked_for).await {
            tell_unread(&id, &unread);
            exit = exit.and(Exit::Damaged);
        }
    }
    let versions = versions.into_found().into_iter().map(|version| {
        // Backups were added newest first.
        let (newest, oldest) = (backups[version.first], backups[version.last]);
        FoundVersion {
            backup: newest.manifest.id,
            taken: newest.manifest.started,
            backups: version.count,
            since: oldest.manifest.started,
            entry: Entry::new(&version.path, &version.node),
            node: version.node,
            at: version.path,
        }
    });
    let found = Found {
        component: component.name.clone(),
        glob: arguments.glob.clone(),
        searched: backups.len(),
        versions: versions.collect(),
    };
    output::print(&match arguments.json.json {
        true => document::json(&found),
        false => contents::found(&found, &context.look()),
    })?;
    Ok(exit)
}

/// All backups of a component, each once, newest first.
fn newest_first<'a>(all: &'a [Seen], component: &Component) -> Vec<&'a ListedBackup> {
    let is_of =
        |name: &ComponentName| *name == component.name || component.moved_from.contains(name);
    let mut met: BTreeSet<BackupId> = BTreeSet::new();
    let mut backups: Vec<&ListedBackup> = all
        .iter()
        .flat_map(|(_, _, holdings)| &holdings.backups)
        .filter(|backup| is_of(&backup.manifest.component) && met.insert(backup.manifest.id))
        .collect();
    backups.sort_by_key(|backup| std::cmp::Reverse((backup.manifest.started, backup.manifest.id)));
    backups
}

/// One reader for each destination that is read from.
#[derive(Default)]
struct Readers(BTreeMap<DestinationName, Reader>);

impl Readers {
    async fn of(&mut self, found: &FoundBackup) -> Result<Reader, Trouble> {
        if let Some(reader) = self.0.get(&found.destination) {
            return Ok(reader.clone());
        }
        let reader = found.reader().await?;
        self.0.insert(found.destination.clone(), reader.clone());
        Ok(reader)
    }
}

struct LookedFor(Glob);

impl repository::Wanted for LookedFor {
    fn is_wanted(&mut self, path: &[u8], is_directory: bool) -> bool {
        self.0.matches(path, is_directory)
    }
    fn may_hold(&self, directory: &[u8]) -> bool {
        self.0.may_match_below(directory)
    }
}

fn tell_unread(backup: &BackupId, unread: &UnreadDirectory) {
    let path = match unread.path.as_slice() {
        b"" => "the root".to_owned(),
        path => format!("`{}`", printable(path)),
    };
    let (id, why) = (backup.short(), chain(&unread.cause));
    output::say(&format!(
        "Error: {path} of backup {id} can not be read: {why}"
    ));
}

/// Compares two backups.
pub async fn diff(arguments: &DiffArguments, context: &Context) -> Result<Exit, Trouble> {
    let reading = Reading::open(&arguments.file, context).await?;
    let all = reading.holdings(None).await?;
    let choose = |text: &str| {
        let wanted = Wanted {
            backup: Some(text),
            ..Wanted::default()
        };
        reading.choose(&all, &wanted)
    };
    let (before, after) = (choose(&arguments.before)?, choose(&arguments.after)?);
    let (before, after) = pair(&reading, &all, &before, &after)?;
    let mut readers = Readers::default();
    let side = |found: &FoundBackup| Side {
        backup: found.backup.manifest.id,
        component: found.backup.manifest.component.clone(),
        taken: found.backup.manifest.started,
    };
    let comparison = Comparison::new(
        (readers.of(&before).await?, before.backup.manifest.root),
        (readers.of(&after).await?, after.backup.manifest.root),
    );
    let sides = [side(&before), side(&after)];
    let (reader, other) = (readers.of(&before).await?, readers.of(&after).await?);
    let dumps = schema_diff::of(
        (&reader, &before.backup.manifest),
        (&other, &after.backup.manifest),
    );
    let dumps = dumps.await?.unwrap_or_default();
    match arguments.json.json {
        true => diff_json(comparison, &sides, &dumps).await,
        false => diff_text(comparison, &sides, &dumps, context).await,
    }
}

/// Copies of both backups whose blobs are named by the same keys: only those can be compared without reading
/// their content.
fn pair(
    reading: &Reading,
    all: &[Seen],
    before: &BackupId,
    after: &BackupId,
) -> Result<(FoundBackup, FoundBackup), Trouble> {
    let afters = reading.holders(all, after);
    for one in reading.holders(all, before) {
        let keyring = one.repository.keyring_id();
        let mut same = afters
            .iter()
            .filter(|o| o.repository.keyring_id() == keyring);
        if let Some(other) = same.next() {
            return Ok((one, other.clone()));
        }
    }
    let words = format!(
        "no destination holds both {} and {}, nor do two with one key; `ccb apply` copies what is missing",
        before.short(),
        after.short()
    );
    Err(Trouble::new(Exit::Absent, words))
}

async fn diff_text(
    mut comparison: Comparison,
    [before, after]: &[Side; 2],
    dumps: &DumpDifferences,
    context: &Context,
) -> Result<Exit, Trouble> {
    let (look, mut out, mut exit) = (context.look(), Out::new(), Exit::Ok);
    let mut counts = Counts::default();
    out.line(&differences::sides(before, after, &look))?;
    while let Some(next) = comparison.next().await {
        match next {
            Ok(difference) => {
                counts.add(&difference.how);
                out.line(&differences::difference(&difference, &look))?;
            }
            Err(unread) => {
                tell_unread(&after.backup, &unread);
                exit = Exit::Damaged;
            }
        }
    }
    let database = differences::database(&dumps.schema, &dumps.tables, &look);
    for line in database
        .iter()
        .chain(&differences::keys(&dumps.keys, &look))
    {
        out.line(line)?;
    }
    out.line(&differences::counts(&counts))?;
    out.finish()?;
    Ok(exit)
}

async fn diff_json(
    mut comparison: Comparison,
    [before, after]: &[Side; 2],
    dumps: &DumpDifferences,
) -> Result<Exit, Trouble> {
    let (mut out, mut exit, mut counts) = (Out::new(), Exit::Ok, Counts::default());
    let mut unreads = Vec::new();
    let members = members([("before", json!(before)), ("after", json!(after))]);
    let (mut long, begin) = Long::begin::<Differences>(&members, "differences");
    out.text(&begin)?;
    while let Some(next) = comparison.next().await {
        match next {
            Ok(difference) => {
                counts.add(&difference.how);
                out.text(&long.item(&PathDifference::from(&difference)))?;
            }
            Err(unread) => {
                tell_unread(&after.backup, &unread);
                unreads.push(printable(&unread.path));
                exit = Exit::Damaged;
            }
        }
    }
    let rest = [
        ("summary", json!(counts)),
        ("schema", json!(dumps.schema)),
        ("tables", json!(dumps.tables)),
        ("keys", json!(dumps.keys)),
        ("unread", json!(unreads)),
    ];
    out.text(&long.end(&self::members(rest)))?;
    out.finish()?;
    Ok(exit)
}

/// Members of a JSON object.
pub fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    let named = members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    named.collect()
}
