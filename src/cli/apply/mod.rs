//! `ccb apply` and `ccb backup`: observes, plans with the same pure function as `ccb plan`, asks, and
//! carries the plan out. A saved plan is consent: what it approved and is still needed is done.

mod approval;
mod notifying;
mod record;
mod run;
mod shows;

pub use record::step_record;

use crate::cli::args::{ApplyArguments, Locking};
use crate::cli::exit::{Exit, Trouble};
use crate::cli::{Context, input, plan as planning};
use crate::model::ids::{ComponentName, IdError, Tag};
use crate::model::strategy::Method;
use crate::plan::{self, Plan, saved};
use crate::plan_file::UnsetEnv;

/// What is to be carried out, and how.
struct Job {
    file: String,
    saved: Option<Plan>,
    request: plan::Request,
    auto_approve: bool,
    allow_forget: Option<u64>,
    /// Whether the databases are looked at first.
    sources: bool,
    parallelism: Option<u64>,
    locking: Locking,
    json: bool,
}

/// Applies a plan file or a saved plan.
pub async fn run(arguments: &ApplyArguments, context: &Context) -> Result<Exit, Trouble> {
    let text =
        input::read_text(&arguments.file).map_err(|e| input::read_failed(&arguments.file, &e))?;
    let saved = match text.trim_start().starts_with('{') {
        true => Some(saved::from_json(&text).map_err(|e| Trouble::from_error(Exit::Error, &e))?),
        false => None,
    };
    let file = match &saved {
        Some(plan) => plan.file.clone(),
        None => arguments.file.clone(),
    };
    let job = Job {
        file,
        saved,
        request: plan::Request {
            allow_forget: arguments.allow_forget,
            ..planning::request(&arguments.selection)
        },
        auto_approve: arguments.auto_approve,
        allow_forget: arguments.allow_forget,
        sources: arguments.sources,
        parallelism: arguments.parallelism,
        locking: arguments.locking,
        json: arguments.json,
    };
    run::run(&job, context).await
}

/// Makes one backup now: of a component, by a method, with a tag.
pub async fn backup(
    file: &str,
    (component, method, tag): (&str, Option<&str>, Option<&str>),
    locking: Locking,
    context: &Context,
) -> Result<Exit, Trouble> {
    let wrong = |e: IdError| Trouble::from_error(Exit::Error, &e);
    let component = ComponentName::new(component).map_err(wrong)?;
    let tag = tag.map(Tag::new).transpose().map_err(wrong)?;
    let method = method.map(|word| {
        let known = Method::ALL.into_iter().find(|m| m.as_str() == word);
        known.ok_or_else(|| Trouble::new(Exit::Error, format!("there is no method `{word}`")))
    });
    let variables = &context.global.variables;
    let strategy = input::strategy(file, variables, UnsetEnv::Refuse, &context.terminal)?;
    let known = strategy.component(&component).ok_or_else(|| {
        Trouble::new(
            Exit::Error,
            format!("there is no component `{component}` in {file}"),
        )
    })?;
    let mut methods = known.source.methods().iter();
    let default = methods.find(|method| **method != Method::Check);
    let method = match (method.transpose()?, default) {
        (Some(Method::Check), _) | (None, None) => {
            let words = format!(
                "`check` looks at what component.{component} is and makes no backup; ccb apply does it when it is due"
            );
            return Err(Trouble::new(Exit::Error, words));
        }
        (Some(method), _) | (None, Some(&method)) => method,
    };
    let wanted = plan::OnDemand {
        component,
        method,
        tag,
    };
    let job = Job {
        file: file.to_owned(),
        saved: None,
        request: plan::Request {
            backups: vec![wanted],
            ..plan::Request::default()
        },
        auto_approve: true,
        allow_forget: Some(0),
        sources: false,
        parallelism: None,
        locking,
        json: false,
    };
    run::run(&job, context).await
}
