//! Fields that the Go API does not have, read from the field or from its annotation twin.
//!
//! A typed Go client (the Cluster API provider) drops a field that it does not know when it updates the object, and
//! keeps annotations: the twin is what is left then.

use kube_core::ResourceExt;

use super::{EncryptionAlgorithm, TenantControlPlane};
use crate::contract::annotations;

impl TenantControlPlane {
    /// The key algorithm that the owner chose: `spec.kubernetes.encryptionAlgorithm`, else its annotation twin, else
    /// none. An empty text counts as none.
    pub fn encryption_algorithm(&self) -> Option<EncryptionAlgorithm> {
        let twin = || self.annotations().get(annotations::ENCRYPTION_ALGORITHM).map(|text| text.as_str().into());
        self.spec.kubernetes.encryption_algorithm.clone().or_else(twin).filter(|chosen| !chosen.as_str().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_twin_is_named_after_the_last_part_of_its_field() {
        for (annotation, field) in annotations::TWINS {
            assert_eq!(annotation.rsplit('/').next(), field.rsplit('.').next());
        }
    }
}
