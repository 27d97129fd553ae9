//! Files of variables for `--var-file`: KDL, one `name value` per line.

use crate::model::strategy::SourceFile;
use crate::plan_file::diagnostic::{PlanFileError, Problem};
use crate::plan_file::literal::Data;
use crate::plan_file::syntax;
use std::collections::BTreeMap;

/// The variables that `text` sets; `path` is for messages. Values are text: what type they must have
/// is said where the plan file declares them.
pub fn var_file(path: &str, text: &str) -> Result<BTreeMap<String, String>, PlanFileError> {
    let mut problems = Vec::new();
    let mut variables = BTreeMap::new();
    for element in syntax::read(0, text, &mut problems) {
        let alone = element.props.is_empty() && element.children.is_empty();
        let value = match (alone, element.args.as_slice()) {
            (true, [value]) => match &value.data {
                Data::Text(text) => Some(text.clone()),
                Data::Integer(number) => Some(number.to_string()),
                Data::Bool(value) => Some(value.to_string()),
                _ => None,
            },
            _ => None,
        };
        let Some(value) = value else {
            problems.push(
                Problem::error(
                    "ccb::config::var_file",
                    format!("`{}` does not set a variable", element.name),
                    element.head,
                    "not one name and one value",
                )
                .help(format!("write {} \"value\"", element.name)),
            );
            continue;
        };
        if variables.insert(element.name.clone(), value).is_some() {
            problems.push(
                Problem::error(
                    "ccb::config::var_file",
                    format!("`{}` is set twice", element.name),
                    element.head,
                    "set again here",
                )
                .help("remove one of them"),
            );
        }
    }
    if problems.is_empty() {
        return Ok(variables);
    }
    let file = SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    Err(PlanFileError::new(problems, &[file], &[]))
}

#[cfg(test)]
mod tests {
    use super::var_file;

    #[test]
    fn a_line_sets_a_variable() {
        let text = "// staging\ndatabase \"app\"\ncount 3\ncritical #true\n";
        let set = var_file("v.kdl", text).unwrap();
        let set: Vec<_> = set.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            set,
            [("count", "3"), ("critical", "true"), ("database", "app")]
        );
    }

    #[test]
    fn what_sets_nothing_or_twice_is_refused() {
        let error = var_file("v.kdl", "a\nb 1 2\nc \"1\"\nc \"2\"\nd x=1\n").unwrap_err();
        assert_eq!(error.problems.len(), 4);
    }
}
