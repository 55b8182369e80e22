//! Mails as they go out.
