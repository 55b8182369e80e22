//! The audit chain of a file: one line for every change, committed with it. Each line's hash covers the
//! line and the hash before it; the head is kept under a keyed MAC, so that cutting the tail shows.

use jiff::Timestamp;
use ring::digest;
use serde::{Deserialize, Serialize};

use super::{Read, StoreError, Table, Tx};
use crate::ids::{AccountId, ApiTokenId, JobId, RequestId, WorkspaceId};
use crate::seal::{SubKey, hex};

/// The lines, by number from 1.
pub const AUDIT: Table<u64, AuditEvent> = Table::new("audit", 1);
/// The newest line, sealed by a MAC (one row).
pub const AUDIT_HEAD: Table<u8, Head> = Table::new("audit_head", 1);

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    Account {
        id: AccountId,
    },
    /// A job, and the person whose act it finishes (`None` for a schedule).
    Job {
        id: JobId,
        asked_by: Option<AccountId>,
    },
    /// Somebody with a shell and the master key.
    Operator,
    Token {
        id: ApiTokenId,
        account: AccountId,
    },
    /// Nobody is signed in yet: setup and sign-in.
    Visitor,
}

impl Actor {
    /// The person behind the act, when there is one.
    pub fn account(&self) -> Option<AccountId> {
        match self {
            Self::Account { id } | Self::Token { account: id, .. } => Some(*id),
            Self::Job { asked_by, .. } => *asked_by,
            Self::Operator | Self::Visitor => None,
        }
    }
}

macro_rules! actions {
    ($($variant:ident $text:literal)*) => {
        /// The closed list of audited acts.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Action {$(
            #[serde(rename = $text)]
            $variant,
        )*}
        impl Action {
            /// Every act, for filters.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            /// Its name in the log: `thing.what_happened`.
            pub const fn name(self) -> &'static str {
                match self {$(Self::$variant => $text,)*}
            }
        }
    };
}

actions! {
    AccountAddressAsked "account.address_asked"
    AccountAddressChanged "account.address_changed"
    AccountAddressKept "account.address_kept"
    AccountChanged "account.changed"
    AccountJoined "account.joined"
    AccountDeletionStarted "account.deletion_started"
    AccountDeletionStopped "account.deletion_stopped"
    AccountErased "account.erased"
    AccountResetAsked "account.reset_asked"
    AccountResetByOperator "account.reset_by_operator"
    AccountResumed "account.resumed"
    AccountSuspended "account.suspended"
    BudgetChanged "budget.changed"
    BudgetReached "budget.reached"
    ChangeSetDiscarded "change_set.discarded"
    ChangeSetEdited "change_set.edited"
    ChangeSetProposed "change_set.proposed"
    ConversationChanged "conversation.changed"
    ConversationDeleted "conversation.deleted"
    DeploymentApproved "deployment.approved"
    DeploymentCancelled "deployment.cancelled"
    DeploymentEnded "deployment.ended"
    DeploymentReleased "deployment.released"
    DeploymentSubmitted "deployment.submitted"
    DocumentDeleted "document.deleted"
    DocumentErased "document.erased"
    DocumentFailed "document.failed"
    DocumentIndexed "document.indexed"
    DocumentUploaded "document.uploaded"
    DocumentsReindexed "documents.reindexed"
    FindingsUpdated "findings.updated"
    InstanceSetUp "instance.set_up"
    InstanceSettingsChanged "instance.settings_changed"
    InvitationAccepted "invitation.accepted"
    InvitationReminded "invitation.reminded"
    InvitationRevoked "invitation.revoked"
    InvitationSent "invitation.sent"
    JobFinished "job.finished"
    MailChanged "mail.changed"
    MailDropped "mail.dropped"
    MailRetried "mail.retried"
    MemberJoined "member.joined"
    MemberLeft "member.left"
    MemberRemoved "member.removed"
    MemberRoleChanged "member.role_changed"
    ModelChanged "model.changed"
    NotificationsChosen "notifications.chosen"
    OrgConnected "org.connected"
    OrgConnectionStarted "org.connection_started"
    OrgDeployPolicyChanged "org.deploy_policy_changed"
    OrgDisconnected "org.disconnected"
    OrgIndexed "org.indexed"
    OrgSignedOut "org.signed_out"
    OrgSyncFailed "org.sync_failed"
    OrgSyncRequested "org.sync_requested"
    OrgSynced "org.synced"
    OrgTokenRefreshed "org.token_refreshed"
    PasskeyAdded "passkey.added"
    PasskeyCopyRefused "passkey.copy_refused"
    PasskeyRemoved "passkey.removed"
    PasskeyRenamed "passkey.renamed"
    PasswordChanged "password.changed"
    PasswordReset "password.reset"
    PolicyAcknowledged "policy.acknowledged"
    PolicyPublished "policy.published"
    PricesChanged "prices.changed"
    QuestionAnswered "question.answered"
    QuestionAsked "question.asked"
    RecoveryCodesRenewed "recovery_codes.renewed"
    SecondFactorAdded "second_factor.added"
    SecondFactorRefused "second_factor.refused"
    SecondFactorRemoved "second_factor.removed"
    SessionConfirmed "session.confirmed"
    SessionEnded "session.ended"
    SessionStarted "session.started"
    SessionWaiting "session.waiting"
    SsoChanged "sso.changed"
    SsoLinked "sso.linked"
    SsoUnlinked "sso.unlinked"
    TokenCreated "token.created"
    TokenRevoked "token.revoked"
    ValidationAllowed "validation.allowed"
    ValidationRequested "validation.requested"
    WorkspaceCreated "workspace.created"
    WorkspaceQuotaChanged "workspace.quota_changed"
    WorkspaceRenamed "workspace.renamed"
    WorkspaceRestricted "workspace.restricted"
    WorkspaceTransferred "workspace.transferred"
    WorkspaceUnrestricted "workspace.unrestricted"
}

