//! Fields that the Go API does not have, read from the field or from its annotation twin.
//!
//! A typed Go client (the Cluster API provider) drops a field that it does not know when it updates the object, and
//! keeps annotations: the twin is what is left then.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube_core::ResourceExt;
use serde::Deserialize;
use thiserror::Error;

use super::{EncryptionAlgorithm, JsonPatch, TenantControlPlane};
use crate::contract::annotations;

/// An annotation that stands in for a field and does not hold what the field would.
#[derive(Debug, Error)]
pub enum UnreadableTwin {
    /// The text is no JSON list of patches.
    #[error("the annotation {annotation} holds no JSON list of patches; correct it or remove it")]
    Patches {
        /// The annotation.
        annotation: &'static str,
        /// What is wrong with the text.
        #[source]
        source: serde_json::Error,
    },
    /// The text is no JSON label selector.
    #[error("the annotation {annotation} holds no label selector in JSON ({source}); correct it or remove it")]
    Selector {
        /// The annotation.
        annotation: &'static str,
        /// What is wrong with the text.
        #[source]
        source: serde_json::Error,
    },
}

impl UnreadableTwin {
    /// The kind of failure, for metrics and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Patches { .. } => "patches",
            Self::Selector { .. } => "selector",
        }
    }
}

/// A label selector as the annotation has it. An API server tells of a misspelt field and nobody would of one in here,
/// and a selector whose only field is misspelt selects everything.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenSelector {
    match_labels: Option<BTreeMap<String, String>>,
    match_expressions: Option<Vec<WrittenRequirement>>,
}

/// One of its expressions.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRequirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

impl From<WrittenSelector> for LabelSelector {
    fn from(written: WrittenSelector) -> Self {
        let requirement =
            |WrittenRequirement { key, operator, values }| LabelSelectorRequirement { key, operator, values };
        Self {
            match_labels: written.match_labels,
            match_expressions: written.match_expressions.map(|list| list.into_iter().map(requirement).collect()),
        }
    }
}

impl TenantControlPlane {
    /// The key algorithm that the owner chose: `spec.kubernetes.encryptionAlgorithm`, else its annotation twin, else
    /// none. An empty text counts as none.
    pub fn encryption_algorithm(&self) -> Option<EncryptionAlgorithm> {
        let twin = || self.annotations().get(annotations::ENCRYPTION_ALGORITHM).map(|text| text.as_str().into());
        self.spec.kubernetes.encryption_algorithm.clone().or_else(twin).filter(|chosen| !chosen.as_str().is_empty())
    }

