//! All integration tests in one binary, so that one executable is linked.
