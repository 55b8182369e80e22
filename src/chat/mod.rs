//! Conversations: turns that run as jobs, their tools, citations and streams.

mod pages;
