//! Invitations: a role in a workspace, offered to one e-mail address. The link is 256 random bits that are kept as a
//! keyed hash; it works once, for seven days, and using it up, the account and the membership are one commit.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, ADDRESSES, Email};
use super::control::{Control, ControlTx};
use super::memberships::{MEMBERSHIPS, Role, WORKSPACES, WorkspaceRow};
use crate::ids::{AccountId, InvitationId, MailId, WorkspaceId};
use crate::seal::Secret;
use crate::store::{Read, StoreError, Table};

pub const INVITATIONS: Table<(WorkspaceId, InvitationId), Invitation> = Table::new("invitations", 1);
/// Keyed hash of a link's token -> what it opens.
pub const INVITATION_LINKS: Table<[u8; 32], (WorkspaceId, InvitationId)> = Table::new("invitation_links", 1);

/// A link works for this long.
pub const LASTS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Addresses in one go.
pub const AT_ONCE: usize = 100;
/// Links of a workspace that may be made in a day: mails to strangers go out in its name.
const A_DAY: usize = 500;
/// Who has not come is reminded once, when so much of the time is left.
const REMINDED_BEFORE: SignedDuration = SignedDuration::from_hours(48);
/// Who came is listed for so long.
const LISTED_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The same address gets the next link after this long at the earliest.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// What has ended for this long is forgotten: it holds the address of somebody who did not come.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A seat offered to an address.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Invitation {
    pub email: Email,
    pub role: Role,
    /// Who made its link.
    pub by: AccountId,
    /// When its link was made.
    pub sent: Timestamp,
    pub ends: Timestamp,
    /// The mail that carries the link, when it went out by mail.
    #[serde(default)]
    pub mail: Option<MailId>,
    /// Keyed hash of the link's token.
    link: [u8; 32],
    /// The same of the link in the reminder; both work until one is used.
    #[serde(default)]
    reminder: Option<[u8; 32]>,
    /// When somebody joined with it; its links open nothing since.
    #[serde(default)]
    pub accepted: Option<Timestamp>,
}

/// A link that was just made: the token is known here and nowhere else.
pub struct Issued {
    pub id: InvitationId,
    /// The mail with the link that this one replaces.
    pub replaces: Option<MailId>,
    pub email: Email,
    pub role: Role,
    pub token: Secret,
    pub ends: Timestamp,
}

/// An address that was not invited, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct NotInvited {
    pub email: Email,
    pub why: &'static str,
}

/// What a link opens.
#[derive(Debug)]
pub struct Offer {
    pub workspace: WorkspaceRow,
    pub invitation: Invitation,
    /// The name of who sent it.
    pub invited_by: String,
}

impl Control {
    /// Offers a role to every address that has none and no open invitation. An invitation that has ended is made anew.
    pub fn invite(
        &self,
        tx: &mut ControlTx,
        by: AccountId,
        workspace: WorkspaceId,
        role: Role,
        addresses: Vec<Email>,
    ) -> Result<Vec<Result<Issued, NotInvited>>, IdentityError> {
        Self::may_manage(tx, by, workspace, role)?;
        self.forget_ended_invitations(tx, workspace)?;
        let now = self.clock().now();
        let kept = tx.scan(&INVITATIONS).under(&workspace).rows()?;
        let fresh = kept.iter().filter(|(_, row)| now.duration_since(row.sent).as_hours() < 24).count();
        let mut left = A_DAY.saturating_sub(fresh);
        let mut known: HashMap<String, (InvitationId, Invitation)> =
            kept.into_iter().map(|((_, id), row)| (row.email.key(), (id, row))).collect();
        let mut results = Vec::new();
        for email in addresses {
            let refused = |email, why| Err(NotInvited { email, why });
            let known = known.remove(&email.key());
            let member = match tx.get(&ADDRESSES, &email.key())? {
                Some(account) => tx.has(&MEMBERSHIPS, &(account, workspace))?,
                None => false,
            };
            results.push(if member {
                refused(email, "is a member already")
            } else if known.as_ref().is_some_and(|(_, row)| row.ends > now && row.accepted.is_none()) {
                refused(email, "is invited already; send the invitation again below")
            } else if left == 0 {
                refused(email, "was not invited: 500 invitations a day is the most; try again tomorrow")
            } else {
                left -= 1;
                let id = match known {
                    Some((id, row)) => {
                        drop_links(tx, &row)?;
                        id
                    }
                    None => InvitationId::new(self.clock(), self.random()),
                };
                Ok(self.issue(tx, by, workspace, id, email, role)?)
            });
        }
        Ok(results)
    }

