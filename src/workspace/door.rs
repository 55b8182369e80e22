//! The door: the only place where a workspace handle is made. A request shows its [`SignedIn`] proof and a
//! slug; membership and state are looked up now. A job gets the workspace it is stored in.
//!
//! A stronger role lends the weaker one,
//!
//! ```
//! use vynos::workspace::{Admin, Member};
//! fn upload(_: &Member) {}
//! fn handler(ws: Admin) {
//!     upload(&ws);
//! }
//! ```
//!
//! and never the other way round:
//!
//! ```compile_fail,E0308
//! use vynos::workspace::{Admin, Member};
//! fn connect(_: &Admin) {}
//! fn handler(ws: Member) {
//!     connect(&ws);
//! }
//! ```
//!
//! A handle can be read through,
//!
//! ```
//! use vynos::store::{Snapshot, StoreError};
//! use vynos::workspace::Viewer;
//! fn handler(ws: &Viewer) -> Result<Snapshot, StoreError> {
//!     ws.read()
//! }
//! ```
//!
//! but neither made, nor copied, nor opened up:
//!
//! ```compile_fail,E0451
//! fn forged(ws: vynos::workspace::Workspace) -> vynos::workspace::Worker {
//!     vynos::workspace::Worker { ws, restricted: false }
//! }
//! ```
//!
//! ```compile_fail,E0599
//! fn kept(ws: &vynos::workspace::Owner) -> vynos::workspace::Owner {
//!     ws.clone()
//! }
//! ```
//!
//! ```compile_fail,E0616
//! fn around(ws: &vynos::workspace::Workspace) {
//!     let _ = &ws.tenant;
//! }
//! ```

use std::ops::Deref;
use std::sync::Arc;

use super::pool::{DataError, Pool};
use super::{Tenant, Workspace};
use crate::identity::{Control, Restricted, Role, SignedIn, Via, WorkspaceRow, WorkspaceState};
use crate::ids::{AccountId, JobId, RequestId, WorkspaceId};
use crate::store::StoreError;
use crate::store::audit::Actor;

/// Why the door stays shut.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Data(#[from] DataError),
    /// It is to be deleted: an owner may read it and keep it, others may nothing.
    #[error("this workspace is about to be deleted")]
    Deleting { slug: String, owner: bool },
    /// The workspace is visible, the act is not allowed; the role that may is named.
    #[error("only a member with the role {0:?} or higher may do this")]
    Forbidden(Role),
    /// It was erased, and this person was in it.
    #[error("this workspace was deleted")]
    Gone,
    /// There is no such workspace for this account.
    #[error("no such workspace")]
    NotFound,
    /// Nothing may be processed; whose restriction that is.
    #[error("{0}")]
    Restricted(Restricted),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Data(error.into())
    }
}

/// Makes workspace handles.
#[derive(Clone)]
pub struct Door {
    control: Control,
    pool: Arc<Pool>,
}

/// A workspace somebody has entered, before a role was asked for.
pub struct Entered {
    tenant: Arc<Tenant>,
    row: WorkspaceRow,
    role: Role,
    actor: Actor,
    account: AccountId,
    restricted: Option<Restricted>,
    request: Option<RequestId>,
    /// Nothing will be changed: all that owners of a workspace which is to be deleted may ask for.
    reads: bool,
}

impl Door {
    pub fn new(control: Control, pool: Arc<Pool>) -> Self {
        Self { control, pool }
    }

    /// Lets a signed-in person or token into the workspace of a URL. What they may not see is not found.
    pub fn enter(&self, who: &SignedIn, slug: &str, request: Option<RequestId>) -> Result<Entered, Refused> {
        let Some((id, row)) = self.control.workspace_by_slug(slug)? else {
            return Err(self.gone(who, slug)?);
        };
        if let Via::Token { workspace, .. } = who.via()
            && *workspace != id
        {
            return Err(Refused::NotFound);
        }
        self.admit(who, id, row, request)
    }

    /// Lets an API token into its own workspace.
    pub fn enter_by_token(&self, who: &SignedIn, request: Option<RequestId>) -> Result<Entered, Refused> {
        let Via::Token { workspace, .. } = who.via() else { return Err(Refused::NotFound) };
        let row = self.control.workspace(*workspace)?.ok_or(Refused::NotFound)?;
        self.admit(who, *workspace, row, request)
    }

    fn admit(
        &self,
        who: &SignedIn,
        id: WorkspaceId,
        row: WorkspaceRow,
        request: Option<RequestId>,
    ) -> Result<Entered, Refused> {
        let role = self.control.role_in(who.account(), id)?.ok_or(Refused::NotFound)?;
        if row.is_over(self.control.clock().now()) {
            return Err(Refused::Gone);
        }
        let tenant = self.pool.tenant(id)?;
        let (account, restricted) = (who.account(), who.person().restricted());
        Ok(Entered { tenant, row, role, actor: who.actor(), account, restricted, request, reads: false })
    }

