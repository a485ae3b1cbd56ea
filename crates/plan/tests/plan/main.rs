//! The plan as a whole: from a specification and what was observed to the objects that a tenant needs.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its functions beside the test as well"
)]

mod addons;
mod anything;
mod golden;
mod internal_ca;
mod known_good;
mod konnectivity;
mod objects;
mod overrides;
#[path = "../planned/mod.rs"]
mod planned;
mod rejections;
mod sample;
mod tenant_cluster;
