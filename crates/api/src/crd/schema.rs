//! From Rust types to a structural OpenAPI v3 schema, as CustomResourceDefinitions need it.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::schema_table::{self, Rule};

/// Definitions of types, by schema name.
type Definitions = Map<String, Value>;

/// Prefix of the schema names of embedded Kubernetes types.
const KUBERNETES: &str = "io.k8s.";
/// Where a generated schema points to for a named type.
const REFERENCE: &str = "#/$defs/";

/// The schema of a kind: `apiVersion`, `kind`, `metadata`, `spec`, `status`, with all types in place.
pub(super) fn of<Spec: JsonSchema, Status: JsonSchema>() -> Value {
    let mut definitions = definitions::<Spec, Status>();
    for entry in schema_table::all() {
        if let Some(target) = locate(&mut definitions, entry.type_name, entry.field) {
            for rule in entry.rules {
                rule.apply(target);
            }
        }
    }
    json!({
        "type": "object",
        "properties": {
            "apiVersion": { "type": "string" },
            "kind": { "type": "string" },
            "metadata": { "type": "object" },
            "spec": inlined(&definitions, &Spec::schema_name()),
            "status": inlined(&definitions, &Status::schema_name()),
        },
    })
}

/// The cleaned definitions of two types and of all that they hold.
pub(super) fn definitions<Spec: JsonSchema, Status: JsonSchema>() -> Definitions {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<Spec>();
    generator.subschema_for::<Status>();
    let mut definitions = generator.take_definitions(true);
    for (name, definition) in &mut definitions {
        clean(definition, !name.starts_with(KUBERNETES));
    }
    definitions
}

/// The schema of a type, or of one of its fields when `field` is not empty.
pub(super) fn locate<'a>(definitions: &'a mut Definitions, type_name: &str, field: &str) -> Option<&'a mut Value> {
    let definition = definitions.get_mut(type_name)?;
    if field.is_empty() { Some(definition) } else { definition.get_mut("properties")?.get_mut(field) }
}

/// Brings a generated schema into the form that Kubernetes accepts: no null, no titles, no booleans for schemas, no
/// defaults but those of the table. Kubernetes' own descriptions are left out: with them the definition would exceed
/// what client-side apply can record in an annotation.
fn clean(schema: &mut Value, keep_description: bool) {
    if schema.is_boolean() {
        *schema = json!({});
    }
    collapse_optional(schema);
    let Some(object) = schema.as_object_mut() else { return };
    for keyword in ["title", "default", "$schema"] {
        object.remove(keyword);
    }
    if !keep_description {
        object.remove("description");
    }
    if let Some(Value::Array(types)) = object.get("type") {
        let first = types.iter().find(|name| *name != "null").cloned();
        object.insert("type".to_owned(), first.unwrap_or(Value::Null));
    }
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for property in properties.values_mut() {
            clean(property, keep_description);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(keyword) {
            clean(inner, keep_description);
        }
    }
}

/// Replaces `anyOf: [X, null]`, which is how an `Option` of a named type is generated, by X.
fn collapse_optional(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    let Some(Value::Array(choices)) = object.get("anyOf") else { return };
    let mut choices = choices.iter().filter(|choice| choice.get("type") != Some(&json!("null"))).cloned();
    if let (Some(Value::Object(only)), None) = (choices.next(), choices.next()) {
        object.remove("anyOf");
        overlay(object, only, false);
    }
}

/// Adds the keywords of `from` to `onto`; which of the two wins is the caller's choice.
fn overlay(onto: &mut Map<String, Value>, from: Map<String, Value>, from_wins: bool) {
    for (keyword, value) in from {
        if from_wins || !onto.contains_key(&keyword) {
            onto.insert(keyword, value);
        }
    }
}

/// The schema of a named type with every reference replaced by what it points to. The API's types hold no cycle.
fn inlined(definitions: &Definitions, name: &str) -> Value {
    let mut schema = definitions.get(name).cloned().unwrap_or_default();
    inline(definitions, &mut schema);
    schema
}

/// Replaces references below a schema. Keywords beside a reference, such as a field's description, win.
fn inline(definitions: &Definitions, schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = object.remove("$ref") {
        let target = inlined(definitions, reference.trim_start_matches(REFERENCE));
        if let Value::Object(target) = target {
            overlay(object, target, false);
        }
        return;
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for property in properties.values_mut() {
            inline(definitions, property);
        }
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(keyword) {
            inline(definitions, inner);
        }
    }
}

