//! Answers: the REST API, in the paths and shapes that PM2's client knows, and ours beside them.

pub mod data;
pub mod error;

pub use error::ApiError;
