//! The containers of a tenant's control plane pod, one folder each.
//!
//! A component knows its flags, mounts and probes, and no other component: only kube-apiserver knows kine and
//! konnectivity-server, which it talks to in the pod.

pub mod arguments;
pub mod container;
pub mod kine;
pub mod konnectivity;
pub mod kube_apiserver;
pub mod kube_controller_manager;
pub mod kube_scheduler;
pub mod mount;
pub mod probes;
pub mod shutdown;
pub mod trust;
