//! Text of a document, read in a confined child process.
