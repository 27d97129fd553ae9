//! Puts variables and environment into values, once, before anything is decided. Names that are not
//! known are problems at the value that uses them.

use crate::model::strategy::{EnvUse, Place};
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::literal::Data;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::{Element, Origin, Value};
use crate::plan_file::table::Type;
use crate::plan_file::{Request, UnsetEnv, values};
use std::collections::{BTreeMap, BTreeSet};

/// What was found out on the way.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    pub(crate) variables: BTreeSet<String>,
    pub(crate) env: Vec<EnvUse>,
    pub(crate) warnings: Vec<Problem>,
}

/// The variables of `elements` with their values, from `--var`, `CCB_VAR_NAME` or their default.
pub(crate) fn variables(
    elements: &mut [Element],
    request: &Request<'_>,
    uses: &mut Uses,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, Data> {
    let mut found = BTreeMap::new();
    let none = BTreeMap::new();
    let declared = elements.iter_mut().filter(|e| e.name == "variable");
    for element in declared {
        for prop in &mut element.props {
            value(&mut prop.value, &none, request, uses, problems);
        }
        let Some(name) = element.first().map(str::to_owned) else {
            continue;
        };
        let data = variable(&name, element, request, problems);
        found.insert(name, data.unwrap_or(Data::Null));
    }
    for name in request
        .vars
        .keys()
        .filter(|name| !found.contains_key(*name))
    {
        let help = did_you_mean(name, found.keys().map(String::as_str), '`');
        let start = Place {
            file: 0,
            start: 0,
            len: 0,
        };
        problems.push(
            Problem::error(
                "ccb::config::unknown_variable",
                format!("`--var {name}=...` sets a variable that the plan file does not have"),
                start,
                "no `variable` of this name",
            )
            .help(help),
        );
    }
    found
}

fn variable(
    name: &str,
    element: &Element,
    request: &Request<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Data> {
    let ty = match element.prop("type").and_then(|p| p.value.data.as_str()) {
        Some("integer") => Type::Integer {
            min: i64::MIN,
            max: i64::MAX,
        },
        Some("boolean") => Type::Boolean,
        Some("duration") => Type::Duration,
        Some("size") => Type::Size,
        _ => Type::Any,
    };
    let env_name = format!("CCB_VAR_{}", name.to_uppercase().replace('-', "_"));
    let given = request.vars.get(name).cloned();
    if let Some(text) = given.or_else(|| (request.env)(&env_name)) {
        let place = element.head;
        // A value from outside is text: it may be a number or boolean in words.
        let outside = Value {
            data: Data::Text(text.clone()),
            place,
            origin: Some(Origin::Env(env_name)),
            written: None,
        };
        if values::check(ty, name, &outside).is_err() {
            problems.push(
                Problem::error(
                    "ccb::config::variable_value",
                    format!("the value that is set for `{name}` does not fit its type"),
                    place,
                    "the type is given here",
                )
                .help(format!(
                    "set it to {}",
                    values::example(ty).replace(['"', '#'], "")
                )),
            );
            return None;
        }
        return Some(match ty {
            Type::Integer { .. } => Data::Integer(text.parse().ok()?),
            Type::Boolean => Data::Bool(text == "true"),
            _ => Data::Text(text),
        });
    }
    let Some(default) = element.prop("default") else {
        problems.push(
            Problem::error(
                "ccb::config::variable_unset",
                format!("variable `{name}` has no value"),
                element.head,
                "it has no default",
            )
            .help(format!(
                "set it: --var {name}=..., or give it a default=\"...\""
            )),
        );
        return None;
    };
    if let Err(misfit) = values::check(ty, "default", &default.value) {
        problems.push(
            Problem::error(
                "ccb::config::bad_value",
                misfit.message,
                default.value.place,
                "the default",
            )
            .help(misfit.help),
        );
        return None;
    }
    if matches!(ty, Type::Any) && !matches!(default.value.data, Data::Text(_)) {
        let message = format!("`default` is a string, found {}", default.value.data.kind());
        problems.push(
            Problem::error(
                "ccb::config::bad_value",
                message,
                default.value.place,
                "the default",
            )
            .help("quote it, or say type=\"integer\" or type=\"boolean\""),
        );
        return None;
    }
    Some(default.value.data.clone())
}

/// Resolves every value below `element`.
pub(crate) fn resolve(
    element: &mut Element,
    variables: &BTreeMap<String, Data>,
    request: &Request<'_>,
    uses: &mut Uses,
    problems: &mut Vec<Problem>,
) {
    for arg in &mut element.args {
        value(arg, variables, request, uses, problems);
    }
    for prop in &mut element.props {
        value(&mut prop.value, variables, request, uses, problems);
    }
    for child in &mut element.children {
        resolve(child, variables, request, uses, problems);
    }
}

fn value(
    value: &mut Value,
    variables: &BTreeMap<String, Data>,
    request: &Request<'_>,
    uses: &mut Uses,
    problems: &mut Vec<Problem>,
) {
    let Data::Text(text) = &value.data else {
        return;
    };
    if !text.contains("${") {
        return;
    }
    value.written = Some(text.clone());
    let pieces = match pieces(text) {
        Ok(pieces) => pieces,
        Err(wrong) => {
            let message = format!("`{wrong}` is no reference");
            problems.push(
                Problem::error("ccb::config::reference", message, value.place, "in this value").help(
                    "write ${env.NAME}, ${env.NAME:-default} or ${var.name}, and $${ for a literal ${",
                ),
            );
            value.origin = Some(Origin::Unset(String::new()));
            return;
        }
    };
    let mut lookup = Lookup {
        place: value.place,
        variables,
        request,
        uses,
        problems,
    };
    let whole = pieces.len() == 1;
    let mut text = String::new();
    for piece in &pieces {
        let Piece::Reference(reference) = piece else {
            if let Piece::Text(part) = piece {
                text.push_str(part);
            }
            continue;
        };
        let (data, origin) = lookup.find(reference);
        let weaker = matches!(value.origin, None | Some(Origin::Variable(_)));
        if weaker || matches!(origin, Origin::Unset(_)) {
            value.origin = Some(origin);
        }
        match data {
            Data::Text(part) => text.push_str(&part),
            data if whole => {
                value.data = data;
                return;
            }
            Data::Null => {}
            data => text.push_str(data.to_kdl().trim_start_matches('#')),
        }
    }
    value.data = Data::Text(text);
}

struct Lookup<'a, 'r> {
    place: Place,
    variables: &'a BTreeMap<String, Data>,
    request: &'a Request<'r>,
    uses: &'a mut Uses,
    problems: &'a mut Vec<Problem>,
}

impl Lookup<'_, '_> {
    fn find(&mut self, reference: &Reference) -> (Data, Origin) {
        match reference {
            Reference::Variable(name) => self.variable(name),
            Reference::Env { name, default } => self.env(name, default.as_deref()),
        }
    }

    fn variable(&mut self, name: &str) -> (Data, Origin) {
        self.uses.variables.insert(name.to_owned());
        match self.variables.get(name) {
            // The variable itself has been complained about.
            Some(Data::Null) => (Data::Null, Origin::Unset(name.to_owned())),
            Some(data) => (data.clone(), Origin::Variable(name.to_owned())),
            None => {
                let help = did_you_mean(name, self.variables.keys().map(String::as_str), '`');
                let message = format!("no variable is named `{name}`");
                self.problems.push(
                    Problem::error(
                        "ccb::config::unknown_variable",
                        message,
                        self.place,
                        "used here",
                    )
                    .help(help),
                );
                (Data::Null, Origin::Unset(name.to_owned()))
            }
        }
    }

    fn env(&mut self, name: &str, default: Option<&str>) -> (Data, Origin) {
        self.uses.env.push(EnvUse {
            name: name.to_owned(),
            place: self.place,
        });
        let set = (self.request.env)(name).filter(|text| !text.is_empty() || default.is_none());
        if let Some(text) = set {
            return (Data::Text(text), Origin::Env(name.to_owned()));
        }
        if let Some(default) = default {
            return (Data::Text(default.to_owned()), Origin::Env(name.to_owned()));
        }
        let message = format!("the environment variable `{name}` is not set");
        let help = format!("set it, or give it a default: ${{env.{name}:-value}}");
        match self.request.unset_env {
            UnsetEnv::Refuse => self.problems.push(
                Problem::error("ccb::config::env_unset", message, self.place, "used here")
                    .help(help),
            ),
            UnsetEnv::Warn => self.uses.warnings.push(
                Problem::warning("ccb::config::env_unset", message, self.place, "used here")
                    .help(help),
            ),
        }
        let shown = Data::Text(format!("${{env.{name}}}"));
        (shown, Origin::Unset(name.to_owned()))
    }
}

enum Piece {
    Text(String),
    Reference(Reference),
}

enum Reference {
    Variable(String),
    Env {
        name: String,
        default: Option<String>,
    },
}

/// Text and references in turn; `Err` is the part that is neither.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            plain.push_str(&rest[..at - 1]);
            plain.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        plain.push_str(&rest[..at]);
        let end = rest[at..].find('}').map(|end| at + end + 1);
        let whole = &rest[at..end.unwrap_or(rest.len())];
        let inner = end.map(|end| &rest[at + 2..end - 1]).unwrap_or_default();
        let reference = reference(inner).ok_or_else(|| whole.to_owned())?;
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        pieces.push(Piece::Reference(reference));
        rest = &rest[at + whole.len()..];
    }
    plain.push_str(rest);
    if !plain.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

fn reference(inner: &str) -> Option<Reference> {
    let word = |text: &str, more: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
        (!text.is_empty() && text.chars().all(fits)).then(|| text.to_owned())
    };
    if let Some(name) = inner.strip_prefix("var.") {
        return word(name, "-_").map(Reference::Variable);
    }
    let (name, default) = match inner.strip_prefix("env.")?.split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inner.strip_prefix("env.")?, None),
    };
    word(name, "_").map(|name| Reference::Env { name, default })
}
