//! `ccb plan` and `ccb show`: what would be done, and why. Reads plan file and destinations, writes
//! nothing but the files that are asked for; runs no command, unless the databases themselves are to be looked at.

use crate::cli::args::{Format, PlanArguments, Selection};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::places::{self, Places};
use crate::cli::world::{self, Commands};
use crate::cli::{Context, around, buckets, input, output, refresh, sources};
use crate::model::ids::Address;
use crate::model::inventory::Inventory;
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::check::Surroundings;
use crate::plan::{self, Plan, saved};
use crate::plan_file::UnsetEnv;
use crate::render::output::FORMAT_VERSION;
use crate::{observe, plan_file, render};
use futures_util::future::join;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Reads, observes and plans, and writes the files that were asked for.
pub async fn planned(
    arguments: &PlanArguments,
    context: &Context,
) -> Result<(Plan, Strategy), Trouble> {
    let variables = &context.global.variables;
    let strategy = input::strategy(
        &arguments.file,
        variables,
        UnsetEnv::Warn,
        &context.terminal,
    )?;
    let mut around = around::look(&strategy);
    let inventory = match &arguments.inventory {
        Some(path) => read_inventory(path)?,
        None if arguments.refresh => {
            let commands = match arguments.sources {
                true => Commands::Run,
                false => Commands::Refuse,
            };
            let places = places::open_all(&strategy, commands).await?;
            let inventory = observe_all(&strategy, &places).await;
            if arguments.sources {
                around.live = sources::look(&strategy, &inventory, &places).await;
            }
            inventory
        }
        None => refresh::last_seen(&arguments.file, &strategy)?,
    };
    if let Some(path) = &arguments.inventory_out {
        write_file(path, &render::output::json(&inventory))?;
    }
    let at = AsOf(arguments.at.unwrap_or_else(world::now));
    let base = base(arguments.base.as_deref(), &inventory, context)?;
    let request = request(&arguments.selection);
    let is_seen = arguments.inventory.is_none() && arguments.refresh;
    // Of thousands of backups, remembering takes as long as planning.
    let plan = std::thread::scope(|scope| {
        if is_seen {
            scope.spawn(|| refresh::keep(&arguments.file, &strategy, &inventory));
        }
        make(&strategy, base.as_ref(), &inventory, &around, at, &request)
    })?;
    if let Some(path) = &arguments.out {
        write_file(path, &saved::to_json(&plan))?;
    }
    Ok((plan, strategy))
}

/// Plans.
pub async fn run(arguments: &PlanArguments, context: &Context) -> Result<Exit, Trouble> {
    if arguments.refresh_only {
        return refresh::only(arguments, context).await;
    }
    let (plan, strategy) = planned(arguments, context).await?;
    let format = if arguments.json {
        Format::Json
    } else {
        arguments.format
    };
    let text = match format {
        Format::Human => render::text::plan(&plan, &strategy, &context.look()),
        Format::Json => saved::to_json(&plan),
        Format::Markdown => render::markdown::plan(&plan, &strategy, arguments.max_chars),
        Format::Github => render::github::plan(&plan, &strategy),
        Format::Sarif => {
            render::sarif::findings(&plan.findings, &strategy, env!("CARGO_PKG_VERSION"))
        }
    };
    output::print(&text)?;
    Ok(exit_of(&plan, arguments.detailed_exitcode))
}

fn exit_of(plan: &Plan, detailed: bool) -> Exit {
    if plan.violations() > 0 {
        Exit::Violation
    } else if detailed && !plan.is_empty() {
        Exit::Difference
    } else {
        Exit::Ok
    }
}

/// Shows a saved plan, with the places of its plan file where that can be read.
pub fn show(file: &str, json: bool, resolved: bool, context: &Context) -> Result<Exit, Trouble> {
    let text = input::read_text(file).map_err(|e| input::read_failed(file, &e))?;
    let variables = &context.global.variables;
    if !text.trim_start().starts_with('{') {
        let vars = variables.values()?;
        let resolved = plan_file::resolved(&plan_file::Request {
            path: file,
            text: &text,
            read: &|path| input::read_text(path),
            env: &world::variable,
            vars: &vars,
            unset_env: UnsetEnv::Warn,
        });
        let resolved = resolved.map_err(|e| input::show_error(file, &e, &context.terminal))?;
        output::print(&resolved)?;
        return Ok(Exit::Ok);
    }
    if resolved {
        let words = format!("`{file}` is a saved plan; --resolved prints a plan file");
        return Err(Trouble::new(Exit::Error, words));
    }
    let plan = saved::from_json(&text).map_err(|e| Trouble::from_error(Exit::Error, &e))?;
    let strategy = input::strategy(&plan.file, variables, UnsetEnv::Warn, &context.terminal)?;
    match json {
        true => output::print(&saved::to_json(&plan))?,
        false => output::print(&render::text::plan(&plan, &strategy, &context.look()))?,
    }
    Ok(exit_of(&plan, false))
}