impl Rule {
    /// Writes the rule's keywords into a schema.
    fn apply(&self, schema: &mut Value) {
        let Some(object) = schema.as_object_mut() else { return };
        let mut set = |keyword: &str, value: Value| {
            object.insert(keyword.to_owned(), value);
        };
        match *self {
            Self::Atomic => set("x-kubernetes-list-type", json!("atomic")),
            Self::Set => set("x-kubernetes-list-type", json!("set")),
            Self::ListMap(keys) => {
                set("x-kubernetes-list-type", json!("map"));
                set("x-kubernetes-list-map-keys", json!(keys));
            }
            Self::AtomicMap => set("x-kubernetes-map-type", json!("atomic")),
            Self::AnyValue => {
                set("x-kubernetes-preserve-unknown-fields", json!(true));
            }
            Self::IntOrString => {
                set("x-kubernetes-int-or-string", json!(true));
                set("anyOf", json!([{ "type": "integer" }, { "type": "string" }]));
            }
            Self::Default(make) => set("default", make()),
            Self::Enum(values) => set("enum", json!(values)),
            Self::IntegerEnum(values) => set("enum", json!(values)),
            Self::Format(format) => set("format", json!(format)),
            Self::NoFormat => {
                object.remove("format");
            }
            Self::Pattern(pattern) => set("pattern", json!(pattern)),
            Self::Length(min, max) => {
                if let Some(min) = min {
                    set("minLength", json!(min));
                }
                if let Some(max) = max {
                    set("maxLength", json!(max));
                }
            }
            Self::Items(min, max) => {
                if let Some(min) = min {
                    set("minItems", json!(min));
                }
                if let Some(max) = max {
                    set("maxItems", json!(max));
                }
            }
            Self::Range(min, max) => {
                set("minimum", json!(min));
                if let Some(max) = max {
                    set("maximum", json!(max));
                }
            }
            Self::Required([]) => {
                object.remove("required");
            }
            Self::Required(names) => set("required", json!(names)),
            Self::Opaque => {
                object.remove("properties");
            }
            Self::Cel(rules) => set(
                "x-kubernetes-validations",
                rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        DataStoreSpec, DataStoreStatus, EtcdClusterSpec, EtcdClusterStatus, KubeconfigGeneratorSpec,
        KubeconfigGeneratorStatus, TenantControlPlaneSpec, TenantControlPlaneStatus,
    };

    fn every_definition() -> Vec<Definitions> {
        vec![
            definitions::<TenantControlPlaneSpec, TenantControlPlaneStatus>(),
            definitions::<DataStoreSpec, DataStoreStatus>(),
            definitions::<KubeconfigGeneratorSpec, KubeconfigGeneratorStatus>(),
            definitions::<EtcdClusterSpec, EtcdClusterStatus>(),
        ]
    }

    fn every_schema() -> [Value; 4] {
        [
            of::<TenantControlPlaneSpec, TenantControlPlaneStatus>(),
            of::<DataStoreSpec, DataStoreStatus>(),
            of::<KubeconfigGeneratorSpec, KubeconfigGeneratorStatus>(),
            of::<EtcdClusterSpec, EtcdClusterStatus>(),
        ]
    }

    #[test]
    fn every_rule_of_the_table_finds_its_field() {
        let mut definitions = every_definition();
        for entry in schema_table::all() {
            let found = definitions.iter_mut().any(|set| locate(set, entry.type_name, entry.field).is_some());
            assert!(found, "{} has no field {:?}", entry.type_name, entry.field);
        }
    }

    #[test]
    fn no_type_or_field_stands_in_the_table_twice() {
        let mut seen = BTreeSet::new();
        for entry in schema_table::all() {
            for rule in entry.rules {
                let key = (entry.type_name, entry.field, std::mem::discriminant(rule));
                assert!(seen.insert(format!("{key:?}")), "{} {:?} has {rule:?} twice", entry.type_name, entry.field);
            }
        }
    }

    /// Calls `check` with every schema node and its path.
    fn walk(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
        check(path, schema);
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, check);
        }
        for keyword in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(keyword) {
                walk(&format!("{path}[]"), inner, check);
            }
        }
    }

    #[test]
    fn every_node_is_structural() {
        for schema in every_schema() {
            walk("", &schema, &mut |path, node| {
                let node = node.as_object().unwrap_or_else(|| panic!("{path} is no object"));
                for keyword in ["$ref", "$defs", "oneOf", "allOf", "title", "const", "nullable"] {
                    assert!(!node.contains_key(keyword), "{path} has {keyword}");
                }
                let is_typed = node.get("type").is_some_and(Value::is_string)
                    || node.contains_key("x-kubernetes-int-or-string")
                    || node.contains_key("x-kubernetes-preserve-unknown-fields");
                assert!(is_typed, "{path} has no type: {node:?}");
            });
        }
    }

    #[test]
    fn every_required_field_exists_and_has_no_default() {
        for schema in every_schema() {
            walk("", &schema, &mut |path, node| {
                for name in node.get("required").and_then(Value::as_array).into_iter().flatten() {
                    let name = name.as_str().unwrap();
                    let field = node["properties"].get(name).unwrap_or_else(|| panic!("{path} has no {name}"));
                    // The Go operator's counters of generated kubeconfigs are both.
                    let is_counter = ["resources", "availableResources"].contains(&name);
                    assert!(
                        is_counter || field.get("default").is_none(),
                        "{path}.{name} is required and has a default"
                    );
                }
            });
        }
    }

    #[test]
    fn every_field_of_ours_says_what_it_is() {
        for definitions in every_definition() {
            for (name, definition) in definitions.iter().filter(|(name, _)| !name.starts_with(KUBERNETES)) {
                for (field, schema) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    // Flattened from Kubernetes' type.
                    if name == "DeploymentReport" && schema.get("description").is_none() {
                        continue;
                    }
                    assert!(schema.get("description").is_some(), "{name}.{field} has no description");
                }
            }
        }
    }
}
