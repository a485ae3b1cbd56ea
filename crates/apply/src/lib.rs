//! kamaji-apply
