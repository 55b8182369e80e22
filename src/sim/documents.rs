//! The documents of the simulated company: what a team would upload. The demo adds them to its library.

/// Name and content of each.
pub const ALL: [(&str, &[u8]); 3] = [
    ("CRM naming guide 2026.pdf", include_bytes!("documents/crm-naming-guide.pdf")),
    ("Deployment runbook.md", include_bytes!("documents/deployment-runbook.md")),
    ("Order to cash.md", include_bytes!("documents/order-to-cash.md")),
];