    /// Makes a new link for an invitation; the old one opens nothing any more.
    pub fn invite_again(
        &self,
        tx: &mut ControlTx,
        by: AccountId,
        workspace: WorkspaceId,
        id: InvitationId,
    ) -> Result<Issued, IdentityError> {
        let row = open_invitation(tx, workspace, id)?;
        Self::may_manage(tx, by, workspace, row.role)?;
        let since = self.clock().now().duration_since(row.sent);
        if since < AGAIN_AFTER {
            let wait = AGAIN_AFTER.saturating_sub(since).as_secs().max(1);
            return Err(IdentityError::TooMany(wait.unsigned_abs()));
        }
        drop_links(tx, &row)?;
        let issued = self.issue(tx, by, workspace, id, row.email, row.role)?;
        Ok(Issued { replaces: row.mail, ..issued })
    }

    fn issue(
        &self,
        tx: &mut ControlTx,
        by: AccountId,
        workspace: WorkspaceId,
        id: InvitationId,
        email: Email,
        role: Role,
    ) -> Result<Issued, IdentityError> {
        let token = URL_SAFE_NO_PAD.encode(self.random().bytes::<32>());
        let (sent, link) = (self.clock().now(), self.link_of(&token));
        let ends = sent.checked_add(LASTS).unwrap_or(Timestamp::MAX);
        tx.put(&INVITATION_LINKS, &link, &(workspace, id))?;
        let row = Invitation {
            email: email.clone(),
            role,
            by,
            sent,
            ends,
            mail: None,
            link,
            reminder: None,
            accepted: None,
        };
        tx.put(&INVITATIONS, &(workspace, id), &row)?;
        Ok(Issued { id, replaces: None, email, role, token: Secret::new(token), ends })
    }

    /// Keeps which mail carries the link of an invitation that was just issued.
    pub fn mailed_invitation(
        tx: &mut ControlTx,
        workspace: WorkspaceId,
        id: InvitationId,
        mail: MailId,
    ) -> Result<(), IdentityError> {
        let row = tx.get(&INVITATIONS, &(workspace, id))?.ok_or(IdentityError::NoSuchInvitation)?;
        Ok(tx.put(&INVITATIONS, &(workspace, id), &Invitation { mail: Some(mail), ..row })?)
    }

    /// Withdraws an invitation; its link opens nothing any more.
    pub fn withdraw_invitation(
        &self,
        tx: &mut ControlTx,
        by: AccountId,
        workspace: WorkspaceId,
        id: InvitationId,
    ) -> Result<Invitation, IdentityError> {
        let row = open_invitation(tx, workspace, id)?;
        Self::may_manage(tx, by, workspace, row.role)?;
        drop_invitation(tx, workspace, id, &row)?;
        Ok(row)
    }

    /// Withdraws every invitation of a workspace that an account sent and may send no more: those above `highest`,
    /// or all. Who is removed can't come back by a link that they kept.
    pub(super) fn withdraw_invitations_by(
        tx: &mut ControlTx,
        account: AccountId,
        workspace: WorkspaceId,
        highest: Option<Role>,
    ) -> Result<(), StoreError> {
        for ((_, id), row) in tx.scan(&INVITATIONS).under(&workspace).rows()? {
            if row.by == account && highest.is_none_or(|highest| row.role > highest) {
                drop_invitation(tx, workspace, id, &row)?;
            }
        }
        Ok(())
    }

