//! The REST dialect over the core.
