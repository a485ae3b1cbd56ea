//! Fields that no row of the tables sets.

/// Why not.
pub enum Elsewhere {
    /// This test, by its file in the workspace, sets it and sees what comes of it.
    Shown { file: &'static str, test: &'static str },
    /// There is nothing to be seen.
    Nothing { why: &'static str },
}

const HERE: &str = "crates/operator/tests/apiserver_fields.rs";
const PLACEMENT: &str = "crates/operator/tests/apiserver_datastore_placement.rs";

/// Path and reason.
pub fn elsewhere() -> Vec<(&'static str, Elsewhere)> {
    let shown = |path, file, test| (path, Elsewhere::Shown { file, test });
    let nothing = |path, why| (path, Elsewhere::Nothing { why });
    let mut all = vec![
        // A tenant on etcd has no kine.
        shown(
            "controlPlane.deployment.resources.kine",
            "crates/operator/tests/apiserver_datastore_tenants.rs",
            "kines_own_fields_show_when_set_and_go_when_removed",
        ),
        shown(
            "controlPlane.deployment.extraArgs.kine",
            "crates/operator/tests/apiserver_datastore_tenants.rs",
            "kines_own_fields_show_when_set_and_go_when_removed",
        ),
        // Required, so it cannot be removed.
        shown("controlPlane.service.serviceType", HERE, "service_type"),
        // Needs an address.
        shown("networkProfile.allowAddressAsExternalIP", HERE, "address_as_external_ip"),
        // In certificates.
        shown("networkProfile.certSANs", HERE, "names_in_the_certificate"),
        shown(
            "kubernetes.encryptionAlgorithm",
            HERE,
            "keys_that_are_made_anew_have_the_algorithm_of_the_field_while_it_is_set",
        ),
        // In the status.
        shown("writePermissions.blockCreation", HERE, "write_permissions"),
        shown("writePermissions.blockUpdate", HERE, "write_permissions"),
        shown("writePermissions.blockDeletion", HERE, "write_permissions"),
        // Cannot change: set at creation.
        shown("networkProfile.loadBalancerClass", HERE, "balanced"),
        shown("networkProfile.clusterDomain", HERE, "balanced"),
        shown("dataStoreSchema", PLACEMENT, "a_datastore_shows_the_names_of_its_tenants_until_they_are_gone"),
        shown("dataStoreUsername", PLACEMENT, "a_datastore_shows_the_names_of_its_tenants_until_they_are_gone"),
        // Absent, the operator's own default counts, or the selector.
        shown("dataStore", PLACEMENT, "tenants_that_leave_the_choice_open_go_on_when_there_is_a_datastore_for_them"),
        shown(
            "dataStoreSelector.matchLabels",
            PLACEMENT,
            "a_tenant_stays_on_the_datastore_that_its_selector_found_and_one_that_nothing_fits_waits_for_it",
        ),
        shown(
            "dataStoreSelector.matchExpressions",
            "crates/plan/src/placement/selector.rs",
            "each_operator_selects_as_in_kubernetes",
        ),
        shown(
            "dataStoreOverrides",
            PLACEMENT,
            "what_a_tenant_keeps_on_a_second_datastore_stays_without_the_override_and_is_erased_with_the_tenant",
        ),
        shown(
            "internalCACertificatesConfigMap",
            "crates/operator/tests/apiserver_internal_ca.rs",
            "a_rotation_rolls_once_per_change_and_removing_the_field_leaves_nothing",
        ),
    ];
    // Only their host name counts so far, for the endpoint.
    for path in [
        "controlPlane.ingress.additionalMetadata.labels",
        "controlPlane.ingress.additionalMetadata.annotations",
        "controlPlane.ingress.ingressClassName",
        "controlPlane.gateway.additionalMetadata.labels",
        "controlPlane.gateway.additionalMetadata.annotations",
        "controlPlane.gateway.parentRefs",
    ] {
        all.push(nothing(path, "no object is made of it yet"));
    }
    for path in [
        "controlPlane.deployment.probes.liveness.successThreshold",
        "controlPlane.deployment.probes.startup.successThreshold",
        "controlPlane.deployment.probes.apiServer.liveness.successThreshold",
        "controlPlane.deployment.probes.apiServer.startup.successThreshold",
        "controlPlane.deployment.probes.controllerManager.liveness.successThreshold",
        "controlPlane.deployment.probes.controllerManager.startup.successThreshold",
        "controlPlane.deployment.probes.scheduler.liveness.successThreshold",
        "controlPlane.deployment.probes.scheduler.startup.successThreshold",
    ] {
        all.push(nothing(path, "Kubernetes allows only 1"));
    }
    all
}
