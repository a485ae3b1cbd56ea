//! The `kamaji.clastix.io/v1alpha1` API: resource types, their CustomResourceDefinitions, status conditions, and the
//! [`contract`] of names that clients, nodes and running tenants see.
//!
//! This crate holds data and pure functions only. It has no client and no async runtime, so that whatever depends on
//! it alone cannot talk to an API server.

pub mod additional_metadata;
pub mod conditions;
pub mod contract;
pub mod crd;
pub mod data_store;
pub mod etcd_cluster;
pub mod gateway;
pub mod kubeconfig_generator;
mod open_enum;
mod reading;
pub mod tenant_control_plane;

pub use additional_metadata::AdditionalMetadata;
pub use data_store::{DataStore, DataStoreSpec, DataStoreStatus, Driver};
pub use etcd_cluster::{EtcdCluster, EtcdClusterSpec, EtcdClusterStatus};
pub use kubeconfig_generator::{KubeconfigGenerator, KubeconfigGeneratorSpec, KubeconfigGeneratorStatus};
pub use tenant_control_plane::{TenantControlPlane, TenantControlPlaneSpec, TenantControlPlaneStatus};