    /// Name of the ConfigMap with the owner's certificate authorities: `spec.internalCACertificatesConfigMap`, else its
    /// annotation twin, else none. An empty text counts as none.
    pub fn internal_ca_config_map(&self) -> Option<&str> {
        let twin = || self.annotations().get(annotations::INTERNAL_CA_CONFIG_MAP);
        let field = self.spec.internal_ca_certificates_config_map.as_ref();
        field.or_else(twin).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Which DataStores the owner leaves the choice of: `spec.dataStoreSelector`, else its annotation twin, else none. An
    /// empty text counts as none, an empty selector as all.
    ///
    /// # Errors
    /// When the annotation is what counts and holds no label selector.
    pub fn data_store_selector(&self) -> Result<Option<LabelSelector>, UnreadableTwin> {
        const TWIN: &str = annotations::DATA_STORE_SELECTOR;
        if let Some(selector) = &self.spec.data_store_selector {
            return Ok(Some(selector.clone()));
        }
        let Some(text) = self.annotations().get(TWIN).filter(|text| !text.is_empty()) else { return Ok(None) };
        serde_json::from_str::<WrittenSelector>(text)
            .map(|written| Some(written.into()))
            .map_err(|source| UnreadableTwin::Selector { annotation: TWIN, source })
    }

    /// The patches of kube-proxy's configuration: `spec.addons.kubeProxy.configurationJSONPatches`, else its annotation
    /// twin, else none. An empty text counts as none.
    ///
    /// # Errors
    /// When the annotation is what counts and holds no JSON list of patches.
    pub fn kube_proxy_patches(&self) -> Result<Vec<JsonPatch>, UnreadableTwin> {
        const TWIN: &str = annotations::KUBE_PROXY_PATCHES;
        let addon = self.spec.addons.as_ref().and_then(|addons| addons.kube_proxy.as_ref());
        if let Some(patches) = addon.and_then(|addon| addon.configuration_json_patches.clone()) {
            return Ok(patches);
        }
        match self.annotations().get(TWIN).filter(|text| !text.is_empty()) {
            None => Ok(Vec::new()),
            Some(text) => {
                serde_json::from_str(text).map_err(|source| UnreadableTwin::Patches { annotation: TWIN, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant_control_plane::{AddonsSpec, KubeProxySpec};

    fn tenant(field: Option<&str>, twin: Option<&str>) -> TenantControlPlane {
        let mut tenant = TenantControlPlane::default();
        tenant.spec.kubernetes.encryption_algorithm = field.map(EncryptionAlgorithm::from);
        if let Some(twin) = twin {
            tenant.annotations_mut().insert(annotations::ENCRYPTION_ALGORITHM.to_owned(), twin.to_owned());
        }
        tenant
    }

    #[test]
    fn the_annotation_stands_in_for_a_field_that_a_client_dropped() {
        let chosen = tenant(None, Some("RSA-4096")).encryption_algorithm();
        assert_eq!(chosen, Some(EncryptionAlgorithm::Rsa4096));
    }

    #[test]
    fn the_field_wins_over_its_annotation() {
        let chosen = tenant(Some("ECDSA-P384"), Some("RSA-4096")).encryption_algorithm();
        assert_eq!(chosen, Some(EncryptionAlgorithm::EcdsaP384));
    }

    #[test]
    fn nothing_is_chosen_by_an_empty_annotation_or_none() {
        assert_eq!(tenant(None, Some("")).encryption_algorithm(), None);
        assert_eq!(tenant(None, None).encryption_algorithm(), None);
    }

    #[test]
    fn the_config_map_of_authorities_that_a_client_dropped_is_still_named() {
        let named = |field: Option<&str>, twin: Option<&str>| {
            let mut tenant = TenantControlPlane::default();
            tenant.spec.internal_ca_certificates_config_map = field.map(str::to_owned);
            if let Some(twin) = twin {
                tenant.annotations_mut().insert(annotations::INTERNAL_CA_CONFIG_MAP.to_owned(), twin.to_owned());
            }
            tenant.internal_ca_config_map().map(str::to_owned)
        };
        assert_eq!(named(None, Some("b")).as_deref(), Some("b"));
        assert_eq!(named(Some("a"), Some("b")).as_deref(), Some("a"));
        assert_eq!((named(Some(""), Some("b")), named(None, Some("")), named(None, None)), (None, None, None));
    }

    fn with_selector(field: Option<&str>, twin: Option<&str>) -> TenantControlPlane {
        let mut tenant = TenantControlPlane::default();
        tenant.spec.data_store_selector = field.map(|text| serde_json::from_str(text).unwrap());
        if let Some(twin) = twin {
            tenant.annotations_mut().insert(annotations::DATA_STORE_SELECTOR.to_owned(), twin.to_owned());
        }
        tenant
    }

    #[test]
    fn a_selector_that_a_client_dropped_comes_from_the_annotation() {
        const GOLD: &str = r#"{"matchLabels":{"tier":"gold"}}"#;
        const NOT_OLD: &str = r#"{"matchExpressions":[{"key":"old","operator":"DoesNotExist"},{"key":"a","operator":"In","values":["b"]}]}"#;
        let chosen = |field, twin| {
            let selector = with_selector(field, twin).data_store_selector().unwrap();
            selector.map(|selector| serde_json::to_string(&selector).unwrap())
        };
        assert_eq!(chosen(None, Some(NOT_OLD)).as_deref(), Some(NOT_OLD));
        assert_eq!(chosen(Some(GOLD), Some(NOT_OLD)).as_deref(), Some(GOLD));
        assert_eq!(chosen(Some("{}"), Some(GOLD)).as_deref(), Some("{}"), "an empty selector is the owner's choice");
        assert_eq!((chosen(None, Some("")), chosen(None, None)), (None, None));
    }

    #[test]
    fn an_annotation_that_is_no_selector_is_named_and_selects_nothing() {
        for text in ["tier=gold", "null", "[]", r#"{"matchlabels":{"tier":"gold"}}"#, r#"{"matchLabels":{"tier":1}}"#] {
            let error = with_selector(None, Some(text)).data_store_selector().unwrap_err();
            assert!(error.to_string().contains(annotations::DATA_STORE_SELECTOR), "{error}");
            assert_eq!(error.category(), "selector");
        }
        assert!(with_selector(Some("{}"), Some("tier=gold")).data_store_selector().is_ok(), "the field is what counts");
    }

    fn with_patches(field: Option<&str>, twin: Option<&str>) -> TenantControlPlane {
        let mut tenant = TenantControlPlane::default();
        let patches = field.map(|text| serde_json::from_str(text).unwrap());
        let addon = KubeProxySpec { configuration_json_patches: patches, ..KubeProxySpec::default() };
        tenant.spec.addons = Some(AddonsSpec { kube_proxy: Some(addon), ..AddonsSpec::default() });
        if let Some(twin) = twin {
            tenant.annotations_mut().insert(annotations::KUBE_PROXY_PATCHES.to_owned(), twin.to_owned());
        }
        tenant
    }

    #[test]
    fn patches_that_a_client_dropped_come_from_the_annotation() {
        const A: &str = r#"[{"op": "remove", "path": "/a"}]"#;
        const B: &str = r#"[{"op": "remove", "path": "/b"}]"#;
        let paths = |tenant: TenantControlPlane| {
            let patches = tenant.kube_proxy_patches().unwrap();
            patches.into_iter().map(|patch| patch.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(with_patches(None, Some(A))), ["/a"]);
        assert_eq!(paths(with_patches(Some(B), Some(A))), ["/b"]);
        assert!(paths(with_patches(Some("[]"), Some(A))).is_empty(), "an empty list is the owner's choice");
        assert!(paths(with_patches(None, Some(""))).is_empty());
        assert!(paths(TenantControlPlane::default()).is_empty());
    }

    #[test]
    fn an_annotation_that_is_no_list_of_patches_is_named() {
        let error = with_patches(None, Some("mode: nftables")).kube_proxy_patches().unwrap_err();
        assert!(error.to_string().contains(annotations::KUBE_PROXY_PATCHES), "{error}");
        assert_eq!(error.category(), "patches");
    }

    #[test]
    fn every_twin_is_named_after_the_last_part_of_its_field() {
        for (annotation, field) in annotations::TWINS {
            assert_eq!(annotation.rsplit('/').next(), field.rsplit('.').next());
        }
    }
}
