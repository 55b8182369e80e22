//! The audit chain of a file: one line for every change, committed with it. Each line's hash covers the
//! line and the hash before it; the head is kept under a keyed MAC, so that cutting the tail shows. Every so often a line
//! is sealed as a checkpoint, which is under the same key: whoever has no key can't write a piece of the chain anew.
//! `verify` walks a chain in ranges, `prune` lets old lines go and leaves a checkpoint in their place.

pub mod prune;
pub mod verify;

use jiff::{SignedDuration, Timestamp};
use ring::digest;
use serde::{Deserialize, Serialize};

use super::{Read, StoreError, Table, Tx};
use crate::ids::{AccountId, ApiTokenId, JobId, RequestId, WorkspaceId};
use crate::seal::{SubKey, constant_time_eq, hex};

/// The lines, by number from 1.
pub const AUDIT: Table<u64, AuditEvent> = Table::new("audit", 1);
/// The newest line, sealed by a MAC (one row).
pub const AUDIT_HEAD: Table<u8, Head> = Table::new("audit_head", 1);
/// Sealed lines by their number. The first is where the chain begins, once lines were pruned.
pub const AUDIT_CHECKPOINTS: Table<u64, Checkpoint> = Table::new("audit_checkpoints", 1);

/// Lines from one checkpoint to the next, at most.
const APART: u64 = 1_000;
/// The longest from one checkpoint to the next while lines are added.
const APART_IN_TIME: SignedDuration = SignedDuration::from_hours(24);

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
    AccountDataTaken "account.data_taken"
    AccountDeletionStarted "account.deletion_started"
    AccountDeletionStopped "account.deletion_stopped"
    AccountErased "account.erased"
    AccountResetAsked "account.reset_asked"
    AccountResetByOperator "account.reset_by_operator"
    AccountRestricted "account.restricted"
    AccountResumed "account.resumed"
    AccountSuspended "account.suspended"
    AuditPruned "audit.pruned"
    AuditVerificationAsked "audit.verification_asked"
    AuditVerified "audit.verified"
    BackupFailed "backup.failed"
    BackupMade "backup.made"
    BackupPlanChanged "backup.plan_changed"
    BackupRemoved "backup.removed"
    AccountUnrestricted "account.unrestricted"
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
    ExportAsked "export.asked"
    ExportDownloaded "export.downloaded"
    ExportMade "export.made"
    ExportRemoved "export.removed"
    FindingsUpdated "findings.updated"
    InstanceRestored "instance.restored"
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
    OrgForgotten "org.forgotten"
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
    RetentionApplied "retention.applied"
    RetentionChanged "retention.changed"
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
    WorkspaceDeletionStarted "workspace.deletion_started"
    WorkspaceDeletionStopped "workspace.deletion_stopped"
    WorkspaceErased "workspace.erased"
    WorkspaceErasureBegun "workspace.erasure_begun"
    WorkspaceImported "workspace.imported"
    WorkspaceQuotaChanged "workspace.quota_changed"
    WorkspaceRenamed "workspace.renamed"
    WorkspaceRestricted "workspace.restricted"
    WorkspaceTransferred "workspace.transferred"
    WorkspaceUnrestricted "workspace.unrestricted"
}

impl Action {
    /// Whether it removes people's data for good: what it leaves in unused pages is taken off the disk soon.
    pub const fn removes(self) -> bool {
        matches!(
            self,
            Self::AccountErased
                | Self::ChangeSetDiscarded
                | Self::ConversationDeleted
                | Self::DocumentErased
                | Self::InvitationRevoked
                | Self::MailDropped
                | Self::OrgDisconnected
                | Self::OrgForgotten
                | Self::RetentionApplied
                | Self::WorkspaceErased
        )
    }
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
    /// HMAC-SHA256 under the file's audit key over line number, hash and newest checkpoint, hex.
    pub mac: String,
    /// `None` in a chain to which no line was added since there are checkpoints.
    #[serde(default)]
    pub checkpoint: Option<Newest>,
}

/// The newest checkpoint of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    pub line: u64,
    pub at: Timestamp,
}

/// A line as it was sealed: who has no key can't change it, nor what stands before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub at: Timestamp,
    /// The hash of the line.
    pub hash: String,
    /// The line of the checkpoint before it, 0 = none.
    pub after: u64,
    /// The line and all before it were pruned: the chain begins behind it.
    pub pruned: bool,
    /// HMAC-SHA256 under the file's audit key over the line number and all of the above, hex.
    pub mac: String,
}

impl Checkpoint {
    fn sealed(mut self, key: &SubKey, line: u64) -> Self {
        self.mac = self.expected_mac(key, line);
        self
    }

