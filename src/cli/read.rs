//! Commands that read backups: `list`, `ls`, `cat`, and the notes people put on them: `hold`, `release`.

use crate::cli::Context;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{FoundBackup, Reading, Wanted, unknown_component};
use crate::cli::output::Out;
use crate::cli::search::members;
use crate::cli::survey::Survey;
use crate::cli::{output, world};
use crate::model::ids::ComponentName;
use crate::model::postgres::DumpFacts;
use crate::model::records::{Annotation, Note, Version};
use crate::model::strategy::{Method, SourceSpec, Strategy};
use crate::model::tree::{Node, NodeKind, printable};
use crate::render::listing::backups;
use crate::render::listing::contents::{self, Entries, Entry};
use crate::render::output::{self as document, Long};
use crate::repository::Reader;
use serde_json::{Map, json};

/// Lists backups over all destinations, newest last; or, of those that are forgotten, what can come back.
pub async fn list(
    file: &str,
    component: Option<&str>,
    deleted: bool,
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let survey = Survey::make(file, None, context).await?;
    let Survey {
        strategy,
        inventory,
        plan,
    } = &survey;
    let component = component.map(|name| named(strategy, name)).transpose()?;
    survey.warn_of_unseen()?;
    for (destination, holding) in &inventory.destinations {
        for (key, why) in &holding.damaged {
            output::say(&format!(
                "Warning: {key} at destination.{destination} can not be read: {why}"
            ));
        }
    }
    let look = context.look();
    output::print(&if deleted {
        let trash = backups::trash(strategy, inventory, component);
        match as_json {
            true => document::json(&trash),
            false => backups::trash_table(&trash, &look),
        }
    } else {
        let all = backups::backups(strategy, inventory, plan, component);
        match as_json {
            true => document::json(&all),
            false => backups::table(&all, &look),
        }
    })?;
    Ok(Exit::Ok)
}

/// A component of the plan file.
fn named<'a>(strategy: &'a Strategy, name: &str) -> Result<&'a ComponentName, Trouble> {
    let mut names = strategy.components.iter().map(|c| &c.name);
    let found = names.find(|component| component.as_str() == name);
    found.ok_or_else(|| unknown_component(strategy, name))
}

async fn find(reading: &Reading, backup: &str) -> Result<FoundBackup, Trouble> {
    let wanted = Wanted {
        backup: Some(backup),
        ..Wanted::default()
    };
    reading.find(&wanted).await
}

/// Lists what is in a backup, below a path: one line for each entry, directories before what is in them.
pub async fn ls(
    file: &str,
    backup: &str,
    path: Option<&str>,
    as_json: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let found = find(&reading, backup).await?;
    let reader = found.reader().await?;
    let path = clean(path.unwrap_or(""));
    let start = start(&reader, &found, &path).await?;
    let mut out = Out::new();
    let mut long = None;
    if as_json {
        let members = members([("backup", json!(found.backup.manifest.id))]);
        let (begun, text) = Long::begin::<Entries>(&members, "entries");
        out.text(&text)?;
        long = Some(begun);
    }
    let mut left = vec![(path, start)];
    while let Some((path, node)) = left.pop() {
        if let NodeKind::Directory { tree: Some(tree) } = &node.kind {
            let entries = reader.entries(tree).await.map_err(|e| damaged(&e))?;
            for entry in entries.into_iter().rev() {
                let below = join(&path, &entry.name);
                left.push((below, entry));
            }
        }
        match &mut long {
            _ if path.is_empty() => {}
            Some(long) => out.text(&long.item(&Entry::new(&path, &node)))?,
            None => out.line(&contents::entry(&path, &node))?,
        }
    }
    if let Some(long) = long {
        out.text(&long.end(&Map::new()))?;
    }
    out.finish()?;
    Ok(Exit::Ok)
}

/// The node at `path`; the root when that is empty.
async fn start(reader: &Reader, found: &FoundBackup, path: &[u8]) -> Result<Node, Trouble> {
    let root = found.backup.manifest.root;
    if path.is_empty() {
        return Ok(found.backup.manifest.root_node());
    }
    let node = reader.lookup(&root, path).await.map_err(|e| damaged(&e))?;
    node.ok_or_else(|| {
        let id = found.backup.manifest.id.short();
        let words = format!(
            "backup {id} has no `{}`; `ccb ls` shows what it has",
            printable(path)
        );
        Trouble::new(Exit::Absent, words)
    })
}

