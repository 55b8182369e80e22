//! The scripted model: a Messages API server.
