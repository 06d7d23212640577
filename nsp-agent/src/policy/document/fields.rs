//! Strict access to a table: every key is asked for once, by its type, and what nobody asked for
//! is an error.

use std::collections::BTreeMap;

use super::tree::{Node, Table, Value};
use crate::policy::{
    choice::Choice,
    diagnose::{Refusal, Report, quoted, suggest},
    name::Name,
    text::Span,
};

/// A typed value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    /// Where it stands.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) value: T,
}

/// What the table of a whole policy is called.
pub(super) const THE_TOP: &str = "a policy";

/// One table while it is read.
pub(crate) struct Fields<'a> {
    /// What the table is, for messages.
    context: String,
    table: Table,
    asked: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a> Fields<'a> {
    /// Starts reading a table.
    pub(crate) fn new(context: impl Into<String>, table: Table, report: &'a mut Report) -> Self {
        Self { context: context.into(), table, asked: Vec::new(), report }
    }

    /// A boolean.
    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<Spanned<bool>> {
        let Node { span, value } = self.take(key)?;
        match value {
            Value::Boolean(value) => Some(Spanned { span, value }),
            Value::String(text) if text == "true" || text == "false" => {
                self.wrong_type(span, key, "a string", "true or false", Some(text));
                None
            }
            other => {
                self.wrong_type(span, key, other.kind(), "true or false", None);
                None
            }
        }
    }

    /// A string that `parse` understands.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Spanned<T>> {
        let Node { span, value } = self.take(key)?;
        match value {
            Value::String(text) => {
                let value = self.report.keep(span, parse(&text))?;
                Some(Spanned { span, value })
            }
            Value::Array(items) => {
                let cure = match items.as_slice() {
                    [Node { value: Value::String(text), .. }] => Some(format!("{text:?}")),
                    _ => None,
                };
                self.wrong_type(span, key, "a list", "one string", cure);
                None
            }
            other => {
                let cure = self.as_string(span, &other, &parse);
                self.wrong_type(span, key, other.kind(), "a string", cure);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice<C: Choice>(&mut self, key: &'static str) -> Option<Spanned<C>> {
        self.parsed(key, C::parse)
    }

    /// A list of strings that `parse` understands. `None` when the key is absent.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Vec<Spanned<T>>> {
        let Node { span, value } = self.take(key)?;
        self.list_from(key, span, value, parse)
    }

    /// Named tables, such as the rules of one direction.
    pub(crate) fn tables(&mut self, key: &'static str) -> BTreeMap<Name, (Span, Table)> {
        let mut tables = BTreeMap::new();
        for (name, span, node) in self.named(key) {
            match node.value {
                Value::Table(table) => {
                    tables.insert(name, (span, table));
                }
                other => {
                    let header = format!("[{key}.{name}]");
                    let wanted = format!("a table: {header}");
                    let (kind, cure) = (other.kind(), self.at_the_top().then_some(header));
                    self.wrong_type(node.span, name.as_str(), kind, &wanted, cure);
                }
            }
        }
        tables
    }

    /// Named lists, such as the subscriptions.
    pub(crate) fn named_lists<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> BTreeMap<Name, Spanned<Vec<Spanned<T>>>> {
        let mut lists = BTreeMap::new();
        for (name, span, node) in self.named(key) {
            if let Some(value) = self.list_from(name.as_str(), node.span, node.value, &parse) {
                lists.insert(name, Spanned { span, value });
            }
        }
        lists
    }

    /// Named strings, such as the prefix files.
    pub(crate) fn named_strings(&mut self, key: &'static str) -> BTreeMap<Name, Spanned<String>> {
        let mut strings = BTreeMap::new();
        for (name, _, Node { span, value }) in self.named(key) {
            match value {
                Value::String(value) => {
                    strings.insert(name, Spanned { span, value });
                }
                other => self.wrong_type(span, name.as_str(), other.kind(), "a string", None),
            }
        }
        strings
    }

    /// A table.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<(Span, Table)> {
        let (span, node) = self.take_entry(key)?;
        match node.value {
            Value::Table(table) => Some((span, table)),
            other => {
                let header = format!("[{key}]");
                let wanted = format!("a table: {header}");
                let cure = self.at_the_top().then_some(header);
                self.wrong_type(node.span, key, other.kind(), &wanted, cure);
                None
            }
        }
    }

    /// Ends the reading: what is left was not known.
    pub(crate) fn finish(self) {
        let Self { context, table, asked, report } = self;
        for (key, (span, _)) in table {
            let what = format!("unknown key {} in {context}", quoted(&key));
            let refusal = Refusal::new(what, format!("it has the keys {}", asked.join(", ")));
            report.error(
                span,
                match suggest(&key, asked.iter().copied()) {
                    Some(near) => refusal.cure(near),
                    None => refusal.cure(format!("leave {} out", quoted(&key))),
                },
            );
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        self.take_entry(key).map(|(_, node)| node)
    }

    fn take_entry(&mut self, key: &'static str) -> Option<(Span, Node)> {
        self.asked.push(key);
        self.table.take(key)
    }

    fn named(&mut self, key: &'static str) -> Vec<(Name, Span, Node)> {
        let Some((_, table)) = self.table(key) else { return Vec::new() };
        let mut named = Vec::new();
        for (name, (span, node)) in table {
            if let Some(name) = self.report.keep(span, name.parse()) {
                named.push((name, span, node));
            }
        }
        named
    }

    fn list_from<T>(
        &mut self,
        key: &str,
        span: Span,
        value: Value,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<Vec<Spanned<T>>> {
        let items = match value {
            Value::Array(items) => items,
            other => {
                let cure = match &other {
                    Value::String(text) => Some(format!("{key} = [{text:?}]")),
                    _ => None,
                };
                self.wrong_type(span, key, other.kind(), "a list of strings", cure);
                return None;
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for Node { span, value } in items {
            match value {
                Value::String(text) => {
                    let value = self.report.keep(span, parse(&text));
                    list.extend(value.map(|value| Spanned { span, value }));
                }
                other => {
                    let cure = self.as_string(span, &other, &parse);
                    let what = format!("{} holds {}", quoted(key), other.kind());
                    let refusal = Refusal::new(what, "a list of strings is wanted");
                    self.report.error(span, Refusal { cure, ..refusal });
                }
            }
        }
        Some(list)
    }

    /// What to write for a value that lacks its quotes, such as `443` or `443/tcp`.
    fn as_string<T>(
        &self,
        span: Span,
        value: &Value,
        parse: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Option<String> {
        if matches!(value, Value::Array(_) | Value::Table(_)) {
            return None;
        }
        let typed = self.report.texts.content(span);
        match parse(typed) {
            Ok(_) => Some(format!("\"{typed}\"")),
            Err(refusal) => refusal.cure,
        }
    }

    /// Whether a key here begins a header: deeper down the tables above it belong to it too.
    fn at_the_top(&self) -> bool {
        self.context == THE_TOP
    }

    fn wrong_type(
        &mut self,
        span: Span,
        key: &str,
        kind: &str,
        wanted: &str,
        cure: Option<String>,
    ) {
        let what = format!("{} in {} is {kind}", quoted(key), self.context);
        let refusal = Refusal::new(what, format!("it must be {wanted}"));
        self.report.error(span, Refusal { cure, ..refusal });
    }
}
