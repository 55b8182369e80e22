//! The Messages API.
