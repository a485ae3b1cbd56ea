//! The Deployment of a tenant's control plane (docs/reference/compatibility.md, "Deployment").

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Container, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, TopologySpreadConstraint},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kamaji_api::contract;

use super::{metadata, order, volumes};
use crate::{
    component::{
        kine, konnectivity, kube_apiserver, kube_controller_manager, kube_scheduler, shutdown::SHUTDOWN_DELAY_SECONDS,
        trust,
    },
    exposed::Exposed,
    issued::Issued,
    resolved::Resolved,
    stored::Stored,
    template::TemplateRevision,
};

/// Component label of the Deployment and its pods.
pub const COMPONENT: &str = "deployment";

/// User and group of the control plane's processes, from template `R1` on.
const UID: i64 = 65532;

/// Seconds from the stop signal to the kill signal, from template `R1` on: the API server's shutdown delay and its own
/// drain of requests fit in.
const GRACE_PERIOD_SECONDS: i64 = SHUTDOWN_DELAY_SECONDS as i64 + 60;

/// The Deployment; `live` gives the order of lists that a running tenant has.
pub fn deployment(
    resolved: &Resolved,
    exposed: &Exposed,
    issued: &Issued,
    stored: &Stored,
    live: Option<&Deployment>,
) -> Deployment {
    let spec = resolved.deployment();
    let mut metadata = metadata::owned(resolved, resolved.name.clone(), COMPONENT);
    let mut annotations = BTreeMap::new();
    if resolved.revision >= TemplateRevision::R1 {
        annotations.insert(contract::annotations::TEMPLATE_REVISION.to_owned(), resolved.revision.to_string());
    }
    if spec.is_some_and(|spec| spec.extra_args.is_some()) {
        let extra = resolved.extra_args(|extra| extra.api_server.as_ref());
        annotations.insert(contract::annotations::API_SERVER_ARGS.to_owned(), kamaji_pki::checksum::slice(extra));
    }
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    if let Some(additional) = spec.and_then(|spec| spec.additional_metadata.as_ref()) {
        metadata::merge_user(&mut metadata, additional.labels.as_ref(), additional.annotations.as_ref());
    }
    let mut template = PodTemplateSpec {
        metadata: Some(pod_metadata(resolved, issued, stored)),
        spec: Some(pod(resolved, exposed, stored, live)),
    };
    if let Some(live) = live.and_then(|live| live.spec.as_ref()) {
        order::follow(&mut template, &live.template);
    }
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(resolved.replicas()),
            selector: selector(resolved),
            strategy: Some(strategy(resolved)),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

fn selector(resolved: &Resolved) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(contract::labels::NAME.to_owned(), resolved.name.clone())])),
        match_expressions: None,
    }
}

/// Blue-green unless the user says otherwise: a whole new set beside the old one, and none away before its successor.
fn strategy(resolved: &Resolved) -> DeploymentStrategy {
    let user = resolved.deployment().and_then(|spec| spec.strategy.clone()).unwrap_or_default();
    let kind = user.type_.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "RollingUpdate".to_owned());
    let rolling_update = (kind == "RollingUpdate").then(|| {
        user.rolling_update.unwrap_or_else(|| RollingUpdateDeployment {
            max_surge: Some(IntOrString::String("100%".to_owned())),
            max_unavailable: Some(IntOrString::Int(0)),
        })
    });
    DeploymentStrategy { type_: Some(kind), rolling_update }
}

