//! Reads the documents that S3 servers answer with: a root, elements in it, and their fields. What is deeper, and
//! what nobody asks for, is passed over.

use crate::wire::Answer;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;

/// An element below the root.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    /// Its own text.
    pub(crate) text: String,
    fields: Vec<(String, String)>,
}

impl Element {
    /// The text of an element in it.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, text)| text.as_str())
    }
}

/// The text of an element of the document that is an answer's body.
pub fn text_of(answer: &Answer, name: &str) -> Option<String> {
    let all = elements(&answer.body).ok()?;
    let found = all.into_iter().find(|element| element.name == name);
    found.map(|element| element.text)
}

/// The elements below the root of a document.
pub(crate) fn elements(document: &[u8]) -> Result<Vec<Element>, String> {
    let text = str::from_utf8(document).map_err(|e| e.to_string())?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut all: Vec<Element> = Vec::new();
    let mut depth = 0;
    loop {
        let event = reader.read_event().map_err(|e| e.to_string())?;
        let text = match event {
            Event::Start(start) => {
                depth += 1;
                let name = start.local_name().as_ref().to_owned();
                match (depth, all.last_mut()) {
                    (2, _) => all.push(Element {
                        name,
                        ..Element::default()
                    }),
                    (3, Some(element)) => element.fields.push((name, String::new())),
                    _ => {}
                }
                continue;
            }
            Event::End(_) => {
                depth -= 1;
                continue;
            }
            Event::Eof if depth == 0 => return Ok(all),
            Event::Eof => return Err("the document ends in the middle".to_owned()),
            Event::Text(text) => text.to_string(),
            Event::CData(text) => text.to_string(),
            Event::GeneralRef(reference) => {
                match reference.resolve_char_ref().map_err(|e| e.to_string())? {
                    Some(character) => character.to_string(),
                    None => resolve_predefined_entity(&reference)
                        .ok_or_else(|| format!("it has an unknown `&{};`", &*reference))?
                        .to_owned(),
                }
            }
            _ => continue,
        };
        match (depth, all.last_mut()) {
            (2, Some(element)) => element.text.push_str(&text),
            (3, Some(element)) => {
                if let Some((_, value)) = element.fields.last_mut() {
                    value.push_str(&text);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn elements_are_read_with_their_fields_and_what_is_escaped_in_them() {
        let document = b"<?xml version=\"1.0\"?><R xmlns=\"x\"><IsTruncated>false</IsTruncated>\
            <Contents><Key>a&amp;b&#x20;c</Key><ETag>&quot;12&quot;</ETag><Owner><ID>no</ID></Owner><Size/></Contents></R>";
        let all = elements(document).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(
            (all[0].name.as_str(), all[0].text.as_str()),
            ("IsTruncated", "false")
        );
        assert_eq!(all[1].field("Key"), Some("a&b c"));
        assert_eq!(all[1].field("ETag"), Some("\"12\""));
        assert_eq!(all[1].field("Size"), Some(""));
        assert_eq!(all[1].field("ID"), None);
        assert!(elements(b"<R><Contents><Key>a").is_err());
    }
}
