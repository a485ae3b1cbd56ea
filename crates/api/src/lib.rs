//! kamaji-api
