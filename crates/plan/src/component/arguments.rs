//! Command-line flags of a component, and who wins when the operator and the user set the same one.

use std::collections::BTreeMap;

/// Flags by name, without the leading dashes. A value of `None` is a bare flag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments(BTreeMap<String, Option<String>>);

impl Arguments {
    /// Parses the user's list. A later flag of the same name wins.
    pub fn parse(list: &[String]) -> Self {
        Self(list.iter().map(|argument| split(argument)).map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// Sets a flag, whatever was there.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.insert(name.to_owned(), Some(value.into()));
        self
    }

    /// Sets a flag to the comma-joined list; an empty list leaves the flag out, because a flag without its value does
    /// not parse.
    pub fn set_list(&mut self, name: &str, values: &[String]) -> &mut Self {
        if !values.is_empty() {
            self.set(name, values.join(","));
        }
        self
    }

    /// Sets a flag unless it is there.
    pub fn default_to(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.entry(name.to_owned()).or_insert_with(|| Some(value.into()));
        self
    }

    /// Adds every flag of `other`; `other` wins.
    pub fn override_with(&mut self, other: Self) -> &mut Self {
        self.0.extend(other.0);
        self
    }

    /// Whether the flag is set.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The flags as an argument list, sorted by name.
    pub fn to_list(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| render(name, value.as_deref())).collect()
    }
}

/// The name of the flag in one argument of a user's list, without dashes.
pub fn flag_name(argument: &str) -> &str {
    split(argument).0
}

fn split(argument: &str) -> (&str, Option<String>) {
    let bare = argument.trim_start_matches('-');
    match bare.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (bare, None),
    }
}

fn render(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|&argument| argument.to_owned()).collect()
    }

    #[test]
    fn splits_at_the_first_equals_sign_only() {
        let arguments = Arguments::parse(&list(&["--feature-gates=A=true,B=false"]));
        assert_eq!(arguments.to_list(), ["--feature-gates=A=true,B=false"]);
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins_and_the_list_is_sorted() {
        let arguments = Arguments::parse(&list(&["--v=2", "--profiling", "--v=4"]));
        assert_eq!(arguments.to_list(), ["--profiling", "--v=4"]);
    }

    #[test]
    fn an_empty_list_leaves_the_flag_out() {
        let mut arguments = Arguments::default();
        arguments.set_list("enable-admission-plugins", &[]);
        assert!(arguments.to_list().is_empty());
    }

    #[test]
    fn a_default_does_not_replace_a_users_value() {
        let mut arguments = Arguments::parse(&list(&["--leader-elect=false"]));
        arguments.default_to("leader-elect", "true");
        assert_eq!(arguments.to_list(), ["--leader-elect=false"]);
    }
}