    /// What a link opens. Wrong, used, replaced, withdrawn and ended links answer alike. Uses nothing up.
    pub fn offer(&self, token: &str) -> Result<Offer, IdentityError> {
        let read = self.read()?;
        let (id, invitation) = self.opened(&read, token)?;
        let workspace = read.get(&WORKSPACES, &id.0)?.ok_or(IdentityError::NoSuchInvitation)?;
        let invited_by = read.get(&ACCOUNTS, &invitation.by)?.map(|a| a.name).unwrap_or_default();
        Ok(Offer { workspace, invitation, invited_by })
    }

    fn opened(
        &self,
        read: &impl Read,
        token: &str,
    ) -> Result<((WorkspaceId, InvitationId), Invitation), IdentityError> {
        let id = read.get(&INVITATION_LINKS, &self.link_of(token))?;
        let id = id.ok_or(IdentityError::NoSuchInvitation)?;
        let row = read.get(&INVITATIONS, &id)?.filter(|row| row.ends > self.clock().now());
        Ok((id, row.ok_or(IdentityError::NoSuchInvitation)?))
    }

    /// Uses up a link for an account whose address it is for, inside the change that may also make the account. Who
    /// is a member already stays what they are.
    pub fn accept_invitation(
        &self,
        tx: &mut ControlTx,
        token: &str,
        account: AccountId,
    ) -> Result<(WorkspaceId, InvitationId, Invitation), IdentityError> {
        let ((workspace, id), invitation) = self.opened(tx, token)?;
        let person = tx.get(&ACCOUNTS, &account)?.ok_or(IdentityError::NotSignedIn)?;
        if person.email.key() != invitation.email.key() {
            return Err(IdentityError::OtherAddress);
        }
        if !tx.has(&MEMBERSHIPS, &(account, workspace))? {
            if Self::member_quota_left(tx, workspace)? == 0 {
                return Err(IdentityError::Invalid(
                    "This workspace has as many members as it may have. Ask who invited you; the invitation was \
                     not used up."
                        .into(),
                ));
            }
            self.put_member(tx, workspace, account, invitation.role)?;
        }
        drop_links(tx, &invitation)?;
        let accepted = Some(self.clock().now());
        tx.put(&INVITATIONS, &(workspace, id), &Invitation { accepted, ..invitation.clone() })?;
        Ok((workspace, id, invitation))
    }

