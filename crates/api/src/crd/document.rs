//! CustomResourceDefinitions as YAML that does not change from build to build.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

use super::{CrdError, Installation, all_for};

/// The CustomResourceDefinitions for an [`Installation`] as one YAML stream, byte-identical for the same input.
pub fn yaml_for(installation: &Installation) -> Result<String, CrdError> {
    let mut stream = String::new();
    for crd in all_for(installation)? {
        stream.push_str("---\n");
        stream.push_str(&document(&crd)?);
    }
    Ok(stream)
}

/// The CustomResourceDefinitions of the default [`Installation`] as one YAML stream: what `kamaji crds` prints.
pub fn yaml() -> Result<String, CrdError> {
    yaml_for(&Installation::default())
}

/// One CustomResourceDefinition as a YAML document, without a document marker.
pub fn document(crd: &CustomResourceDefinition) -> Result<String, CrdError> {
    let name = || crd.metadata.name.clone().unwrap_or_default();
    let mut value = serde_json::to_value(crd).map_err(|source| CrdError::Schema { kind: name(), source })?;
    canonicalise(&mut value);
    serde_saphyr::to_string(&value).map_err(|source| CrdError::Yaml { name: name(), source })
}

/// Sorts keys, whatever map another crate of the build chose for serde_json, and writes whole numbers as such:
/// Kubernetes' type for a schema has floating-point limits.
fn canonicalise(value: &mut Value) {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(String, Value)> = std::mem::take(object).into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            *object = entries
                .into_iter()
                .map(|(key, mut inner)| {
                    canonicalise(&mut inner);
                    (key, inner)
                })
                .collect::<Map<_, _>>();
        }
        Value::Array(list) => list.iter_mut().for_each(canonicalise),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            // The text of a whole float is its digits; one that does not fit stays as it is.
            if let Some(whole) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd;

    #[test]
    fn the_yaml_reads_back_as_the_same_definitions() {
        let stream = yaml().unwrap();
        let documents: Vec<&str> = stream.split("---\n").filter(|document| !document.is_empty()).collect();
        let crds = crd::all().unwrap();
        assert_eq!(documents.len(), crds.len());
        for (document, crd) in documents.iter().zip(crds) {
            let back: CustomResourceDefinition = serde_saphyr::from_str(document).unwrap();
            assert_eq!(back, crd);
        }
    }

    #[test]
    fn the_yaml_does_not_change_between_calls() {
        assert_eq!(yaml().unwrap(), yaml().unwrap());
    }

    #[test]
    fn limits_are_written_as_whole_numbers() {
        let stream = yaml().unwrap();
        assert!(stream.contains("maximum: 65535\n"));
        assert!(!stream.contains("minimum: 1.0"));
    }

    #[test]
    fn each_definition_fits_into_the_annotation_of_client_side_apply() {
        for crd in crd::all().unwrap() {
            let size = serde_json::to_string(&crd).unwrap().len();
            assert!(size < 262_144, "{:?} takes {size} bytes", crd.metadata.name);
        }
    }

    #[test]
    fn a_chart_may_put_its_own_names_in() {
        let installation = Installation {
            namespace: "{{ .Release.Namespace }}".to_owned(),
            webhook_service: "hook".to_owned(),
            certificate: "cert".to_owned(),
        };
        let crd = &all_for(&installation).unwrap()[0];
        let service = crd.spec.conversion.clone().unwrap().webhook.unwrap().client_config.unwrap().service.unwrap();
        assert_eq!((service.name.as_str(), service.namespace.as_str()), ("hook", "{{ .Release.Namespace }}"));
        let annotations = crd.metadata.annotations.clone().unwrap();
        assert_eq!(annotations["cert-manager.io/inject-ca-from"], "{{ .Release.Namespace }}/cert");
    }
}
