//! `ccb export`: writes one backup as a file that restores without ccb. Says how that file is read.

use crate::cli::args::ExportArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::holdings::{FoundBackup, Reading, Wanted};
use crate::cli::read::dumps_of;
use crate::cli::world::{self, Commands};
use crate::cli::{Context, output};
use crate::export::openssl::Derivation;
use crate::export::{self, ExportError, Payload, Recipe, Seed};
use crate::model::secret::Secret;
use crate::model::strategy::{Export, ExportKind};
use crate::model::units::{Size, to_minute};
use std::num::NonZeroU32;
use std::path::Path;

/// Rounds of PBKDF2 where no plan file says how many.
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).expect("it is not zero");

/// Exports.
pub async fn run(arguments: &ExportArguments, context: &Context) -> Result<Exit, Trouble> {
    let to = &arguments.to;
    if to.symlink_metadata().is_ok() {
        let error = ExportError::Exists(to.clone());
        return Err(Trouble::from_error(Exit::Error, &error));
    }
    let reading = Reading::open(&arguments.file, context).await?;
    let wanted = Wanted {
        backup: Some(&arguments.backup),
        method: dumps_of(&reading, &arguments.backup),
        ..Wanted::default()
    };
    let found = reading.find(&wanted).await?;
    let manifest = &found.backup.manifest;
    let planned = planned(&reading, &found, arguments.form);
    let recipe = recipe(arguments, planned)?;
    let pinned = found.repository.pin(&[&found.backup]).await;
    let _pinned = pinned.map_err(|e| trouble(&ExportError::Read(e)))?;
    let reader = found.reader().await?;
    let payload = Payload::of(&reader, manifest, recipe.is_of_all()).await;
    let payload = payload.map_err(|e| trouble(&e))?;
    let is_archive = payload.is_archive();
    let how = how_to_read(&recipe, is_archive, to);
    let seed = Seed::random(world::random());
    let written = export::to_file(payload, recipe, seed, to.clone()).await;
    let len = written.map_err(|e| trouble(&e))?;
    output::print(&format!(
        "Exported {} of {} to `{}`, {}. It is read by\n  {how}",
        manifest.id.short(),
        to_minute(manifest.started),
        to.display(),
        Size(len)
    ))?;
    Ok(Exit::Ok)
}

/// The export of this kind that the plan file asks for.
fn planned<'a>(reading: &'a Reading, found: &FoundBackup, kind: ExportKind) -> Option<&'a Export> {
    let component = reading
        .strategy
        .component(&found.backup.manifest.component)?;
    component.exports.iter().find(|export| export.kind == kind)
}

fn recipe(arguments: &ExportArguments, planned: Option<&Export>) -> Result<Recipe, Trouble> {
    let key = arguments.key.as_ref();
    let key = key.or_else(|| planned.and_then(|export| export.key.as_ref()));
    let secret = || -> Result<Secret, Trouble> {
        let key = key.ok_or_else(|| {
            let words = "say where the password is: --key env:NAME, file:PATH or command:COMMAND";
            Trouble::new(Exit::Key, words)
        })?;
        let read = world::secret(key, Commands::Run);
        read.map_err(|e| Trouble::new(Exit::Key, format!("read the password: {e}")))
    };
    Ok(match arguments.form {
        ExportKind::Plain => Recipe::Plain,
        ExportKind::Tar => Recipe::Tar,
        ExportKind::Gpg => Recipe::Gpg(secret()?),
        ExportKind::Openssl => {
            let strong = Derivation::Pbkdf2(ROUNDS);
            let asked = |export: &Export| Derivation::of(export.pbkdf2_iterations);
            Recipe::Openssl(secret()?, planned.map_or(strong, asked))
        }
    })
}

/// A command that reads it without ccb.
fn how_to_read(recipe: &Recipe, is_archive: bool, path: &Path) -> String {
    let path = format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let decrypt = match recipe {
        Recipe::Plain if is_archive => return format!("tar -xf {path}"),
        Recipe::Plain => return format!("cat {path}"),
        Recipe::Tar => return format!("tar -xzf {path}"),
        Recipe::Openssl(_, Derivation::Pbkdf2(rounds)) => {
            format!("openssl enc -d -aes-256-cbc -pbkdf2 -iter {rounds} -in {path}")
        }
        Recipe::Openssl(..) => format!("openssl enc -d -aes-256-cbc -in {path}"),
        Recipe::Gpg(_) => format!("gpg --decrypt {path}"),
    };
    match is_archive {
        true => format!("{decrypt} | tar -xz"),
        false => decrypt,
    }
}

fn trouble(error: &ExportError) -> Trouble {
    let exit = match error {
        ExportError::Read(error) if error.is_damage() => Exit::Damaged,
        ExportError::NoKey(_) => Exit::Key,
        _ => Exit::Error,
    };
    Trouble::from_error(exit, error)
}
