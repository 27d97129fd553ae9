//! What was seen at the destinations the last time, on this machine: to plan on without looking
//! (`--refresh=false`), and to tell what became different since (`--refresh-only`).

use crate::cli::args::{Format, PlanArguments};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::world::{self, Commands};
use crate::cli::{Context, input, output, places, plan, state};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::plan::refresh::differences;
use crate::plan_file::UnsetEnv;
use crate::render::listing::refresh;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was seen, and when.
#[derive(Serialize, Deserialize)]
struct Seen<I> {
    at: Timestamp,
    inventory: I,
}

/// Remembers what was seen. That it can not be is nothing that a run should fail for.
pub fn keep(file: &str, strategy: &Strategy, inventory: &Inventory) {
    let Some(path) = path(file, strategy) else {
        return;
    };
    let seen = Seen {
        at: world::now(),
        inventory,
    };
    if let Err(error) = write(&path, &seen) {
        output::detail(&format!(
            "What was seen is not remembered in `{}`: {error}",
            path.display()
        ));
    }
}

/// The inventory as it was seen the last time.
pub fn last_seen(file: &str, strategy: &Strategy) -> Result<Inventory, Trouble> {
    let seen = read(file, strategy);
    let seen = seen.map(|seen| {
        output::note(&format!(
            "Planned on what was seen at {}, without looking (--refresh=false).",
            seen.at.strftime("%Y-%m-%dT%H:%MZ")
        ));
        seen.inventory
    });
    seen.ok_or_else(|| {
        let words = "the destinations were never looked at from this machine; plan without --refresh=false first";
        Trouble::new(Exit::Absent, words)
    })
}

/// Looks, and shows what became different.
pub async fn only(arguments: &PlanArguments, context: &Context) -> Result<Exit, Trouble> {
    let (file, variables) = (&arguments.file, &context.global.variables);
    let strategy = input::strategy(file, variables, UnsetEnv::Warn, &context.terminal)?;
    let before = read(file, &strategy);
    let places = places::open_all(&strategy, Commands::Refuse).await?;
    let now = plan::observe(&places).await;
    keep(file, &strategy, &now);
    let Some(before) = before else {
        output::print(
            "The destinations were never looked at from this machine: there is nothing to compare with. What is there now is remembered.",
        )?;
        return Ok(Exit::Ok);
    };
    let all = differences(&before.inventory, &now);
    match arguments.json || arguments.format == Format::Json {
        true => {
            let text = serde_json::to_string_pretty(&all);
            output::print(&text.map_err(|e| Trouble::from_error(Exit::Error, &e))?)?;
        }
        false => output::print(&refresh::refresh(before.at, &all, &context.look()))?,
    }
    Ok(match arguments.detailed_exitcode && !all.is_empty() {
        true => Exit::Difference,
        false => Exit::Ok,
    })
}

fn path(file: &str, strategy: &Strategy) -> Option<PathBuf> {
    let path = state::of_plan("seen", file, strategy)?;
    Some(path.with_added_extension("json"))
}

/// What can not be read was never seen.
fn read(file: &str, strategy: &Strategy) -> Option<Seen<Inventory>> {
    serde_json::from_slice(&fs::read(path(file, strategy)?).ok()?).ok()
}

fn write(path: &Path, seen: &Seen<&Inventory>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Readable for this user only, as a temporary file is.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(&serde_json::to_vec(seen)?)?;
    fresh.persist(path).map_err(|e| e.error)?;
    Ok(())
}