/// Labels and annotations of the pods. A hash of every Secret that the pods read at start stands here, so that pods roll
/// when one changes; the operator's annotations win, the user's labels do.
fn pod_metadata(resolved: &Resolved, issued: &Issued, stored: &Stored) -> ObjectMeta {
    let mut labels = BTreeMap::from([
        (contract::labels::NAME.to_owned(), resolved.name.clone()),
        (contract::labels::COMPONENT.to_owned(), COMPONENT.to_owned()),
        (contract::labels::template::DATASTORE.to_owned(), resolved.store.name.clone()),
    ]);
    for (name, hash) in issued.pod_hashes() {
        labels.insert(name.to_owned(), hash.to_owned());
    }
    if let (Some(_), Some((name, hash))) = (&resolved.konnectivity, issued.konnectivity_hash()) {
        labels.insert(name.to_owned(), hash.to_owned());
    }
    let additional = resolved.deployment().and_then(|spec| spec.pod_additional_metadata.as_ref());
    labels.extend(additional.and_then(|metadata| metadata.labels.clone()).unwrap_or_default());
    let mut annotations = additional.and_then(|metadata| metadata.annotations.clone()).unwrap_or_default();
    annotations.insert(contract::annotations::STORAGE_CONFIG.to_owned(), stored.config_checksum.clone());
    annotations.insert(contract::annotations::STORAGE_CERTIFICATE.to_owned(), stored.certificate_checksum.clone());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

fn pod(resolved: &Resolved, exposed: &Exposed, stored: &Stored, live: Option<&Deployment>) -> PodSpec {
    let spec = resolved.deployment();
    let r1 = resolved.revision >= TemplateRevision::R1;
    let mut containers = spec.and_then(|spec| spec.additional_containers.clone()).unwrap_or_default();
    let alone = containers.is_empty();
    let mut init_containers = spec.and_then(|spec| spec.additional_init_containers.clone()).unwrap_or_default();
    let mut ours: Vec<Container> = components(resolved, exposed, stored, live).collect();
    adopt(&mut containers, &mut ours);
    containers.extend(ours);
    let mut ours: Vec<Container> =
        kine::Sidecar::of(resolved).iter().filter_map(kine::Sidecar::init_container).collect();
    adopt(&mut init_containers, &mut ours);
    init_containers.extend(ours);
    let service_account = spec.and_then(|spec| spec.service_account_name.clone()).filter(|name| !name.is_empty());
    let service_account = service_account.unwrap_or_else(|| "default".to_owned());
    // No component of a tenant talks to the management cluster. Only a user who brings a service account or containers
    // of their own can have a use for its token.
    let no_token = r1 && alone && service_account == "default";
    PodSpec {
        containers,
        init_containers: Some(init_containers).filter(|list| !list.is_empty()),
        volumes: Some(volumes::volumes(resolved)),
        node_selector: spec.and_then(|spec| spec.node_selector.clone()).filter(|map| !map.is_empty()),
        tolerations: spec.and_then(|spec| spec.tolerations.clone()).filter(|list| !list.is_empty()),
        affinity: spec.and_then(|spec| spec.affinity.clone()),
        topology_spread_constraints: topology_spread(resolved),
        runtime_class_name: spec.and_then(|spec| spec.runtime_class_name.clone()).filter(|name| !name.is_empty()),
        service_account_name: Some(service_account),
        automount_service_account_token: spec
            .and_then(|spec| spec.automount_service_account_token)
            .or_else(|| no_token.then_some(false)),
        enable_service_links: r1.then_some(false),
        security_context: spec
            .and_then(|spec| spec.pod_security_context.clone())
            .or_else(|| r1.then(pod_security_context)),
        termination_grace_period_seconds: r1.then_some(GRACE_PERIOD_SECONDS),
        ..PodSpec::default()
    }
}

/// A user's container that is named like one of ours (kine and its init container) says which image that one has.
fn adopt(users: &mut Vec<Container>, ours: &mut [Container]) {
    users.retain(|user| {
        let Some(own) = ours.iter_mut().find(|own| own.name == user.name) else { return true };
        if user.image.is_some() {
            own.image.clone_from(&user.image);
        }
        false
    });
}

/// The containers of the control plane itself.
fn components(
    resolved: &Resolved,
    exposed: &Exposed,
    stored: &Stored,
    live: Option<&Deployment>,
) -> impl Iterator<Item = Container> {
    let trusts_more = resolved.internal_ca.as_ref().is_some_and(|internal| internal.copy(&resolved.name).is_some());
    let live = live.and_then(|live| live.spec.as_ref()?.template.spec.as_ref());
    [
        kube_apiserver::container(resolved, exposed, stored),
        kube_scheduler::container(resolved),
        kube_controller_manager::container(resolved),
    ]
    .into_iter()
    .chain(kine::Sidecar::of(resolved).and_then(|kine| kine.container()))
    .chain(konnectivity::container(resolved))
    .map(move |mut container| {
        if trusts_more {
            let live = live.and_then(|live| live.containers.iter().find(|live| live.name == container.name));
            trust::extend(&mut container, live);
        }
        container
    })
}

fn pod_security_context() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(UID),
        run_as_group: Some(UID),
        fs_group: Some(UID),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn topology_spread(resolved: &Resolved) -> Option<Vec<TopologySpreadConstraint>> {
    let mut constraints = resolved.deployment()?.topology_spread_constraints.clone()?;
    for constraint in &mut constraints {
        constraint.label_selector.get_or_insert_with(|| selector(resolved));
    }
    (!constraints.is_empty()).then_some(constraints)
}