    /// Owners of an erased workspace are told that it is gone; for everybody else there never was one.
    fn gone(&self, who: &SignedIn, slug: &str) -> Result<Refused, StoreError> {
        let Some(id) = self.control.erased_slug(slug)? else { return Ok(Refused::NotFound) };
        let owned = self.control.erasure(id)?.is_some_and(|erased| erased.owners.contains(&who.account()));
        Ok(if owned { Refused::Gone } else { Refused::NotFound })
    }

    /// Whether somebody who entered with `role` still may be there with as much: for streams, which outlive the
    /// look-up of their request. Reads the control file only.
    pub fn still_admits(&self, who: &SignedIn, id: WorkspaceId, role: Role) -> Result<bool, StoreError> {
        let Some(row) = self.control.workspace(id)? else { return Ok(false) };
        let open = row.closing().is_none() || role == Role::Owner;
        let there = open && !row.is_over(self.control.clock().now());
        Ok(there && self.control.role_in(who.account(), id)?.is_some_and(|now| now >= role))
    }

    /// Whether the person who asked for a job still may: for jobs that run longer than the request that asked.
    pub fn still_asks(&self, account: AccountId, id: WorkspaceId, role: Role) -> Result<bool, StoreError> {
        let acts = self.control.account(account)?.is_some_and(|person| person.acts());
        Ok(acts && self.control.role_in(account, id)?.is_some_and(|now| now >= role))
    }

    /// Closes a workspace that was only looked at, if nobody is in it.
    pub fn let_go(&self, id: WorkspaceId) {
        self.pool.let_go(id);
    }

    /// Whether a workspace is to be deleted: most of its jobs wait.
    pub fn is_closing(&self, id: WorkspaceId) -> Result<bool, StoreError> {
        Ok(self.control.workspace(id)?.is_some_and(|row| row.closing().is_some()))
    }

    /// Hands a due job its workspace; `None` once the workspace is gone, or its 30 days are over.
    pub fn for_job(
        &self,
        id: WorkspaceId,
        job: JobId,
        asked_by: Option<AccountId>,
    ) -> Result<Option<Worker>, Refused> {
        let now = self.control.clock().now();
        if self.control.workspace(id)?.is_none_or(|row| row.is_over(now)) {
            return Ok(None);
        }
        self.worker(id, job, asked_by).map(Some)
    }

    /// Hands the eraser a workspace whose 30 days are over, for what is done before its key goes.
    pub fn for_erasure(&self, id: WorkspaceId, job: JobId) -> Result<Worker, Refused> {
        let now = self.control.clock().now();
        match self.control.workspace(id)? {
            Some(row) if row.is_over(now) => self.worker(id, job, row.closing().map(|closing| closing.by)),
            _ => Err(Refused::NotFound),
        }
    }

    fn worker(&self, id: WorkspaceId, job: JobId, asked_by: Option<AccountId>) -> Result<Worker, Refused> {
        let actor = Actor::Job { id: job, asked_by };
        let ws = Workspace { tenant: self.pool.tenant(id)?, actor, request: None };
        Ok(Worker { ws, control: self.control.clone() })
    }

    /// Lets the demo act as its one account; only data that carries the demo's mark opens.
    pub fn for_demo(&self, id: WorkspaceId, account: AccountId) -> Result<Admin, Refused> {
        let row = self.control.workspace(id)?.filter(|_| self.control.settings().is_ok_and(|s| s.demo));
        let row = row.ok_or(Refused::NotFound)?;
        let role = self.control.role_in(account, id)?.ok_or(Refused::NotFound)?;
        let actor = Actor::Account { id: account };
        let (tenant, restricted) = (self.pool.tenant(id)?, self.control.account_restriction(account)?);
        Entered { tenant, row, role, actor, account, restricted, request: None, reads: false }.admin()
    }

    /// The runner's own look at a workspace, to find what is due.
    pub fn for_runner(&self, id: WorkspaceId) -> Result<Workspace, Refused> {
        let now = self.control.clock().now();
        if self.control.workspace(id)?.is_none_or(|row| row.is_over(now)) {
            return Err(Refused::NotFound);
        }
        Ok(Workspace { tenant: self.pool.tenant(id)?, actor: Actor::Operator, request: None })
    }
}

impl Entered {
    pub fn id(&self) -> WorkspaceId {
        self.tenant.id
    }

    pub fn role(&self) -> Role {
        self.role
    }

    /// For a request that changes nothing: owners may make it also while the workspace is to be deleted.
    pub fn reading(self) -> Self {
        Self { reads: true, ..self }
    }

