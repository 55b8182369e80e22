//! Every mail that Vynos sends, as what happened. `words` says it in sentences, `render` puts them into text and HTML.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::Role;

/// One mail. Links are paths of this instance (`/w/halden/orgs`) or whole addresses of it; a mail that would lead
/// elsewhere is not sent. Names are taken as they are: they are made harmless when the words are put together.
///
/// What is raised in a workspace leaves `workspace` empty and gives a link below it (`o/prod/findings`): a job knows its
/// workspace by id alone, [`Letter::fill`] puts in the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "letter", rename_all = "snake_case")]
pub enum Letter {
    AccountDeleted {
        at: Timestamp,
    },
    AccountDeletionStarted {
        ends: Timestamp,
        link: String,
    },
    /// To operators: the backup begun at `at` failed, in the words `said`.
    BackupFailed {
        at: Timestamp,
        said: String,
        link: String,
    },
    /// `percent` of the budget of a month is spent.
    BudgetUsed {
        workspace: String,
        percent: u8,
        spent: String,
        budget: String,
        link: String,
    },
    /// New findings of the highest severity in one analysis.
    CriticalFinding {
        workspace: String,
        org: String,
        count: usize,
        /// Title and component of the first.
        findings: Vec<(String, String)>,
        link: String,
    },
    DeletionDone {
        workspace: String,
        at: Timestamp,
    },
    DeletionSevenDaysLeft {
        workspace: String,
        ends: Timestamp,
        link: String,
    },
    DeletionStarted {
        workspace: String,
        asked_by: String,
        ends: Timestamp,
        link: String,
    },
    DeployApprovalWanted {
        workspace: String,
        change_set: String,
        org: String,
        production: bool,
        components: usize,
        proposed_by: String,
        proposed: Timestamp,
        /// Tests run and passed by the validation.
        tests: Option<(u32, u32)>,
        kept_until: Option<Timestamp>,
        link: String,
    },
    DeployResult {
        workspace: String,
        change_set: String,
        org: String,
        production: bool,
        outcome: Outcome,
        components: usize,
        /// What Salesforce said, in one line; empty when there is nothing to say.
        said: String,
        link: String,
    },
    ExportReady {
        /// The workspace, or nothing for the data of the account.
        workspace: Option<String>,
        ends: Timestamp,
        link: String,
    },
    InvitationAccepted {
        workspace: String,
        name: String,
        role: Role,
        link: String,
    },
    InvitationReminder {
        workspace: String,
        invited_by: String,
        role: Role,
        link: String,
        ends: Timestamp,
    },
    InvitationSent {
        workspace: String,
        invited_by: String,
        role: Role,
        link: String,
        ends: Timestamp,
    },
    LimitOver {
        workspace: String,
        org: String,
        limit: String,
        used: u64,
        of: u64,
        link: String,
    },
    MailChangeConfirm {
        link: String,
        ends: Timestamp,
    },
    /// To the address that was used so far.
    MailChangeNotice {
        new_address_masked: String,
        at: Timestamp,
        /// Stops the change, or undoes it within a day.
        link: String,
    },
    NewSignIn {
        when: Timestamp,
        address: String,
        browser: String,
    },
    OrgSignedOut {
        workspace: String,
        org: String,
        link: String,
    },
    PasswordChanged {
        at: Timestamp,
    },
    PasswordReset {
        link: String,
        ends: Timestamp,
    },
    /// The operator made a link with the shell.
    PasswordResetByOperator {
        at: Timestamp,
    },
    PolicyChanged {
        workspace: String,
        /// What holds now, as one sentence.
        what: String,
        changed_by: String,
        link: String,
    },
    /// The privacy policy of the instance; everybody gets it.
    PrivacyPolicyChanged {
        /// What is different, in a sentence.
        what: String,
        at: Timestamp,
        link: String,
    },
    RemovedFromWorkspace {
        workspace: String,
        removed_by: String,
    },
    RoleChanged {
        workspace: String,
        role: Role,
        changed_by: String,
    },
    SecondFactorChanged {
        what: FactorChange,
        at: Timestamp,
    },
    SyncFailed {
        workspace: String,
        org: String,
        why: String,
        link: String,
    },
    /// The operator asked for it; `to` is the operator's own address.
    Test {
        to: String,
    },
    TokenEnding {
        name: String,
        ends: Timestamp,
        link: String,
    },
    ValidationResult {
        workspace: String,
        change_set: String,
        org: String,
        passed: bool,
        said: String,
        link: String,
    },
}

