//! Typed reading of one element's arguments and properties, with the defaults of the node table.

use crate::plan_file::syntax::{Element, Origin, Value};
use crate::plan_file::table::{Node, Type, find};
use crate::plan_file::values;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// An element, or its absence, with its row of the node table.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) element: Option<&'a Element>,
    node: Option<&'static Node>,
}

impl<'a> Fields<'a> {
    /// `element`, which stands in `parent`.
    pub(crate) fn of(parent: &str, element: &'a Element) -> Self {
        Self {
            element: Some(element),
            node: find(parent, &element.name),
        }
    }
    /// The first top-level element of that name, or its absence.
    pub(crate) fn top(elements: &'a [Element], name: &str) -> Self {
        Self {
            element: elements.iter().find(|element| element.name == name),
            node: find("file", name),
        }
    }
    /// The child of that name, or its absence.
    pub(crate) fn child(&self, name: &str) -> Self {
        Self {
            element: self.element.and_then(|element| element.child(name)),
            node: self.node.and_then(|node| find(node.name, name)),
        }
    }
    /// The first argument, or the node's default.
    pub(crate) fn arg<T: FromStr>(&self) -> Option<T> {
        let ty = self.node?.arg?.ty;
        match self.element {
            Some(element) => text(ty, element.args.first()?)?.parse().ok(),
            None => written(self.node?.default?).parse().ok(),
        }
    }
    /// Every argument.
    pub(crate) fn args(&self) -> Vec<String> {
        let values = self.element.map(|element| element.args.as_slice());
        values
            .unwrap_or_default()
            .iter()
            .filter_map(|value| text(Type::Text, value))
            .collect()
    }
    /// The property of that name, or its default. Absent when the whole node is.
    pub(crate) fn prop<T: FromStr>(&self, name: &str) -> Option<T> {
        let prop = self.node?.prop(name)?;
        match self.element?.prop(name) {
            Some(property) => text(prop.ty, &property.value)?.parse().ok(),
            None => written(prop.default?).parse().ok(),
        }
    }
    /// The first argument as one of the words of `T`.
    pub(crate) fn choice<T: DeserializeOwned>(&self) -> Option<T> {
        word(self.arg::<String>()?)
    }
    /// The property as one of the words of `T`.
    pub(crate) fn prop_choice<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        word(self.prop::<String>(name)?)
    }
}

/// A word of an enumeration, as the model spells it.
pub(crate) fn word<T: DeserializeOwned>(text: String) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

fn text(ty: Type, value: &Value) -> Option<String> {
    // Of a name that is not set nothing is known but how it was written; that is good enough for text.
    let known = !matches!(value.origin, Some(Origin::Unset(_)))
        || matches!(
            ty,
            Type::Text | Type::Path | Type::Any | Type::S3Url | Type::SftpUrl | Type::Url
        );
    values::as_text(ty, value).filter(|_| known)
}

/// A default of the table without its quotes or `#`.
fn written(default: &str) -> &str {
    default.trim_matches('"').trim_start_matches('#')
}
