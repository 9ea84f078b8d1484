//! The text of `INFO`.

use std::fmt::{Display, Write};

/// Sections of `name:value` lines. Sections that were not asked for are dropped.
#[derive(Debug, Default)]
pub struct Info {
    /// Lower case; empty: all of them.
    wanted: Vec<String>,
    /// Names and texts, in the order in which they were begun.
    sections: Vec<(String, String)>,
    /// The section that lines go to: an index in `sections`.
    current: Option<usize>,
}

/// Names that stand for every section.
const EVERYTHING: [&str; 3] = ["all", "everything", "default"];

impl Info {
    /// A text of these sections; of all of them if none is named.
    pub fn new(sections: impl Iterator<Item = String>) -> Info {
        Info {
            wanted: sections.map(|name| name.to_lowercase()).collect(),
            ..Info::default()
        }
    }

    /// Begins a section, or goes on with it. Lines that follow belong to it.
    pub fn section(&mut self, name: &str) -> &mut Info {
        let matches = |wanted: &String| {
            wanted.eq_ignore_ascii_case(name) || EVERYTHING.contains(&wanted.as_str())
        };
        self.current = None;
        if self.wanted.is_empty() || self.wanted.iter().any(matches) {
            let begun = self.sections.iter().position(|(known, _)| known == name);
            self.current = Some(begun.unwrap_or_else(|| {
                self.sections.push((name.to_owned(), String::new()));
                self.sections.len() - 1
            }));
        }
        self
    }

    /// Adds a line to the section.
    pub fn line(&mut self, name: &str, value: impl Display) -> &mut Info {
        if let Some(current) = self.current {
            let _ = write!(self.sections[current].1, "{name}:{value}\r\n");
        }
        self
    }

    /// Adds a line of bytes and one of the same for people.
    pub fn bytes(&mut self, name: &str, bytes: u64) -> &mut Info {
        self.line(name, bytes)
            .line(&format!("{name}_human"), human(bytes))
    }

    pub(crate) fn text(&self) -> String {
        let texts = self.sections.iter();
        let texts: Vec<String> = texts
            .map(|(name, lines)| format!("# {name}\r\n{lines}"))
            .collect();
        texts.join("\r\n")
    }
}

/// `1.50M`, as Redis writes it.
fn human(bytes: u64) -> String {
    let mut scaled = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    for unit in ["K", "M", "G", "T", "P"] {
        scaled /= 1024.0;
        if scaled < 1024.0 {
            return format!("{scaled:.2}{unit}");
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sections: &[&str]) -> String {
        let mut info = Info::new(sections.iter().map(|name| (*name).to_owned()));
        info.section("Server").line("a", 1);
        info.section("Memory").bytes("used", 1536);
        info.section("Server").line("b", 2);
        info.text()
    }

    #[test]
    fn only_the_wanted_sections_appear() {
        assert_eq!(
            text(&[]),
            "# Server\r\na:1\r\nb:2\r\n\r\n# Memory\r\nused:1536\r\nused_human:1.50K\r\n"
        );
        assert_eq!(
            text(&["MEMORY"]),
            "# Memory\r\nused:1536\r\nused_human:1.50K\r\n"
        );
        assert_eq!(text(&["everything"]), text(&[]));
        assert_eq!(text(&["nonsense"]), "");
    }
}