/// What changed about the second factor of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorChange {
    CodesRenewed,
    CodeUsed,
    PasskeyAdded,
    PasskeyCopied,
    PasskeyRemoved,
    TotpAdded,
    TotpRemoved,
}

/// How a deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Cancelled,
    Failed,
    /// It was sent, and whether Salesforce took it is not known.
    Lost,
    /// Ended before anything was sent.
    NotSent,
    RolledBack,
    Succeeded,
}

impl Letter {
    /// What it is called in the outbox and in golden files.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::AccountDeleted { .. } => "account-deleted",
            Self::AccountDeletionStarted { .. } => "account-deletion-started",
            Self::BackupFailed { .. } => "backup-failed",
            Self::BudgetUsed { .. } => "budget-used",
            Self::CriticalFinding { .. } => "critical-finding",
            Self::DeletionDone { .. } => "deletion-done",
            Self::DeletionSevenDaysLeft { .. } => "deletion-seven-days-left",
            Self::DeletionStarted { .. } => "deletion-started",
            Self::DeployApprovalWanted { .. } => "deploy-approval-wanted",
            Self::DeployResult { .. } => "deploy-result",
            Self::ExportReady { .. } => "export-ready",
            Self::InvitationAccepted { .. } => "invitation-accepted",
            Self::InvitationReminder { .. } => "invitation-reminder",
            Self::InvitationSent { .. } => "invitation-sent",
            Self::LimitOver { .. } => "limit-over",
            Self::MailChangeConfirm { .. } => "mail-change-confirm",
            Self::MailChangeNotice { .. } => "mail-change-notice",
            Self::NewSignIn { .. } => "new-sign-in",
            Self::OrgSignedOut { .. } => "org-signed-out",
            Self::PasswordChanged { .. } => "password-changed",
            Self::PasswordReset { .. } => "password-reset",
            Self::PasswordResetByOperator { .. } => "password-reset-by-operator",
            Self::PolicyChanged { .. } => "policy-changed",
            Self::PrivacyPolicyChanged { .. } => "privacy-policy-changed",
            Self::RemovedFromWorkspace { .. } => "removed-from-workspace",
            Self::RoleChanged { .. } => "role-changed",
            Self::SecondFactorChanged { .. } => "second-factor-changed",
            Self::SyncFailed { .. } => "sync-failed",
            Self::Test { .. } => "test",
            Self::TokenEnding { .. } => "token-ending",
            Self::ValidationResult { .. } => "validation-result",
        }
    }

    /// Puts in what a notice of a workspace does not know: the workspace's name, its place in addresses, and the name of
    /// whose act it is.
    pub fn fill(&mut self, name: &str, slug: &str, by: &str) {
        match self {
            Self::BudgetUsed { workspace, link, .. }
            | Self::CriticalFinding { workspace, link, .. }
            | Self::DeployApprovalWanted { workspace, link, .. }
            | Self::DeployResult { workspace, link, .. }
            | Self::LimitOver { workspace, link, .. }
            | Self::OrgSignedOut { workspace, link, .. }
            | Self::PolicyChanged { workspace, link, .. }
            | Self::SyncFailed { workspace, link, .. }
            | Self::ValidationResult { workspace, link, .. } => {
                name.clone_into(workspace);
                if !link.starts_with('/') {
                    *link = format!("/w/{slug}/{link}");
                }
            }
            _ => {}
        }
        if let Self::DeployApprovalWanted { proposed_by: who, .. }
        | Self::PolicyChanged { changed_by: who, .. } = self
            && who.is_empty()
        {
            by.clone_into(who);
        }
    }

    /// Where its button leads, when it has one.
    pub fn link(&self) -> String {
        super::words::words(self).button.map(|(_, link)| link).unwrap_or_default()
    }

    /// What happened, in one line.
    pub fn headline(&self) -> String {
        super::words::words(self).heading
    }

    /// Whether the person may choose not to get it; such a mail says where.
    pub const fn can_be_turned_off(&self) -> bool {
        matches!(
            self,
            Self::BackupFailed { .. }
                | Self::BudgetUsed { .. }
                | Self::CriticalFinding { .. }
                | Self::DeployApprovalWanted { .. }
                | Self::DeployResult { .. }
                | Self::ExportReady { .. }
                | Self::InvitationAccepted { .. }
                | Self::LimitOver { .. }
                | Self::OrgSignedOut { .. }
                | Self::PolicyChanged { .. }
                | Self::SyncFailed { .. }
                | Self::TokenEnding { .. }
                | Self::ValidationResult { .. }
        )
    }
}
