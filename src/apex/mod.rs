//! Apex source: parser, syntax errors, highlighting. Imports nothing of ours.
