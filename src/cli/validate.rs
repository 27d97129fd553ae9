//! `ccb validate`: checks plan files by their text alone.

use crate::cli::args::Format;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::{Context, around, input, output, world};
use crate::model::strategy::Strategy;
use crate::model::units::AsOf;
use crate::plan::Finding;
use crate::plan::check::check_strategy;
use crate::plan_file::{Problem, UnsetEnv};
use crate::render::github::{self, Annotation, AnnotationLevel};
use crate::render::{sarif, text};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Checks each file; the code is the gravest of all.
pub fn run(files: &[String], format: Format, context: &Context) -> Result<Exit, Trouble> {
    let mut exit = Exit::Ok;
    for file in files {
        exit = exit.and(one(file, format, context)?);
    }
    Ok(exit)
}

fn one(path: &str, format: Format, context: &Context) -> Result<Exit, Trouble> {
    let text = input::read_text(path).map_err(|e| input::read_failed(path, &e))?;
    let variables = &context.global.variables;
    let parsed = match input::parse(path, &text, variables, UnsetEnv::Warn)? {
        Ok(parsed) => parsed,
        Err(error) => {
            show_problems(&error.problems, format, context)?;
            output::say(&format!("Error: {path}: {error}"));
            return Ok(Exit::Error);
        }
    };
    let strategy = &parsed.strategy;
    let findings = check_strategy(strategy, &around::look(strategy), AsOf(world::now()));
    match format {
        Format::Github => {
            show_problems(&parsed.warnings, format, context)?;
            let found: Vec<_> = findings
                .iter()
                .map(|finding| github::annotation(finding, strategy))
                .collect();
            output::print(&github::annotations(&found))?;
        }
        Format::Sarif => output::print(&sarif::findings(&findings, strategy, VERSION))?,
        Format::Json => {
            let text = serde_json::to_string_pretty(&findings);
            output::print(&text.map_err(|e| Trouble::from_error(Exit::Error, &e))?)?;
        }
        Format::Human | Format::Markdown => {
            show_problems(&parsed.warnings, format, context)?;
            for finding in &findings {
                output::print(&text::finding(finding, strategy, &context.look()))?;
            }
            output::print(&verdict(path, strategy, &findings))?;
        }
    }
    match findings.iter().any(Finding::blocks) {
        true => Ok(Exit::Violation),
        false => Ok(Exit::Ok),
    }
}

fn verdict(path: &str, strategy: &Strategy, findings: &[Finding]) -> String {
    let blocking = findings.iter().filter(|finding| finding.blocks()).count();
    let (components, destinations) = (strategy.components.len(), strategy.destinations.len());
    match blocking {
        0 => format!("{path} is valid: {components} components, {destinations} destinations."),
        1 => format!("{path} violates 1 rule."),
        n => format!("{path} violates {n} rules."),
    }
}

fn show_problems(problems: &[Problem], format: Format, context: &Context) -> Result<(), Trouble> {
    let terminal = &context.terminal;
    if problems.is_empty() {
        return Ok(());
    }
    if format != Format::Github {
        output::say(&input::problems(problems, terminal));
        return Ok(());
    }
    let annotations: Vec<_> = problems.iter().map(annotation).collect();
    output::print(&github::annotations(&annotations))
}

fn annotation(problem: &Problem) -> Annotation {
    let position = problem.position();
    let is_error = problem.severity == miette::Severity::Error;
    Annotation {
        level: match is_error {
            true => AnnotationLevel::Error,
            false => AnnotationLevel::Warning,
        },
        path: position.as_ref().map(|at| at.path.clone()),
        line: position.as_ref().map_or(1, |at| at.line),
        column: position.as_ref().map_or(1, |at| at.column),
        title: problem.code.to_owned(),
        message: match &problem.help {
            Some(help) => format!("{}\n{help}", problem.message),
            None => problem.message.clone(),
        },
    }
}
