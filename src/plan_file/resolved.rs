//! `ccb show --resolved`: a plan as one KDL text without includes, templates and variables, each line
//! with the place that it came from. It reads back as the same plan.

use crate::model::strategy::{Place, SourceFile};
use crate::plan_file::diagnostic::PlanFileError;
use crate::plan_file::literal::quote;
use crate::plan_file::syntax::{Element, Origin, Value};
use crate::plan_file::table::{children, find};
use crate::plan_file::{Request, decode, merged};

/// Prints the resolved plan, or gives back why there is none.
pub fn resolved(request: &Request<'_>) -> Result<String, PlanFileError> {
    let mut problems = Vec::new();
    let merged = merged(request, &mut problems)?;
    decode::strategy(&merged.elements, &mut problems);
    if !problems.is_empty() {
        return Err(PlanFileError::new(problems, &merged.files, &merged.secrets));
    }
    let mut blocks = Vec::new();
    for element in &merged.elements {
        if !matches!(element.name.as_str(), "variable" | "template") {
            let mut lines = Vec::new();
            lines_of(element, "file", 0, &merged.files, &mut lines);
            blocks.push(lines);
        }
    }
    if !merged
        .elements
        .iter()
        .any(|element| element.name == "apply")
    {
        let mut lines = vec![("apply {".to_owned(), DEFAULT.to_owned())];
        defaults("apply", None, &[], 1, &mut lines);
        lines.push(("}".to_owned(), String::new()));
        blocks.push(lines);
    }
    let printed: Vec<String> = blocks.iter().map(|lines| aligned(lines)).collect();
    Ok(printed.join("\n"))
}

const DEFAULT: &str = "default";

/// Comments start in one column, but not behind the few longest lines.
const ALIGN_MAX: usize = 88;

fn aligned(lines: &[(String, String)]) -> String {
    let widths = lines.iter().map(|(text, _)| text.chars().count());
    let column = widths
        .filter(|width| *width <= ALIGN_MAX)
        .max()
        .unwrap_or(0);
    let mut out = String::new();
    for (text, origin) in lines {
        out.push_str(text);
        if !origin.is_empty() {
            let gap = column.saturating_sub(text.chars().count()) + 2;
            out.push_str(&" ".repeat(gap));
            out.push_str("// ");
            out.push_str(origin);
        }
        out.push('\n');
    }
    out
}

fn lines_of(
    element: &Element,
    parent: &str,
    depth: usize,
    files: &[SourceFile],
    lines: &mut Vec<(String, String)>,
) {
    let mut text = format!("{}{}", "    ".repeat(depth), element.name);
    for arg in &element.args {
        text.push(' ');
        text.push_str(&shown(arg));
    }
    // What was taken from the template is here already.
    for prop in element
        .props
        .iter()
        .filter(|p| (parent, p.name.as_str()) != ("file", "extends"))
    {
        text.push_str(&format!(" {}={}", prop.name, shown(&prop.value)));
    }
    let kind = element.kind(parent);
    let mut inner = Vec::new();
    for child in &element.children {
        lines_of(child, &element.name, depth + 1, files, &mut inner);
    }
    defaults(
        &element.name,
        kind,
        &element.children,
        depth + 1,
        &mut inner,
    );
    let origin = origin(element.head, files);
    if inner.is_empty() {
        lines.push((text, origin));
        return;
    }
    lines.push((text + " {", origin));
    lines.extend(inner);
    lines.push((format!("{}}}", "    ".repeat(depth)), String::new()));
}

/// Lines for the nodes of `parent` that are not written and mean something all the same.
fn defaults(
    parent: &str,
    kind: Option<&str>,
    written: &[Element],
    depth: usize,
    lines: &mut Vec<(String, String)>,
) {
    for node in children(parent).filter(|node| node.fits(kind)) {
        if let Some(default) = node.default
            && !written.iter().any(|element| element.name == node.name)
            && find(parent, node.name).is_some()
        {
            let text = format!("{}{} {default}", "    ".repeat(depth), node.name);
            lines.push((text, DEFAULT.to_owned()));
        }
    }
}

fn origin(place: Place, files: &[SourceFile]) -> String {
    let Some(file) = files.get(place.file) else {
        return String::new();
    };
    let before = file.text.get(..place.start).unwrap_or_default();
    format!("{}:{}", file.path, before.matches('\n').count() + 1)
}

/// Names that say what they hold; CCB104 denies them in values, and nothing prints them.
const SECRET_WORDS: [&str; 4] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN"];

fn shown(value: &Value) -> String {
    let hidden = match &value.origin {
        Some(Origin::Unset(_)) => true,
        Some(Origin::Env(name)) => {
            let name = name.to_uppercase();
            SECRET_WORDS.iter().any(|word| name.contains(word))
        }
        _ => false,
    };
    match &value.written {
        Some(written) if hidden => quote(written),
        _ => value.data.to_kdl().replace("${", "$${"),
    }
}
