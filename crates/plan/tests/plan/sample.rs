//! Tenants to plan, small and with every field set, and the outcomes of the steps before the plan.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use kamaji_api::{DataStore, TenantControlPlane};
use kamaji_pki::KeyAlgorithm;
use kamaji_plan::{
    control_plane::{self, Plan, names::TenantSecret, service},
    exposed::Exposed,
    issued::{Issued, SecretDigest},
    rejection::Rejection,
    resolve::{self, Observed, Resolved},
    stored::Stored,
};
use serde_json::{Value, json};

/// A tenant named `one` in the namespace `tenants`.
pub fn tenant(spec: &Value) -> Arc<TenantControlPlane> {
    named("one", spec)
}

pub fn named(name: &str, spec: &Value) -> Arc<TenantControlPlane> {
    let object = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
        "metadata": {"name": name, "namespace": "tenants", "uid": "11111111-2222-3333-4444-555555555555"},
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// The least that the CRD lets through.
pub fn minimal() -> Value {
    json!({
        "controlPlane": {"service": {"serviceType": "ClusterIP"}},
        "kubernetes": {"version": "v1.36.3", "kubelet": {}},
    })
}

/// Every field that a Deployment or Service shows.
pub fn full() -> Value {
    serde_saphyr::from_str(include_str!("full.yaml")).unwrap()
}

pub fn data_store() -> DataStore {
    serde_json::from_value(json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore", "metadata": {"name": "default"},
        "spec": {"driver": "etcd", "endpoints": ["etcd-0.etcd:2379", "etcd-1.etcd:2379"], "tlsConfig": {
            "certificateAuthority": {"certificate": {"content": ""}, "privateKey": {"content": ""}},
            "clientCertificate": {"certificate": {"content": ""}, "privateKey": {"content": ""}},
        }},
    }))
    .unwrap()
}

/// Resolves beside a DataStore `default`, which is also the operator's default.
pub fn resolve(tenant: &Arc<TenantControlPlane>, live: Option<&Deployment>) -> Result<Resolved, Rejection> {
    let data_store = data_store();
    let observed = Observed {
        data_store: Some(&data_store),
        chosen: Some("default"),
        deployment: live,
        recorded_identity: None,
        ..Observed::default()
    };
    resolve::resolve(tenant, &observed)
}

pub fn issued() -> Issued {
    let digest = |which: TenantSecret| SecretDigest {
        name: which.name("one"),
        checksum: format!("checksum of {}", which.component()),
        hash: format!("hash-of-{}", which.component()),
    };
    let secrets: BTreeMap<_, _> = TenantSecret::ALL.map(|which| (which, digest(which))).into();
    Issued { algorithm: KeyAlgorithm::EcdsaP256, secrets }
}

pub fn stored(resolved: &Resolved) -> Stored {
    Stored {
        schema: resolved.store.identity.schema.clone(),
        user: resolved.store.identity.user.clone(),
        set_up: true,
        config_checksum: "checksum-of-datastore-config".to_owned(),
        certificate_checksum: "checksum-of-datastore-certificate".to_owned(),
    }
}

pub fn exposed(resolved: &Resolved) -> Exposed {
    Exposed::new(resolved, resolved.network.address.unwrap_or(IpAddr::from([10, 96, 7, 7])))
}

/// What one pass would write besides Secrets.
pub fn plan(resolved: &Resolved, live: Option<&Deployment>) -> (Service, Plan) {
    let plan = control_plane::plan(resolved, &exposed(resolved), &issued(), &stored(resolved), live);
    (service::service(resolved, None), plan)
}
