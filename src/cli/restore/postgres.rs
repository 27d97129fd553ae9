//! `ccb restore` of a PostgreSQL dump: into a database, or as the file that it is.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::FoundBackup;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, approve, output};
use crate::model::postgres::DumpFacts;
use crate::model::strategy::PostgresSource;
use crate::model::units::{Size, counted, to_minute};
use crate::restore::postgres::{Report, Request, Selection, Stored, address, feed, file, restore};
use crate::source::postgres::connection::Connection;
use std::path::Path;

/// What `--to` names, when it is no directory.
enum To<'a> {
    /// The source, or a database by URL or name.
    Database(Option<&'a str>),
    /// The dump itself.
    File(&'a Path),
}

/// Restores a dump. `None`: the target is a directory, which any backup can be written to.
pub async fn restore_postgres(
    source: &PostgresSource,
    found: &FoundBackup,
    arguments: &RestoreArguments,
    context: &Context,
) -> Result<Option<Exit>, Trouble> {
    let Some(to) = to(arguments) else {
        return Ok(None);
    };
    let manifest = &found.backup.manifest;
    let facts = DumpFacts::of(manifest).ok_or_else(|| {
        let words = format!(
            "backup {} does not say what its dump holds",
            manifest.id.short()
        );
        Trouble::new(Exit::Error, words)
    })?;
    let reader = found.reader().await?;
    let root = manifest.root_node();
    match to {
        To::File(path) => {
            let dump = file(&reader, &root, &facts.file).await;
            let dump = dump.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
            let dump = dump.ok_or_else(|| {
                Trouble::new(
                    Exit::Error,
                    format!("`{}` is not in the backup", facts.file),
                )
            })?;
            write(dump, path, arguments).await?;
        }
        To::Database(target) => {
            let request = request(source, facts, target, arguments)?;
            if target.is_none() && !arguments.dry_run && !arguments.auto_approve {
                let question = format!(
                    "Restore {} of {} into {}, where it was read from?",
                    manifest.id.short(),
                    to_minute(manifest.started),
                    request.target.title()
                );
                let how_else = "say where to with --to, or add --auto-approve";
                approve::ask(context.global.input, &question, how_else)?;
            }
            let report = restore(&reader, &root, request).await;
            let report = report.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
            tell(&report, arguments.dry_run, context)?;
        }
    }
    Ok(Some(Exit::Ok))
}

fn to(arguments: &RestoreArguments) -> Option<To<'_>> {
    let Some(path) = &arguments.to else {
        return Some(To::Database(None));
    };
    let text = path.to_str().unwrap_or("");
    let is_database = ["postgres://", "postgresql://", "database="];
    if is_database.iter().any(|start| text.starts_with(start)) {
        return Some(To::Database(Some(text)));
    }
    let is_file = path
        .extension()
        .is_some_and(|end| end == "dump" || end == "sql");
    (is_file && !path.is_dir()).then_some(To::File(path))
}

fn request(
    source: &PostgresSource,
    facts: DumpFacts,
    to: Option<&str>,
    arguments: &RestoreArguments,
) -> Result<Request, Trouble> {
    let password = source
        .password
        .as_ref()
        .map(|reference| world::secret(reference, Commands::Run));
    let password = password
        .transpose()
        .map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let source = Connection::new(source, password);
    let target = match to {
        Some(text) => {
            address::connection(text, &source).map_err(|e| Trouble::from_error(Exit::Error, &e))?
        }
        None => source,
    };
    // A path names a table, `SCHEMA.*` a schema.
    let (mut tables, mut schemas) = (arguments.table.clone(), arguments.schema.clone());
    for path in &arguments.paths {
        match path.strip_suffix(".*") {
            Some(schema) => schemas.push(schema.to_owned()),
            None => tables.push(path.clone()),
        }
    }
    let mark: [u8; 4] = world::random();
    Ok(Request {
        target,
        facts,
        selection: Selection { tables, schemas },
        overwrite: arguments.overwrite,
        roles: arguments.roles,
        no_owner: arguments.no_owner,
        jobs: arguments.jobs.into(),
        scratch: std::env::temp_dir(),
        mark: mark.iter().map(|byte| format!("{byte:02x}")).collect(),
        dry_run: arguments.dry_run,
    })
}

fn tell(report: &Report, dry_run: bool, context: &Context) -> Result<(), Trouble> {
    if dry_run {
        for note in &report.notes {
            output::print(&format!("Would {note}."))?;
        }
        return Ok(());
    }
    if !context.global.quiet {
        report
            .notes
            .iter()
            .for_each(|note| output::say(&format!("Note: {note}")));
    }
    output::print(&format!(
        "Restored {} of {} into {}.",
        counted(report.tables, "table", "tables"),
        counted(report.rows, "row", "rows"),
        report.database
    ))?;
    match &report.aside {
        Some(aside) => output::print(&format!(
            "What was there before is the database {aside}; drop it when it is not needed any more."
        )),
        None => Ok(()),
    }
}

/// Writes the dump as a file of its own, for its owner only.
async fn write(dump: Stored, path: &Path, arguments: &RestoreArguments) -> Result<(), Trouble> {
    if path.exists() && !arguments.overwrite {
        let words = format!(
            "`{}` is there already: add --overwrite to replace it",
            path.display()
        );
        return Err(Trouble::new(Exit::Error, words));
    }
    if arguments.dry_run {
        return output::print(&format!("Would write `{}`.", path.display()));
    }
    let len = Size(dump.len_bytes);
    // Beside its final name until it is whole.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let failed = |cause| Trouble::new(Exit::Error, format!("write `{}`: {cause}", path.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let half = feed::as_file(dump, folder).await;
    let half = half.map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let put = half.as_file().sync_all();
    let put = put.and_then(|()| half.persist(path).map(drop).map_err(|e| e.error));
    put.map_err(failed)?;
    output::print(&format!("Wrote {len} to `{}`.", path.display()))
}