/// Plans, with everything that the policies say about it.
pub fn make(
    strategy: &Strategy,
    base: Option<&Strategy>,
    inventory: &Inventory,
    around: &Surroundings,
    at: AsOf,
    request: &plan::Request,
) -> Result<Plan, Trouble> {
    let made = plan::plan_with_checks(strategy, base, inventory, around, at, request);
    made.map_err(|e| Trouble::from_error(Exit::Error, &e))
}

/// What was asked for by flags.
pub fn request(selection: &Selection) -> plan::Request {
    let addresses = |texts: &[String]| texts.iter().cloned().map(Address).collect();
    plan::Request {
        target: addresses(&selection.target),
        exclude: addresses(&selection.exclude),
        ..plan::Request::default()
    }
}

/// What the destinations hold.
pub async fn observe(places: &Places) -> Inventory {
    let opened = places
        .iter()
        .map(|(name, place)| (name.clone(), place.opened.clone()));
    observe::inventory(&opened.collect()).await
}

/// What the destinations hold, and how the buckets are set that are protected and stored in.
pub async fn observe_all(strategy: &Strategy, places: &Places) -> Inventory {
    let (inventory, (sources, destination_buckets)) =
        join(observe(places), buckets::look(strategy)).await;
    Inventory {
        sources,
        destination_buckets,
        ..inventory
    }
}

/// The plan file to compare with: the one that is named, else the one that was applied last.
pub fn base(
    path: Option<&str>,
    inventory: &Inventory,
    context: &Context,
) -> Result<Option<Strategy>, Trouble> {
    let variables = &context.global.variables;
    if let Some(path) = path {
        let strategy = input::strategy(path, variables, UnsetEnv::Warn, &context.terminal)?;
        return Ok(Some(strategy));
    }
    let runs = inventory
        .destinations
        .values()
        .flat_map(|holding| &holding.runs);
    let Some(last) = runs.max_by_key(|run| run.finished) else {
        return Ok(None);
    };
    let Some(root) = last.files.first() else {
        return Ok(None);
    };
    let included = |path: &str| {
        let found = last.files.iter().find(|file| file.path == path);
        found
            .map(|file| file.text.clone())
            .ok_or_else(|| std::io::Error::other("it was not part of the last run"))
    };
    let vars = variables.values()?;
    let parsed = plan_file::parse(&plan_file::Request {
        path: &root.path,
        text: &root.text,
        read: &included,
        env: &world::variable,
        vars: &vars,
        unset_env: UnsetEnv::Warn,
    });
    // What was applied once and is no plan file for this version of ccb is no base either.
    Ok(parsed.ok().map(|parsed| parsed.strategy))
}

fn read_inventory(path: &Path) -> Result<Inventory, Trouble> {
    let words = |why: String| format!("read the inventory `{}`: {why}", path.display());
    let wrong = |why: String| Trouble::new(Exit::Error, words(why));
    let text = fs::read(path).map_err(|e| Trouble::new(Exit::Absent, words(e.to_string())))?;
    let document: Value = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
    let member = |name: &str| document.get(name).and_then(Value::as_str);
    let (kind, version) = (member("kind"), member("format_version"));
    if let Some(kind) = kind.filter(|kind| *kind != "inventory") {
        return Err(wrong(format!("it is a `{kind}`, not an inventory")));
    }
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if let Some(version) = version.filter(|v| major(v) != major(FORMAT_VERSION)) {
        let words = format!("it has format {version}, this ccb reads {FORMAT_VERSION}");
        return Err(wrong(words));
    }
    serde_json::from_value(document).map_err(|e| wrong(e.to_string()))
}

fn write_file(path: &Path, text: &str) -> Result<(), Trouble> {
    let words = |e: std::io::Error| format!("write `{}`: {e}", path.display());
    fs::write(path, text).map_err(|e| Trouble::new(Exit::Error, words(e)))
}
