//! kamaji-pki
