//! kamaji-plan
