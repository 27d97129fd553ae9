//! Exports: copies that restore without ccb, and the keys that their layouts name.

use crate::model::ids::DestinationName;
use crate::model::strategy::{Export, ExportKeep, ExportKind, SourceSpec};
use crate::plan_file::decode::fields::Fields;
use crate::plan_file::decode::{Decoder, secret};
use crate::plan_file::diagnostic::Problem;
use crate::plan_file::suggest::did_you_mean;
use crate::plan_file::syntax::Element;
use std::collections::BTreeMap;

impl Decoder<'_> {
    pub(crate) fn exports(&mut self, element: &Element, source: &SourceSpec) -> Vec<Export> {
        let mut seen = BTreeMap::new();
        let mut exports = Vec::new();
        for node in element.each("export") {
            let fields = Fields::of("component", node);
            let Some(kind) = fields.choice::<ExportKind>() else {
                continue;
            };
            let Some(to) = fields.prop::<DestinationName>("to") else {
                continue;
            };
            if let Some(property) = node.prop("to") {
                self.known_destination(to.as_str(), property.value.place);
            }
            if let Some(first) = seen.insert(
                (kind, to.clone(), fields.prop::<String>("method")),
                node.head,
            ) {
                self.problems.push(
                    Problem::error(
                        "ccb::config::duplicate_name",
                        format!("{} is exported to \"{to}\" twice", kind.as_str()),
                        node.head,
                        "again here",
                    )
                    .and(first, "first here")
                    .help("remove one of them, or export another method"),
                );
            }
            exports.push(self.export(node, &fields, kind, to, source));
        }
        exports
    }

    fn export(
        &mut self,
        node: &Element,
        fields: &Fields<'_>,
        kind: ExportKind,
        to: DestinationName,
        source: &SourceSpec,
    ) -> Export {
        let kdf = fields.child("kdf");
        let pbkdf2 = kdf
            .arg::<String>()
            .is_some_and(|kdf| kdf == "pbkdf2-sha256");
        self.export_cipher(&fields.child("cipher"), kind);
        if let Some(layout) = node.child("layout") {
            self.layout(layout);
        }
        Export {
            kind,
            to,
            method: self.method(node.prop("method"), source),
            layout: fields
                .child("layout")
                .arg()
                .unwrap_or_else(|| default_layout(kind).to_owned()),
            key: secret(&fields.child("key")),
            pbkdf2_iterations: if pbkdf2 { kdf.prop("iterations") } else { None },
            keep: node
                .each("keep")
                .filter_map(|keep| {
                    let keep = Fields::of("export", keep);
                    Some(ExportKeep {
                        tier: keep.prop_choice("tiers"),
                        count: keep.prop("count")?,
                    })
                })
                .collect(),
        }
    }

    fn export_cipher(&mut self, fields: &Fields<'_>, kind: ExportKind) {
        let fitting = match kind {
            ExportKind::Openssl => "aes-256-cbc",
            _ => "AES256",
        };
        if let (Some(element), Some(cipher)) = (fields.element, fields.arg::<String>())
            && cipher != fitting
        {
            self.wrong(
                "ccb::config::export_cipher",
                format!("{} does not write \"{cipher}\" here", kind.as_str()),
                element.args[0].place,
                "does not fit the export",
                format!("write cipher \"{fitting}\""),
            );
        }
    }

    fn layout(&mut self, element: &Element) {
        let Some(text) = element.first() else { return };
        if let Err((message, help)) = check_layout(text) {
            self.wrong(
                "ccb::config::layout",
                message,
                element.args[0].place,
                "this key",
                help,
            );
        }
    }
}

fn default_layout(kind: ExportKind) -> &'static str {
    match kind {
        ExportKind::Openssl => "{component}/{method}_{time:%Y-%m-%d_%H%M%S}.enc",
        ExportKind::Gpg => "{component}/{method}_{time:%Y-%m-%d_%H%M%S}.gpg",
        ExportKind::Tar => "{component}/{method}_{time:%Y-%m-%d_%H%M%S}.tar.gz",
        ExportKind::Plain => "{component}/{method}_{time:%Y-%m-%d_%H%M%S}",
    }
}

const LAYOUT_WORDS: [&str; 6] = ["component", "tier", "method", "database", "id", "time"];

/// Whether the placeholders of a layout are known; `Err` is what is wrong, and the help.
fn check_layout(text: &str) -> Result<(), (String, String)> {
    let known = "{component} {tier} {method} {database} {id} {time:%Y-%m-%d}";
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let inner = rest[at..]
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('}'));
        let Some((word, after)) = inner else {
            return Err((
                "a brace of the layout is not closed or not opened".to_owned(),
                format!("placeholders are {known}"),
            ));
        };
        let (name, format) = word.split_once(':').unwrap_or((word, ""));
        if !LAYOUT_WORDS.contains(&name) {
            return Err((
                format!("`{{{word}}}` is no placeholder"),
                did_you_mean(name, LAYOUT_WORDS, '`'),
            ));
        }
        let zoned = jiff::civil::date(2026, 1, 31)
            .at(2, 0, 0, 0)
            .to_zoned(jiff::tz::TimeZone::UTC);
        let valid = match name {
            "time" => {
                !format.is_empty()
                    && zoned.is_ok_and(|zoned| jiff::fmt::strtime::format(format, &zoned).is_ok())
            }
            _ => format.is_empty(),
        };
        if !valid {
            return Err((
                format!("`{{{word}}}` has no valid time format"),
                "write {time:%Y-%m-%d_%H%M%S}".to_owned(),
            ));
        }
        rest = after;
    }
    if Export::is_reserved(text) {
        return Err((
            "the layout begins where ccb keeps its repository".to_owned(),
            "begin it with another name, such as `exports-of/`".to_owned(),
        ));
    }
    if text.starts_with('/') || text.split('/').any(|part| part == "..") {
        return Err((
            "the layout leaves its destination".to_owned(),
            "write a relative key without `..`".to_owned(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_layout, default_layout};
    use crate::model::strategy::ExportKind;

    #[test]
    fn layouts_name_known_placeholders_and_stay_inside() {
        assert!(check_layout("{component}/{tier}/{time:%Y%m%d}.dump").is_ok());
        for kind in [
            ExportKind::Openssl,
            ExportKind::Gpg,
            ExportKind::Tar,
            ExportKind::Plain,
        ] {
            assert!(check_layout(default_layout(kind)).is_ok());
        }
        for wrong in [
            "{tmie:%Y}",
            "{time}",
            "{id:%Y}",
            "a{",
            "a}",
            "../x",
            "/x",
            "{time:%!}",
            "packs/{id}",
        ] {
            assert!(check_layout(wrong).is_err(), "{wrong}");
        }
    }
}
