//! TOML as a tree in which every key and value knows its place, also across files.
//!
//! `serde` would stop at the first unknown field and lose the places of keys; a tree lets one pass
//! find every mistake.

use std::collections::{BTreeMap, btree_map};

use toml::de::{DeArray, DeTable, DeValue};

use crate::policy::{
    diagnose::{Refusal, Report, quoted},
    text::{FileId, Span},
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) value: Value,
}

/// What a [`Node`] is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A string.
    String(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A kind that no key of a policy wants: its name.
    Other(&'static str),
    /// A list.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

impl Value {
    /// Its kind, with article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Boolean(_) => "a boolean",
            Self::Other(kind) => kind,
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// A table: its keys in alphabetical order, each with the place where it is written first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(BTreeMap<String, (Span, Node)>);

impl Table {
    /// Takes one key out.
    pub(crate) fn take(&mut self, key: &str) -> Option<(Span, Node)> {
        self.0.remove(key)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Where a key is written.
    pub(crate) fn span_of(&self, key: &str) -> Option<Span> {
        self.0.get(key).map(|(span, _)| *span)
    }

    /// Where a key's list stands, if it is empty.
    pub(crate) fn empty_list(&self, key: &str) -> Option<Span> {
        match self.0.get(key) {
            Some((_, Node { span, value: Value::Array(items) })) if items.is_empty() => Some(*span),
            _ => None,
        }
    }

    /// Whether a header of its own must have made it: it holds a value, or nothing at all. A
    /// table that holds only tables may be there for their sake, and is open to other files.
    fn is_defined(&self) -> bool {
        let is_value = |(_, node): &(Span, Node)| !matches!(node.value, Value::Table(_));
        self.0.is_empty() || self.0.values().any(is_value)
    }

    /// Adds the tables of another file; what both define is an error that names both.
    pub(crate) fn merge(&mut self, other: Self, report: &mut Report) {
        for (key, (span, node)) in other.0 {
            let (first, kept) = match self.0.entry(key) {
                btree_map::Entry::Vacant(entry) => {
                    entry.insert((span, node));
                    continue;
                }
                btree_map::Entry::Occupied(entry) => {
                    let key = entry.key().clone();
                    let (first, kept) = entry.into_mut();
                    ((key, *first), kept)
                }
            };
            match (&mut kept.value, node.value) {
                (Value::Table(kept), Value::Table(more))
                    if !(kept.is_defined() && more.is_defined()) =>
                {
                    kept.merge(more, report);
                }
                (_, value) => {
                    let (key, first) = first;
                    let kind = if matches!(value, Value::Table(_)) { "table" } else { "key" };
                    let what = format!("duplicate {kind} {}", quoted(&key));
                    let why = format!("it is already in {}", report.texts.position(first));
                    let cure = "keep one of the two, with all that belongs in it";
                    report.error(span, Refusal::new(what, why).cure(cure));
                }
            }
        }
    }
}

impl IntoIterator for Table {
    type Item = (String, (Span, Node));
    type IntoIter = btree_map::IntoIter<String, (Span, Node)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Reads one file. Syntax errors are reported, and nothing of such a file is judged further.
pub(crate) fn parse(content: &str, file: FileId, report: &mut Report) -> Option<Table> {
    let (root, errors) = DeTable::parse_recoverable(content);
    for error in &errors {
        let span = error.span().unwrap_or_default();
        let typed = content.get(span.clone()).unwrap_or_default();
        let refusal = match error.message() {
            "duplicate key" => Refusal::new(
                format!("duplicate key or table {}", quoted(typed)),
                "it is already written above in the same place",
            )
            .cure("write it once, with all that belongs in it"),
            message => {
                let refusal = Refusal::new("bad TOML", message);
                match message.strip_prefix("unclosed ").and_then(|it| it.split_once("expected ")) {
                    Some((_, wanted)) => refusal.cure(format!("add {wanted}")),
                    None => refusal,
                }
            }
        };
        report.error(file.span(span), refusal);
    }
    errors.is_empty().then(|| table(root.into_inner(), file))
}

fn table(table: DeTable<'_>, file: FileId) -> Table {
    let entries = table.into_iter().map(|(key, value)| {
        let span = file.span(key.span());
        let value_span = file.span(value.span());
        let node = Node { span: value_span, value: self::value(value.into_inner(), file) };
        (key.into_inner().into_owned(), (span, node))
    });
    Table(entries.collect())
}

fn array(array: DeArray<'_>, file: FileId) -> Vec<Node> {
    let node = |value: toml::Spanned<DeValue<'_>>| {
        let span = file.span(value.span());
        Node { span, value: self::value(value.into_inner(), file) }
    };
    array.into_iter().map(node).collect()
}

fn value(value: DeValue<'_>, file: FileId) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Array(items) => Value::Array(array(items, file)),
        DeValue::Table(entries) => Value::Table(table(entries, file)),
        DeValue::Integer(_) => Value::Other("an integer"),
        DeValue::Float(_) => Value::Other("a number"),
        DeValue::Datetime(_) => Value::Other("a date"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rstest::rstest;

    use super::*;

    fn merged(first: &str, second: &str) -> Result<Table, String> {
        let mut report = Report::default();
        let mut all = Table::default();
        for (name, content) in [("a.toml", first), ("b.toml", second)] {
            let file = report.texts.add(Path::new(name), content.into());
            let table = parse(content, file, &mut report).expect("good TOML in a test");
            all.merge(table, &mut report);
        }
        report.finish().map(|_| all).map_err(|errors| errors.to_string())
    }

    #[rstest]
    #[case::other_tables("[a]\nx = 1", "[b]\nx = 1")]
    #[case::siblings("[p.one]\nx = 1", "[p.two]\nx = 1")]
    #[case::a_table_below("[p.one]\nx = 1", "[p.one.rule]\nx = 1")]
    #[case::a_table_above("[p.one.rule]\nx = 1", "[p.one]\nx = 1")]
    #[case::an_empty_file("", "[p]")]
    fn files_complete_each_other(#[case] first: &str, #[case] second: &str) {
        merged(first, second).unwrap();
    }

    #[rstest]
    #[case::same_table("[p]\nx = 1", "[p]\ny = 1", "table `p`")]
    #[case::same_empty_table("[p.one]", "[p.one]", "table `one`")]
    #[case::same_key("x = 1", "x = 1", "key `x`")]
    #[case::key_and_table("x = 1", "[x]", "table `x`")]
    fn what_two_files_define_names_both(
        #[case] first: &str,
        #[case] second: &str,
        #[case] what: &str,
    ) {
        let message = merged(first, second).unwrap_err();
        assert!(message.starts_with("nsp: b.toml:1:"), "{message}");
        assert!(
            message.contains(&format!("duplicate {what}: it is already in a.toml:1:")),
            "{message}"
        );
    }

    #[rstest]
    #[case::key("[a]\nx = 1\nx = 2", 3, "duplicate key or table `x`")]
    #[case::table("[a]\nx = 1\n[a]\ny = 2", 3, "duplicate key or table `a`")]
    #[case::unclosed("[a\nx = 1", 1, "bad TOML")]
    #[case::no_value("x =\n", 1, "bad TOML")]
    fn bad_toml_is_placed(#[case] content: &str, #[case] line: u32, #[case] what: &str) {
        let mut report = Report::default();
        let file = report.texts.add(Path::new("a.toml"), content.into());
        assert!(parse(content, file, &mut report).is_none());
        let errors = report.finish().unwrap_err().errors;
        assert_eq!((errors[0].position.line, errors[0].what.as_str()), (line, what));
    }

    #[test]
    fn deep_nesting_is_refused_not_followed() {
        let content = format!("x = {}", "[".repeat(100_000));
        let mut report = Report::default();
        let file = report.texts.add(Path::new("a.toml"), content.as_str().into());
        assert!(parse(&content, file, &mut report).is_none());
    }
}
