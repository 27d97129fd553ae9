//! What was seen at the destinations the last time, on this machine: to plan on without looking
//! (`--refresh=false`), and to tell what became different since (`--refresh-only`).

use crate::cli::args::{Format, PlanArguments};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::world::{self, Commands};
use crate::cli::{Context, input, output, places, plan, state};
use crate::model::ids::{DestinationName, Digest};
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::plan::basis::seen_digest;
use crate::plan::refresh::differences;
use crate::plan_file::UnsetEnv;
use crate::render::listing::refresh;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What was seen, and when. Of thousands of backups it takes megabytes: where nothing became different, only the
/// [`Moment`] beside it is written anew.
#[derive(Serialize, Deserialize)]
struct Seen<I> {
    at: Timestamp,
    /// Fingerprint of the inventory.
    #[serde(default)]
    of: Option<Digest>,
    inventory: I,
}

/// When what is in the file beside was seen again.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Moment {
    at: Timestamp,
    /// The clocks of the stores then.
    server_times: BTreeMap<DestinationName, Timestamp>,
    /// Fingerprint of what was seen.
    of: Digest,
    /// How long the file is that tells it.
    len_bytes: u64,
}

/// Remembers what was seen. That it can not be is nothing that a run should fail for.
pub fn keep(file: &str, strategy: &Strategy, inventory: &Inventory) {
    let Some(path) = path(file, strategy) else {
        return;
    };
    if let Err(error) = write(&path, world::now(), inventory) {
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
    let path = path(file, strategy)?;
    let text = fs::read(&path).ok()?;
    let mut seen: Seen<Inventory> = serde_json::from_slice(&text).ok()?;
    let again = moment(&path);
    if let Some(again) = again.filter(|it| it.is_of(text.len() as u64, seen.of)) {
        seen.at = again.at;
        for (name, at) in again.server_times {
            let holding = seen.inventory.destinations.get_mut(&name);
            if let Some(facts) = holding.and_then(|it| it.repository.as_mut()) {
                facts.server_time = at;
            }
        }
    }
    Some(seen)
}

impl Moment {
    fn is_of(&self, len_bytes: u64, fingerprint: Option<Digest>) -> bool {
        (self.len_bytes, Some(self.of)) == (len_bytes, fingerprint)
    }
}

fn moment(beside: &Path) -> Option<Moment> {
    serde_json::from_slice(&fs::read(beside.with_extension("at.json")).ok()?).ok()
}

fn write(path: &Path, at: Timestamp, inventory: &Inventory) -> io::Result<()> {
    let of = seen_digest(inventory);
    let is_known = |len| moment(path).is_some_and(|it| it.is_of(len, Some(of)));
    let len_bytes = match fs::metadata(path) {
        // A file that was cut has another length.
        Ok(facts) if is_known(facts.len()) => facts.len(),
        _ => {
            let of = Some(of);
            replace(path, &Seen { at, of, inventory })?
        }
    };
    let times = inventory.destinations.iter();
    let times =
        times.filter_map(|(name, it)| Some((name.clone(), it.repository.as_ref()?.server_time)));
    let moment = Moment {
        at,
        server_times: times.collect(),
        of,
        len_bytes,
    };
    replace(&path.with_extension("at.json"), &moment).map(|_| ())
}

/// Puts a file in the place of another one. How long it is.
fn replace(path: &Path, what: &impl Serialize) -> io::Result<u64> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // Readable for this user only, as a temporary file is.
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, &mut fresh);
    serde_json::to_writer(&mut buffered, what)?;
    buffered.flush()?;
    drop(buffered);
    let len_bytes = fresh.as_file().metadata()?.len();
    fresh.persist(path).map_err(|e| e.error)?;
    Ok(len_bytes)
}