    /// An owner, also of a workspace that is to be deleted.
    pub fn keeper(self) -> Result<Keeper, Refused> {
        self.reading().owner().map(Keeper)
    }

    fn at_least(self, role: Role) -> Result<Viewer, Refused> {
        let owner = self.role == Role::Owner;
        if self.row.closing().is_some() && !(owner && self.reads) {
            return Err(Refused::Deleting { slug: self.row.slug, owner });
        }
        if self.role < role {
            return Err(Refused::Forbidden(role));
        }
        let Self { tenant, row, role, actor, account, restricted, request, reads: _ } = self;
        Ok(Viewer { ws: Workspace { tenant, actor, request }, row, role, account, restricted })
    }

    pub fn viewer(self) -> Result<Viewer, Refused> {
        self.at_least(Role::Viewer)
    }

    pub fn member(self) -> Result<Member, Refused> {
        self.at_least(Role::Member).map(Member)
    }

    pub fn admin(self) -> Result<Admin, Refused> {
        self.at_least(Role::Admin).map(|v| Admin(Member(v)))
    }

    pub fn owner(self) -> Result<Owner, Refused> {
        self.at_least(Role::Owner).map(|v| Owner(Admin(Member(v))))
    }
}

/// Somebody who may read the workspace. Lends the [`Workspace`].
pub struct Viewer {
    ws: Workspace,
    row: WorkspaceRow,
    role: Role,
    account: AccountId,
    restricted: Option<Restricted>,
}

impl Viewer {
    /// Name, slug and state of the workspace.
    pub fn row(&self) -> &WorkspaceRow {
        &self.row
    }

    /// The role the person really has: for what a page shows, not for what it may do.
    pub fn role(&self) -> Role {
        self.role
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    /// Leave to begin what sends, syncs or analyses.
    pub fn processing(&self) -> Result<Processing, Refused> {
        Processing::of(&self.row, self.restricted)
    }
}

/// Proof that processing is restricted neither in a workspace nor for the one who acts there: whatever queues work that sends, syncs or analyses asks for it.
pub struct Processing(());

impl Processing {
    fn of(row: &WorkspaceRow, account: Option<Restricted>) -> Result<Self, Refused> {
        let workspace = match row.state {
            WorkspaceState::Active => None,
            WorkspaceState::Deleting(_) => {
                return Err(Refused::Deleting { slug: row.slug.clone(), owner: true });
            }
            WorkspaceState::Restricted => Some(Restricted::Workspace),
        };
        workspace.or(account).map_or(Ok(Self(())), |restricted| Err(Refused::Restricted(restricted)))
    }
}

/// Somebody who may chat, upload, draft and validate. Lends the [`Viewer`].
pub struct Member(Viewer);
/// Somebody who may connect orgs and change settings. Lends the [`Member`].
pub struct Admin(Member);
/// Somebody who may do everything in the workspace. Lends the [`Admin`].
pub struct Owner(Admin);
/// An owner, also while the workspace is to be deleted: for taking its data away and for keeping it. Lends the [`Owner`].
pub struct Keeper(Owner);

/// A job in its workspace.
pub struct Worker {
    ws: Workspace,
    control: Control,
}

impl Worker {
    /// Leave to go on with what sends, syncs or analyses; looked up each time, because jobs run long.
    pub fn processing(&self) -> Result<Processing, Refused> {
        let row = self.control.workspace(self.ws.id())?.ok_or(Refused::NotFound)?;
        Processing::of(&row, self.asker_restricted()?)
    }

    /// Why nothing may be sent, synced or analysed: processing is restricted, or can't be known not to be.
    pub fn hindered(&self) -> Option<Refused> {
        self.processing().err()
    }

    /// Who asked for the job, as the meter may know them: nobody while that person's processing is restricted.
    pub fn counted(&self) -> Option<AccountId> {
        let restricted = self.asker_restricted().map_or(true, |restricted| restricted.is_some());
        self.ws.actor().account().filter(|_| !restricted)
    }

    fn asker_restricted(&self) -> Result<Option<Restricted>, StoreError> {
        let asked_by = self.ws.actor().account();
        Ok(asked_by.map(|id| self.control.account_restriction(id)).transpose()?.flatten())
    }
}

impl Member {
    /// The same person as somebody who only reads: for a page that is drawn after an act.
    pub fn into_viewer(self) -> Viewer {
        self.0
    }
}

macro_rules! lends {
    ($($from:ident => $to:ident by $field:tt)*) => {$(
        impl Deref for $from {
            type Target = $to;
            fn deref(&self) -> &$to {
                &self.$field
            }
        }
    )*};
}
lends!(Viewer => Workspace by ws  Member => Viewer by 0  Admin => Member by 0  Owner => Admin by 0  Keeper => Owner by 0  Worker => Workspace by ws);
