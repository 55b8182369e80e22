//! The only code that names redb: page-encrypted files, typed tables, the pool of open files.
