//! User stories on the real local cluster: each in a namespace of its own, which is dumped when the story fails.
//!
//! `cargo xtask test --ring e2e` brings the cluster up first. The stories know the operator only as its users do: by its
//! API, never by its insides.

pub mod data_store;
pub mod etcd;
pub mod identity_provider;
pub mod kubectl;
pub mod manifests;
pub mod server;
pub mod story;
pub mod tenant;
pub mod web;
pub mod worker;
pub mod xtask;

pub use story::Story;
