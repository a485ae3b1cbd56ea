//! Starts real Kubernetes parts for tests, and knows where they are.

pub mod parts;