    /// The invitations of a workspace that nobody has accepted, newest first.
    pub fn invitations_of(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<(InvitationId, Invitation)>, StoreError> {
        let mut rows = self.all_invitations_of(workspace)?;
        rows.retain(|(_, row)| row.accepted.is_none());
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.sent));
        Ok(rows)
    }

    /// Those that were accepted in the last seven days, newest first.
    pub fn accepted_invitations_of(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<(InvitationId, Invitation)>, StoreError> {
        let (now, mut rows) = (self.clock().now(), self.all_invitations_of(workspace)?);
        rows.retain(|(_, row)| row.accepted.is_some_and(|at| now.duration_since(at) <= LISTED_AFTER));
        rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.accepted));
        Ok(rows)
    }

    fn all_invitations_of(
        &self,
        workspace: WorkspaceId,
    ) -> Result<Vec<(InvitationId, Invitation)>, StoreError> {
        let rows = self.read()?.scan(&INVITATIONS).under(&workspace).rows()?;
        Ok(rows.into_iter().map(|((_, id), row)| (id, row)).collect())
    }

    /// The invitations that went out by mail, are two days from their end and got no reminder, of all workspaces; each with
    /// its mail.
    pub fn due_reminders(&self) -> Result<Vec<(WorkspaceId, InvitationId, MailId)>, StoreError> {
        let (now, mut due) = (self.clock().now(), Vec::new());
        self.read()?.scan(&INVITATIONS).each(|(workspace, id), row| {
            let mail = row.mail.filter(|_| row.wants_reminder(now));
            due.extend(mail.map(|mail| (workspace, id, mail)));
            true
        })?;
        Ok(due)
    }

    /// Makes the link of a reminder inside a change, if it is still due; `mail` carries it. The first link goes on working.
    pub fn remind(
        &self,
        tx: &mut ControlTx,
        workspace: WorkspaceId,
        id: InvitationId,
        mail: MailId,
    ) -> Result<Option<(Secret, Invitation)>, StoreError> {
        let due = tx.get(&INVITATIONS, &(workspace, id))?;
        let Some(row) = due.filter(|row| row.wants_reminder(self.clock().now())) else { return Ok(None) };
        let token = URL_SAFE_NO_PAD.encode(self.random().bytes::<32>());
        let link = self.link_of(&token);
        tx.put(&INVITATION_LINKS, &link, &(workspace, id))?;
        let reminded = Invitation { reminder: Some(link), mail: Some(mail), ..row.clone() };
        tx.put(&INVITATIONS, &(workspace, id), &reminded)?;
        Ok(Some((Secret::new(token), row)))
    }

    /// Forgets what has ended, or was accepted, long enough ago; answers how many there were.
    pub(super) fn forget_ended_invitations(
        &self,
        tx: &mut ControlTx,
        workspace: WorkspaceId,
    ) -> Result<usize, StoreError> {
        let now = self.clock().now();
        let mut ended = tx.scan(&INVITATIONS).under(&workspace).rows()?;
        ended.retain(|(_, row)| row.is_forgotten(now));
        for ((_, id), row) in &ended {
            drop_invitation(tx, workspace, *id, row)?;
        }
        Ok(ended.len())
    }

    fn link_of(&self, token: &str) -> [u8; 32] {
        self.lookups().lookup(format!("invitation {token}").as_bytes())
    }
}

/// Withdraws every invitation of a workspace; answers the mails that carry their links.
pub(super) fn withdraw_all(tx: &mut ControlTx, workspace: WorkspaceId) -> Result<Vec<MailId>, StoreError> {
    let mut mails = Vec::new();
    for ((_, id), row) in tx.scan(&INVITATIONS).under(&workspace).rows()? {
        mails.extend(row.mail);
        drop_invitation(tx, workspace, id, &row)?;
    }
    Ok(mails)
}

impl Invitation {
    fn wants_reminder(&self, now: Timestamp) -> bool {
        let left = self.ends.duration_since(now);
        let open = self.accepted.is_none() && self.reminder.is_none() && left.is_positive();
        open && self.mail.is_some() && left <= REMINDED_BEFORE
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        let listed = self.accepted.is_none_or(|at| now.duration_since(at) <= LISTED_AFTER);
        now.duration_since(self.ends) > FORGOTTEN_AFTER || !listed
    }
}

/// An invitation that nobody has accepted.
fn open_invitation(
    tx: &ControlTx,
    workspace: WorkspaceId,
    id: InvitationId,
) -> Result<Invitation, IdentityError> {
    let row = tx.get(&INVITATIONS, &(workspace, id))?.filter(|row| row.accepted.is_none());
    row.ok_or(IdentityError::NoSuchInvitation)
}

/// Drops an invitation that names somebody who is erased.
pub(super) fn forget(tx: &mut ControlTx, workspace: WorkspaceId, id: InvitationId) -> Result<(), StoreError> {
    match tx.get(&INVITATIONS, &(workspace, id))? {
        Some(row) => drop_invitation(tx, workspace, id, &row),
        None => Ok(()),
    }
}

fn drop_invitation(
    tx: &mut ControlTx,
    workspace: WorkspaceId,
    id: InvitationId,
    row: &Invitation,
) -> Result<(), StoreError> {
    drop_links(tx, row)?;
    tx.remove(&INVITATIONS, &(workspace, id)).map(|_| ())
}

/// Its links open nothing any more.
fn drop_links(tx: &mut ControlTx, row: &Invitation) -> Result<(), StoreError> {
    for link in [Some(row.link), row.reminder].into_iter().flatten() {
        tx.remove(&INVITATION_LINKS, &link)?;
    }
    Ok(())
}
