//! Who exports which table. A table of the product that stands here in no line, or in two, fails a test.

use serde::{Deserialize, Serialize};

/// Who has a table's rows in an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The bundle of the workspace.
    Bundle,
    /// The bundle of the workspace, and persons their own rows in theirs.
    BundleAndOwn,
    /// No export, and why.
    LeftOut(Reason, &'static str),
    /// Persons in the export of their data.
    Own,
}

/// Why something is in no export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It follows from what is exported.
    Derived,
    /// It is the instance's, not the workspace's.
    Elsewhere,
    Secret,
    /// It only holds for a moment, or only where it was given.
    Transient,
}

use Claim::{Bundle, BundleAndOwn, LeftOut, Own};
use Reason::{Derived, Elsewhere, Secret, Transient};

/// Every table of the product, by name.
pub const TABLES: &[(&str, Claim)] = &[
    ("account_notices", Own),
    ("accounts", BundleAndOwn),
    ("address_changes", Own),
    ("addresses", LeftOut(Derived, "look-up of accounts by address")),
    ("analyses", Bundle),
    ("api_answers", LeftOut(Transient, "first answers to repeated requests, kept for two days")),
    ("api_tokens", LeftOut(Secret, "hashes of API tokens, as version 0.1 kept them")),
    ("audit", BundleAndOwn),
    ("audit_checkpoints", LeftOut(Derived, "sealed lines of the audit chain, under the key of the file")),
    ("audit_head", LeftOut(Derived, "the end of the audit chain, sealed under the key of the file")),
    ("audit_verification", LeftOut(Transient, "how the last check of the audit chain went")),
    ("backup_plan", LeftOut(Elsewhere, "the plan of the instance for backups")),
    ("backup_runs", LeftOut(Elsewhere, "how backups of the instance went")),
    ("budgets", BundleAndOwn),
    ("budgets_told", BundleAndOwn),
    ("capacity_samples", Bundle),
    ("change_files", Bundle),
    ("change_sets", Bundle),
    ("compaction_due", LeftOut(Transient, "that a file is to be compacted")),
    ("component_history", Bundle),
    ("component_sources", Bundle),
    ("components", Bundle),
    ("components_indexed", LeftOut(Derived, "what the search index holds")),
    ("conversations", BundleAndOwn),
    ("deployment_approvals", LeftOut(Transient, "an approval only counts where it was given")),
    ("deployment_runs", Bundle),
    ("deployment_snapshots", Bundle),
    ("devices", LeftOut(Secret, "keyed hashes by which browsers of a person are recognised")),
    ("document_contents", LeftOut(Derived, "keyed hashes by which the same file is recognised")),
    ("document_pages", Bundle),
    ("document_passages", Bundle),
    ("documents", BundleAndOwn),
    ("egress_days", BundleAndOwn),
    ("egress_lines", BundleAndOwn),
    ("erasures", LeftOut(Elsewhere, "certificates of erased workspaces")),
    ("exports", LeftOut(Transient, "exports that wait to be downloaded")),
    ("findings", Bundle),
    ("invitation_links", LeftOut(Secret, "keyed hashes of links")),
    ("invitations", LeftOut(Transient, "offers to people who are no members; their links are secret")),
    ("jobs", LeftOut(Transient, "background work")),
    ("jobs_due", LeftOut(Transient, "background work")),
    ("kept_audit", LeftOut(Elsewhere, "audit lines of erased workspaces, until their year is over")),
    ("kept_audit_ends", LeftOut(Elsewhere, "audit lines of erased workspaces, until their year is over")),
    ("local_ca", LeftOut(Secret, "the certificate authority of the instance")),
    ("mail_server", LeftOut(Secret, "the mail server of the instance with its password")),
    ("members", LeftOut(Derived, "look-up of memberships by workspace")),
    ("memberships", BundleAndOwn),
    ("messages", BundleAndOwn),
    ("model_endpoint", LeftOut(Secret, "the model endpoint of the instance with its key")),
    ("networks", LeftOut(Secret, "keyed hashes of networks that a person signed in from")),
    ("notice_choices", Own),
    ("notices", BundleAndOwn),
    ("notices_read", BundleAndOwn),
    ("notices_seen", BundleAndOwn),
    ("org_pending", LeftOut(Transient, "connections of orgs that wait for an answer, for half an hour")),
    ("orgs", Bundle),
    ("outbox", LeftOut(Transient, "mails that wait to be sent")),
    ("outbox_due", LeftOut(Transient, "mails that wait to be sent")),
    ("outbox_ended", LeftOut(Transient, "mails that were sent or given up")),
    ("passkey_handles", LeftOut(Derived, "random names under which authenticators know an account")),
    ("passkey_owners", LeftOut(Derived, "look-up of passkeys by credential")),
    ("passkeys", Own),
    ("policies", LeftOut(Elsewhere, "the privacy policy of the instance, which everybody can read")),
    ("policy_mails", LeftOut(Transient, "mails about the privacy policy that are being sent")),
    ("prices", LeftOut(Elsewhere, "the price table of the instance")),
    ("resets", LeftOut(Secret, "keyed hashes of links")),
    ("resets_of", LeftOut(Secret, "keyed hashes of addresses")),
    ("restored", LeftOut(Transient, "that indexes are to be built after a restore")),
    ("retention", Bundle),
    ("retired_slugs", LeftOut(Elsewhere, "keyed hashes of the names of erased workspaces")),
    ("scores", Bundle),
    ("sessions", Own),
    ("sessions_of", LeftOut(Derived, "look-up of sessions by account")),
    ("settings", LeftOut(Elsewhere, "the settings of the instance")),
    ("slugs", LeftOut(Elsewhere, "every name that a workspace of the instance ever had")),
    ("sso", LeftOut(Secret, "single sign-on of the instance with its client secret")),
    ("sso_account_links", Own),
    ("sso_given", LeftOut(Elsewhere, "roles that the instance's single sign-on gave")),
    ("sso_links", LeftOut(Derived, "look-up of single sign-on links")),
    ("token_hashes", LeftOut(Secret, "keyed hashes of API tokens")),
    ("tokens", Own),
    ("totp", Own),
    ("totp_pending", LeftOut(Secret, "a key on its way into an authenticator app, for ten minutes")),
    ("turn_calls", LeftOut(Transient, "calls of a running answer, written down before they are made")),
    ("turn_replays", BundleAndOwn),
    ("turns", BundleAndOwn),
    ("usage_days", BundleAndOwn),
    ("usage_months", BundleAndOwn),
    ("validation_consents", LeftOut(Transient, "a consent only counts where it was given")),
    ("visits", Own),
    ("workspace_mail", LeftOut(Secret, "the mail server that a workspace chose, with its password")),
    ("workspace_mail_servers", LeftOut(Elsewhere, "the mail servers that workspaces may choose")),
    ("workspaces", BundleAndOwn),
];

/// Secrets in tables that are exported: their rows come without them.
pub const FIELDS: &[(&str, &str)] = &[
    (
        "orgs.access, orgs.refresh, orgs.client_secret",
        "credentials of Salesforce orgs; connect each org again",
    ),
    ("accounts.password", "hashes of passwords; people set one anew"),
    ("passkeys.credential, totp.secret, totp.codes", "what proves a person; add it anew"),
    ("deployment_runs.package", "packages that were sent; they follow from the change sets"),
];