/// One link of the chain. No contents: `target` is an id or an API name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    pub target: String,
    pub workspace: Option<WorkspaceId>,
    pub request: Option<RequestId>,
    /// SHA-256, hex, over the previous hash and this line without its hash.
    pub hash: String,
}

/// The end of the chain as last committed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Head {
    pub line: u64,
    pub hash: String,
    /// HMAC-SHA256 under the file's audit key over line number and hash, hex.
    pub mac: String,
}

/// What a caller knows of an act; the chain adds the hash.
#[derive(Clone, Debug)]
pub struct Entry {
    pub at: Timestamp,
    pub actor: Actor,
    pub action: Action,
    pub target: String,
    pub workspace: Option<WorkspaceId>,
    pub request: Option<RequestId>,
}

/// Where verification stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The hash of this line does not follow from the one before it.
    Link(u64),
    /// Lines behind this number are missing, or the head was replaced.
    Tail(u64),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Link(line) => write!(f, "the audit chain is broken at line {line}"),
            Self::Tail(line) => write!(f, "the audit chain ends at line {line}, lines behind it were cut"),
        }
    }
}

/// Appends one line to the chain of the file that `tx` changes.
pub fn append(tx: &mut Tx, key: &SubKey, entry: Entry) -> Result<u64, StoreError> {
    let head = tx.get(&AUDIT_HEAD, &0)?;
    let (line, before) = head.map_or((1, String::new()), |h| (h.line + 1, h.hash));
    let Entry { at, actor, action, target, workspace, request } = entry;
    let mut event = AuditEvent { at, actor, action, target, workspace, request, hash: String::new() };
    event.hash = link(&before, &event)?;
    tx.put(&AUDIT, &line, &event)?;
    let head = Head { line, mac: mac(key, line, &event.hash), hash: event.hash };
    tx.put(&AUDIT_HEAD, &0, &head)?;
    Ok(line)
}

/// Walks the chain; answers how many lines hold, or the first place that does not.
pub fn verify(from: &impl Read, key: &SubKey) -> Result<Result<u64, Broken>, StoreError> {
    let (mut before, mut last, mut broken) = (String::new(), 0, None);
    let mut failure = None;
    from.scan(&AUDIT).each(|line, event| {
        let expected = link(&before, &AuditEvent { hash: String::new(), ..event.clone() });
        match expected {
            Ok(hash) if line == last + 1 && hash == event.hash => {}
            Ok(_) => broken = Some(Broken::Link(line)),
            Err(e) => failure = Some(e),
        }
        (before, last) = (event.hash, line);
        broken.is_none() && failure.is_none()
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    if let Some(broken) = broken {
        return Ok(Err(broken));
    }
    match from.get(&AUDIT_HEAD, &0)? {
        None if last == 0 => Ok(Ok(0)),
        Some(head) if head.line == last && head.hash == before && head.mac == mac(key, last, &before) => {
            Ok(Ok(last))
        }
        _ => Ok(Err(Broken::Tail(last))),
    }
}

fn link(before: &str, event: &AuditEvent) -> Result<String, StoreError> {
    let json = serde_json::to_vec(event)
        .map_err(|e| StoreError::Encoding { table: AUDIT.name, why: e.to_string() })?;
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before.as_bytes());
    context.update(&json);
    Ok(hex(context.finish().as_ref()))
}

fn mac(key: &SubKey, line: u64, hash: &str) -> String {
    hex(&key.lookup(format!("audit head {line} {hash}").as_bytes()))
}
