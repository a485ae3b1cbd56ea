//! The containers of a tenant's control plane pod, one folder each.
//!
//! A component knows its flags, mounts and probes, and no other component.

pub mod arguments;
pub mod container;
pub mod kine;
pub mod konnectivity;
pub mod kube_apiserver;
pub mod kube_controller_manager;
pub mod kube_scheduler;
pub mod probes;
pub mod trust;
