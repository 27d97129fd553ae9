//! Reads plan files: KDL text in, a checked [`Strategy`] out, or every problem at once. Pure: the caller
//! passes texts in, answers for includes and environment, and shows what comes back. Nothing here opens
//! a file, runs a command or reads a secret.

mod check;
mod decode;
pub mod diagnostic;
mod format;
mod interpolate;
mod lexer;
mod literal;
mod load;
mod merge;
mod nodes;
mod resolved;
pub mod schema;
mod suggest;
mod syntax;
pub mod table;
mod values;
mod var_file;

pub use crate::plan_file::diagnostic::{PlanFileError, Problem};
pub use crate::plan_file::format::{format, format_diff};
pub use crate::plan_file::resolved::resolved;
pub use crate::plan_file::var_file::var_file;

use crate::model::ids::Address;
use crate::model::strategy::{Place, SourceFile, Strategy};
use crate::plan_file::diagnostic::warnings;
use crate::plan_file::interpolate::Uses;
use crate::plan_file::literal::Data;
use crate::plan_file::syntax::Element;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

/// A plan file to read, and all that reading it may ask for.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// Path of the root file: for messages, and to find what it includes.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Reads an included file; its path is relative to where `path` is relative to.
    pub read: &'a dyn Fn(&str) -> io::Result<String>,
    /// Looks an environment variable up.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Values of variables, from `--var` and `--var-file`.
    pub vars: &'a BTreeMap<String, String>,
    /// What an unset `${env.NAME}` without a default is.
    pub unset_env: UnsetEnv,
}

/// What an unset `${env.NAME}` without a default is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsetEnv {
    /// An error: what is planned must be what will be done.
    Refuse,
    /// A warning, and the value stays unknown: for checks on machines without the real environment.
    Warn,
}

/// A plan file that is right.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// What is asked for.
    pub strategy: Strategy,
    /// What may not be meant, sorted by place.
    pub warnings: Vec<Problem>,
}

/// Reads a plan file and everything it includes.
pub fn parse(request: &Request<'_>) -> Result<Parsed, PlanFileError> {
    let mut problems = Vec::new();
    let merged = merged(request, &mut problems)?;
    let mut strategy = decode::strategy(&merged.elements, &mut problems);
    if !problems.is_empty() {
        problems.extend(merged.uses.warnings);
        return Err(PlanFileError::new(problems, &merged.files, &merged.secrets));
    }
    let mut unsure = merged.uses.warnings;
    unsure.extend(unset_secrets(&strategy, &merged.elements, request));
    strategy.variables = merged
        .variables
        .iter()
        .map(|(name, data)| (name.clone(), shown(data)))
        .collect();
    strategy
        .env_names
        .extend(merged.uses.env.iter().map(|used| used.name.clone()));
    strategy.env_names.sort();
    strategy.env_names.dedup();
    strategy.env_in_values = merged.uses.env;
    strategy.unused = merged.unused;
    let warnings = warnings(unsure, &merged.files);
    strategy.files = merged.files;
    Ok(Parsed { strategy, warnings })
}

/// All files of a plan, read, interpolated, checked against the node table, and with templates put in.
struct Merged {
    files: Vec<SourceFile>,
    elements: Vec<Element>,
    variables: BTreeMap<String, Data>,
    uses: Uses,
    unused: Vec<Address>,
    secrets: Vec<Place>,
}

/// Mistakes after which nobody knows what belongs to what, or what else there is: with one of them,
/// complaints about the meaning would be noise.
const STRUCTURE: [&str; 9] = [
    "ccb::kdl::too_large",
    "ccb::kdl::too_deep",
    "ccb::kdl::unclosed_block",
    "ccb::kdl::unopened_block",
    "ccb::kdl::unclosed_comment",
    "ccb::kdl::unclosed_string",
    "ccb::kdl::unexpected",
    "ccb::config::include",
    "ccb::config::include_cycle",
];

fn merged(request: &Request<'_>, problems: &mut Vec<Problem>) -> Result<Merged, PlanFileError> {
    let loaded = load::load(request.path, request.text, request.read, problems);
    if problems.iter().any(|p| STRUCTURE.contains(&p.code)) {
        let mut secrets = Vec::new();
        check::shape(
            "file",
            None,
            &loaded.elements,
            &mut Vec::new(),
            &mut secrets,
        );
        let problems = std::mem::take(problems);
        return Err(PlanFileError::new(problems, &loaded.files, &secrets));
    }
    let mut elements = loaded.elements;
    let mut uses = Uses::default();
    let variables = interpolate::variables(&mut elements, request, &mut uses, problems);
    for element in elements.iter_mut().filter(|e| e.name != "variable") {
        interpolate::resolve(element, &variables, request, &mut uses, problems);
    }
    let mut secrets = Vec::new();
    check::shape("file", None, &elements, problems, &mut secrets);
    merge::unique_names(&elements, problems);
    let (elements, used_templates) = merge::extend(elements, problems);
    let root = Place {
        file: 0,
        start: 0,
        len: 0,
    };
    check::absent("file", None, &elements, root, problems);
    for element in elements.iter().filter(|e| e.name != "template") {
        check::missing("file", element, problems);
    }
    let unused = unused(&elements, &used_templates, &uses.variables);
    Ok(Merged {
        files: loaded.files,
        elements,
        variables,
        uses,
        unused,
        secrets,
    })
}

fn unused(
    elements: &[Element],
    templates: &BTreeSet<String>,
    variables: &BTreeSet<String>,
) -> Vec<Address> {
    elements
        .iter()
        .filter_map(|element| {
            let name = element.first()?;
            let used = match element.name.as_str() {
                "template" => templates.contains(name),
                "variable" => variables.contains(name),
                _ => true,
            };
            (!used).then(|| Address(format!("{}.{name}", element.name)))
        })
        .collect()
}

/// Secrets in the environment that are referred to and not set.
fn unset_secrets(strategy: &Strategy, elements: &[Element], request: &Request<'_>) -> Vec<Problem> {
    let unset = |name: &&String| (request.env)(name).is_none();
    let mut warnings = Vec::new();
    for name in strategy.env_names.iter().filter(unset) {
        let mut places = Vec::new();
        elements
            .iter()
            .filter(|element| element.name != "template")
            .for_each(|element| secret_places(element, name, &mut places));
        let mut places = places.into_iter();
        let Some(first) = places.next() else { continue };
        let message = format!("the secret `{name}` is not set");
        let warning = Problem::warning(
            "ccb::config::secret_unset",
            message,
            first,
            "needed by `ccb apply`",
        );
        warnings.push(warning.help(format!("export {name} before `ccb apply`")));
    }
    warnings
}

fn secret_places(element: &Element, name: &str, places: &mut Vec<Place>) {
    if let Some(env) = element.prop("env")
        && env.value.data.as_str() == Some(name)
    {
        places.push(env.value.place);
    }
    for child in &element.children {
        secret_places(child, name, places);
    }
}

fn shown(data: &Data) -> String {
    match data {
        Data::Text(text) => text.clone(),
        other => other.to_kdl().trim_start_matches('#').to_owned(),
    }
}