    fn expected_mac(&self, key: &SubKey, line: u64) -> String {
        let Self { at, hash, after, pruned, .. } = self;
        keyed(key, &format!("audit checkpoint {line} {hash} {at} after {after} pruned {pruned}"))
    }

    /// Whether it was made with the key, for this line.
    pub fn holds(&self, key: &SubKey, line: u64) -> bool {
        constant_time_eq(self.mac.as_bytes(), self.expected_mac(key, line).as_bytes())
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The checkpoint at this line was not made with the key, or sealed another line: up to it, lines were replaced.
    Checkpoint(u64),
    /// The hash of this line does not follow from the one before it.
    Link(u64),
    /// Lines behind this number are missing, or the head was replaced.
    Tail(u64),
}

impl Broken {
    /// The line that is named.
    pub const fn line(self) -> u64 {
        let (Self::Checkpoint(line) | Self::Link(line) | Self::Tail(line)) = self;
        line
    }

    /// The time that line says, while it can be read.
    pub fn at(self, read: &impl Read) -> Option<Timestamp> {
        read.get(&AUDIT, &self.line()).ok().flatten().map(|event| event.at)
    }
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Checkpoint(line) => {
                write!(f, "the audit chain is not the one that was sealed at line {line}")
            }
            Self::Link(line) => write!(f, "the audit chain is broken at line {line}"),
            Self::Tail(line) => write!(f, "the audit chain ends at line {line}, lines behind it were cut"),
        }
    }
}

/// Appends one line to the chain of the file that `tx` changes; answers its number.
pub fn append(tx: &mut Tx, key: &SubKey, entry: Entry) -> Result<u64, StoreError> {
    add(tx, key, entry, false)
}

/// Appends a line, which becomes a checkpoint when one is due or `seal` asks for it.
fn add(tx: &mut Tx, key: &SubKey, entry: Entry, seal: bool) -> Result<u64, StoreError> {
    let head = tx.get(&AUDIT_HEAD, &0)?;
    let (line, before, mut newest) =
        head.map_or((1, String::new(), None), |h| (h.line + 1, h.hash, h.checkpoint));
    let Entry { at, actor, action, target, workspace, request } = entry;
    let mut event = AuditEvent { at, actor, action, target, workspace, request, hash: String::new() };
    event.hash = link(&before, &event)?;
    tx.put(&AUDIT, &line, &event)?;
    let hash = event.hash;
    if seal || is_due(newest, line, at) {
        let after = newest.map_or(0, |n| n.line);
        let checkpoint = Checkpoint { at, hash: hash.clone(), after, pruned: false, mac: String::new() };
        tx.put(&AUDIT_CHECKPOINTS, &line, &checkpoint.sealed(key, line))?;
        newest = Some(Newest { line, at });
    }
    let head = Head { line, mac: head_mac(key, line, &hash, newest), hash, checkpoint: newest };
    tx.put(&AUDIT_HEAD, &0, &head)?;
    Ok(line)
}

fn is_due(newest: Option<Newest>, line: u64, at: Timestamp) -> bool {
    newest.is_none_or(|n| line - n.line >= APART || at.duration_since(n.at) >= APART_IN_TIME)
}

/// Whether a line was written behind the one with the hash `before` (empty for the first).
pub fn follows(before: &str, event: &AuditEvent) -> Result<bool, StoreError> {
    Ok(link(before, &AuditEvent { hash: String::new(), ..event.clone() })? == event.hash)
}

/// The hash of `event`, whose own is empty, behind the line with the hash `before` (empty = the first line), hex.
pub(crate) fn link(before: &str, event: &AuditEvent) -> Result<String, StoreError> {
    let json = serde_json::to_vec(event)
        .map_err(|e| StoreError::Encoding { table: AUDIT.name, why: e.to_string() })?;
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(before.as_bytes());
    context.update(&json);
    Ok(hex(context.finish().as_ref()))
}

/// The MAC of a head without a checkpoint, hex.
pub(crate) fn mac(key: &SubKey, line: u64, hash: &str) -> String {
    keyed(key, &format!("audit head {line} {hash}"))
}

fn head_mac(key: &SubKey, line: u64, hash: &str, newest: Option<Newest>) -> String {
    match newest {
        None => mac(key, line, hash),
        Some(Newest { line: n, at }) => keyed(key, &format!("audit head {line} {hash} checkpoint {n} {at}")),
    }
}

fn keyed(key: &SubKey, text: &str) -> String {
    hex(&key.lookup(text.as_bytes()))
}