/// Writes one file to standard output; without a path the one that the backup is about: a database's dump, or
/// the only one there is.
pub async fn cat(
    file: &str,
    backup: &str,
    path: Option<&str>,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let wanted = Wanted {
        backup: Some(backup),
        method: dumps_of(&reading, backup).filter(|_| path.is_none()),
        ..Wanted::default()
    };
    let found = reading.find(&wanted).await?;
    let reader = found.reader().await?;
    let node = match path.map(clean).filter(|path| !path.is_empty()) {
        Some(path) => start(&reader, &found, &path).await?,
        None => main_file(&reader, &found).await?,
    };
    let NodeKind::File { content, .. } = &node.kind else {
        return Err(Trouble::new(
            Exit::Error,
            format!("`{}` is no regular file", printable(&node.name)),
        ));
    };
    let mut bytes = reader.content(content);
    while let Some(part) = bytes.next().await.map_err(|e| damaged(&e))? {
        output::print_bytes(&part)?;
    }
    Ok(Exit::Ok)
}

/// Dumps, where `backup` is the name of a database, of which there are backups of other methods too.
pub(crate) fn dumps_of(reading: &Reading, backup: &str) -> Option<Method> {
    let name = backup.split('~').next().unwrap_or(backup);
    let mut components = reading.strategy.components.iter();
    let component = components.find(|component| component.name.as_str() == name)?;
    matches!(component.source, SourceSpec::Postgres(_)).then_some(Method::Dump)
}

/// The file that a backup is about: a database's dump, or the only one there is.
async fn main_file(reader: &Reader, found: &FoundBackup) -> Result<Node, Trouble> {
    let manifest = &found.backup.manifest;
    if let Some(facts) = DumpFacts::of(manifest) {
        return start(reader, found, facts.file.as_bytes()).await;
    }
    let entries = reader.entries(&manifest.root).await;
    let mut entries = entries.map_err(|e| damaged(&e))?;
    match (entries.pop(), entries.is_empty()) {
        (Some(only), true) if matches!(only.kind, NodeKind::File { .. }) => Ok(only),
        _ => {
            let words = format!(
                "backup {} holds more than one file: say which, `ccb ls` shows them",
                manifest.id.short()
            );
            Err(Trouble::new(Exit::Error, words))
        }
    }
}

/// Puts a hold on a backup, or ends it, at every destination that has it.
pub async fn hold(
    file: &str,
    backup: &str,
    reason: &str,
    hold: bool,
    context: &Context,
) -> Result<Exit, Trouble> {
    let reading = Reading::open(file, context).await?;
    let id = find(&reading, backup).await?.backup.manifest.id;
    let (by, reason) = (world::user(), reason.to_owned());
    let annotation = Annotation {
        v: Version,
        backup: id,
        at: world::now(),
        note: match hold {
            true => Note::Hold { by, reason },
            false => Note::Release { by, reason },
        },
    };
    let mut at = Vec::new();
    for (destination, repository, holdings) in reading.holdings(None).await? {
        if holdings
            .backups
            .iter()
            .any(|backup| backup.manifest.id == id)
        {
            let noted = repository.annotate(&annotation).await;
            noted.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
            at.push(destination.to_string());
        }
    }
    let verb = if hold { "Held" } else { "Released" };
    output::print(&format!("{verb} {} at {}.", id.short(), at.join(", ")))?;
    Ok(Exit::Ok)
}

fn damaged(error: &dyn std::error::Error) -> Trouble {
    Trouble::from_error(Exit::Damaged, error)
}

/// A path as people type it: without `./` before and `/` after.
pub(crate) fn clean(path: &str) -> Vec<u8> {
    let path = path.trim_start_matches("./").trim_matches('/');
    path.as_bytes().to_vec()
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path.is_empty() {
        true => name.to_vec(),
        false => [path, b"/", name].concat(),
    }
}
