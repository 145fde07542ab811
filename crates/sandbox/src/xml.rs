//! Writing XML answers. Names are ours and need no escaping; texts are escaped.

use std::fmt::Display;

/// Elements, one after the other.
#[derive(Default)]
pub(crate) struct Xml(String);

impl Xml {
    /// A whole document with one root element.
    pub(crate) fn document(root: &str, namespace: &str, fill: impl FnOnce(&mut Self)) -> String {
        let mut inside = Self::default();
        fill(&mut inside);
        let body = inside.0;
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{namespace}\">{body}</{root}>\n")
    }

    /// `<name>value</name>`.
    pub(crate) fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        let value = escaped(&value.to_string());
        self.0.push_str(&format!("<{name}>{value}</{name}>"));
        self
    }

    /// An element with elements inside.
    pub(crate) fn nest(&mut self, name: &str, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inside = Self::default();
        fill(&mut inside);
        self.wrap(name, inside)
    }

    /// An element around elements made before.
    pub(crate) fn wrap(&mut self, name: &str, inside: Self) -> &mut Self {
        self.0.push_str(&format!("<{name}>{}</{name}>", inside.0));
        self
    }
}

/// `text` with the characters replaced that mean something in XML and HTML, in elements and in double quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}
