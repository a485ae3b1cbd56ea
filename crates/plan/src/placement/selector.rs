//! A label selector, with the rules that Kubernetes has for it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::rejection::Rejection;

/// Path of the field.
pub(super) const FIELD: &str = "spec.dataStoreSelector";

/// A selector that was checked. One without requirements selects everything.
pub(super) struct Selector {
    requirements: Vec<(String, Test)>,
}

/// What is asked of the value of one label.
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// When Kubernetes would refuse it too.
    pub(super) fn read(selector: LabelSelector) -> Result<Self, Rejection> {
        let labels = selector.match_labels.into_iter().flatten();
        let labels = labels.map(|(key, value)| Ok((key, Test::In(vec![value]))));
        let expressions = selector.match_expressions.into_iter().flatten().enumerate();
        let expressions = expressions.map(|(index, expression)| requirement(index, expression));
        Ok(Self { requirements: labels.chain(expressions).collect::<Result<_, _>>()? })
    }

    /// Whether labels are selected.
    pub(super) fn selects(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.requirements.iter().all(|(key, test)| {
            let value = labels.and_then(|labels| labels.get(key));
            match test {
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                // As in Kubernetes: who has no such label is not in the set either.
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Test::Exists => value.is_some(),
                Test::DoesNotExist => value.is_none(),
            }
        })
    }
}

fn requirement(index: usize, expression: LabelSelectorRequirement) -> Result<(String, Test), Rejection> {
    let LabelSelectorRequirement { key, operator, values } = expression;
    let wrong = |field: &str, message: String| {
        Err(Rejection::new("InvalidSpec", format!("{FIELD}.matchExpressions[{index}].{field}"), message))
    };
    let values = values.unwrap_or_default();
    let has_values = !values.is_empty();
    let test = match operator.as_str() {
        "In" => Test::In(values),
        "NotIn" => Test::NotIn(values),
        "Exists" => Test::Exists,
        "DoesNotExist" => Test::DoesNotExist,
        _ => {
            let message = format!("\"{operator}\" is no operator; use In, NotIn, Exists or DoesNotExist");
            return wrong("operator", message);
        }
    };
    let needs_values = matches!(test, Test::In(_) | Test::NotIn(_));
    if key.is_empty() {
        return wrong("key", "the label has no name; give one".to_owned());
    }
    if needs_values && !has_values {
        return wrong("values", format!("the operator {operator} needs at least one value; add it"));
    }
    if !needs_values && has_values {
        return wrong("values", format!("the operator {operator} takes no values; remove them"));
    }
    Ok((key, test))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(selector: Value) -> Result<Selector, Rejection> {
        Selector::read(serde_json::from_value(selector).unwrap())
    }

    fn selects(selector: Value, labels: Value) -> bool {
        read(selector).unwrap().selects(serde_json::from_value::<Option<_>>(labels).unwrap().as_ref())
    }

    fn expression(operator: &str, values: &[&str]) -> Value {
        json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]})
    }

    #[test]
    fn an_empty_selector_selects_everything() {
        assert!(selects(json!({}), json!({"tier": "gold"})));
        assert!(selects(json!({"matchLabels": {}, "matchExpressions": []}), Value::Null));
    }

    #[test]
    fn each_operator_selects_as_in_kubernetes() {
        let (gold, iron, none) = (json!({"tier": "gold", "a": "b"}), json!({"tier": "iron"}), Value::Null);
        for (selector, expected) in [
            (json!({"matchLabels": {"tier": "gold"}}), [true, false, false]),
            (expression("In", &["gold", "silver"]), [true, false, false]),
            (expression("NotIn", &["gold", "silver"]), [false, true, true]),
            (expression("Exists", &[]), [true, true, false]),
            (expression("DoesNotExist", &[]), [false, false, true]),
        ] {
            let selected = [&gold, &iron, &none].map(|labels| selects(selector.clone(), labels.clone()));
            assert_eq!(selected, expected, "{selector}");
        }
    }

    #[test]
    fn all_requirements_have_to_hold() {
        let selector = json!({
            "matchLabels": {"tier": "gold"},
            "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}],
        });
        assert!(selects(selector.clone(), json!({"tier": "gold"})));
        assert!(!selects(selector.clone(), json!({"tier": "gold", "old": ""})));
        assert!(!selects(selector, json!({"tier": "iron"})));
    }

    #[test]
    fn what_kubernetes_refuses_is_refused_by_its_path() {
        for (operator, values, field) in [
            ("in", &["gold"][..], "operator"),
            ("", &[], "operator"),
            ("In", &[], "values"),
            ("NotIn", &[], "values"),
            ("Exists", &["gold"], "values"),
            ("DoesNotExist", &["gold"], "values"),
        ] {
            let refused = read(expression(operator, values)).err().unwrap();
            assert_eq!(refused.field, format!("spec.dataStoreSelector.matchExpressions[0].{field}"));
            assert_eq!(refused.reason, "InvalidSpec");
        }
        let refused = read(json!({"matchExpressions": [{"key": "", "operator": "Exists"}]})).err().unwrap();
        assert_eq!(refused.field, "spec.dataStoreSelector.matchExpressions[0].key");
    }
}
