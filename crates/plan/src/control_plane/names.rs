//! Names of what a tenant has in the management cluster.

pub use kamaji_api::contract::{
    names::{konnectivity_egress as egress_selector, kubeadm_config},
    secrets::TenantSecret,
};
