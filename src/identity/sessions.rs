//! Signed-in browser sessions, and the one proof of who is asking.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::accounts::{ACCOUNTS, Account, AccountState, Email};
use super::control::{Control, Note};
use super::tokens::Scope;
use super::{IdentityError, password};
use crate::ids::{AccountId, ApiTokenId, RequestId, SessionId, WorkspaceId};
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// Keyed hash of the cookie -> session. The cookie itself is stored nowhere.
pub const SESSIONS: Table<[u8; 32], Session> = Table::new("sessions", 1);

/// A session ends after this long without a request,
pub const IDLE: SignedDuration = SignedDuration::from_hours(12);
/// and in any case after this long.
pub const ABSOLUTE: SignedDuration = SignedDuration::from_hours(24 * 7);
/// `seen` is written at most this often: a write costs an fsync.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub id: SessionId,
    pub account: AccountId,
    pub created: Timestamp,
    pub seen: Timestamp,
    /// Address of the browser, for the person's own list of sessions.
    pub address: String,
    pub user_agent: String,
}

/// The value of the session cookie: 256 random bits, base64url.
pub struct SessionToken(Secret);

impl SessionToken {
    pub fn new(text: String) -> Self {
        Self(Secret::new(text))
    }

    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Proof that a request comes from an account. Only this module makes one.
#[derive(Clone, Debug)]
pub struct SignedIn {
    account: AccountId,
    person: Account,
    via: Via,
}

/// How the account proved itself.
#[derive(Clone, Debug)]
pub enum Via {
    Session { id: SessionId, csrf: String, seen: Timestamp },
    Token { id: ApiTokenId, workspace: WorkspaceId, scopes: Vec<Scope> },
}

impl SignedIn {
    pub(super) fn by_token(
        account: AccountId,
        person: Account,
        id: ApiTokenId,
        workspace: WorkspaceId,
        scopes: Vec<Scope>,
    ) -> Self {
        Self { account, person, via: Via::Token { id, workspace, scopes } }
    }

    pub fn account(&self) -> AccountId {
        self.account
    }

    pub fn person(&self) -> &Account {
        &self.person
    }

    pub fn via(&self) -> &Via {
        &self.via
    }

    /// Who the audit log names.
    pub fn actor(&self) -> Actor {
        match &self.via {
            Via::Session { .. } => Actor::Account { id: self.account },
            Via::Token { id, .. } => Actor::Token { id: *id, account: self.account },
        }
    }

    /// The value that forms of this session must carry; empty for a token, which sends no forms.
    pub fn csrf(&self) -> &str {
        match &self.via {
            Via::Session { csrf, .. } => csrf,
            Via::Token { .. } => "",
        }
    }

    pub fn has(&self, scope: Scope) -> bool {
        match &self.via {
            Via::Session { .. } => true,
            Via::Token { scopes, .. } => scopes.contains(&scope),
        }
    }
}

/// Where a sign-in comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub address: String,
    pub user_agent: String,
    pub request: Option<RequestId>,
}

impl Control {
    /// Checks the pair and starts a session. One argon2 verification on every path; call it on a blocking
    /// thread.
    pub fn sign_in(&self, email: &str, secret: &Secret, from: Origin) -> Result<SessionToken, IdentityError> {
        let known = match email.parse::<Email>() {
            Ok(email) => self.account_by_address(&email)?,
            Err(_) => None,
        };
        let stored = known.as_ref().and_then(|(_, account)| account.password.as_deref());
        let right = password::verify(secret, stored);
        match known {
            Some((id, account))
                if right && account.state == AccountState::Active && !account.is_over(self.clock().now()) =>
            {
                self.start_session(id, from)
            }
            _ => Err(IdentityError::WrongCredentials),
        }
    }

    /// Starts a session for an account that proved itself otherwise (first account, demo link).
    pub fn start_session(&self, account: AccountId, from: Origin) -> Result<SessionToken, IdentityError> {
        let token = URL_SAFE_NO_PAD.encode(self.random().bytes::<32>());
        let now = self.clock().now();
        let session = Session {
            id: SessionId::new(self.clock(), self.random()),
            account,
            created: now,
            seen: now,
            address: clip(&from.address, 64),
            user_agent: clip(&from.user_agent, 200),
        };
        let note = Note::new(Actor::Account { id: account }, Action::SessionStarted, session.id)
            .asked_by(from.request);
        let key = self.lookups().lookup(token.as_bytes());
        self.change_now(note, |tx| tx.put(&SESSIONS, &key, &session))?;
        Ok(SessionToken::new(token))
    }

    /// The account behind a cookie, if its session still lives and the account may sign in.
    pub fn session(&self, token: &SessionToken) -> Result<SignedIn, IdentityError> {
        let key = self.lookups().lookup(token.expose().as_bytes());
        let read = self.read()?;
        let session = read.get(&SESSIONS, &key)?.ok_or(IdentityError::NotSignedIn)?;
        let now = self.clock().now();
        if now.duration_since(session.seen) > IDLE || now.duration_since(session.created) > ABSOLUTE {
            return Err(IdentityError::NotSignedIn);
        }
        let person = read.get(&ACCOUNTS, &session.account)?.ok_or(IdentityError::NotSignedIn)?;
        if person.state != AccountState::Active || person.is_over(now) {
            return Err(IdentityError::NotSignedIn);
        }
        let csrf = URL_SAFE_NO_PAD.encode(self.lookups().lookup(format!("csrf {}", session.id).as_bytes()));
        let via = Via::Session { id: session.id, csrf, seen: session.seen };
        Ok(SignedIn { account: session.account, person, via })
    }

    /// Whether the session's `seen` is old enough to be written again.
    pub fn wants_seen(&self, who: &SignedIn) -> bool {
        matches!(who.via, Via::Session { seen, .. } if self.clock().now().duration_since(seen) > SEEN_EVERY)
    }

    /// Notes that the session was used, so that it does not end for idleness.
    pub fn mark_seen(&self, token: &SessionToken) -> Result<(), StoreError> {
        let key = self.lookups().lookup(token.expose().as_bytes());
        let now = self.clock().now();
        self.touch(|tx| match tx.get(&SESSIONS, &key)? {
            Some(session) => tx.put(&SESSIONS, &key, &Session { seen: now, ..session }),
            None => Ok(()),
        })
    }

    /// Ends one session.
    pub fn sign_out(&self, token: &SessionToken, who: &SignedIn) -> Result<(), StoreError> {
        let key = self.lookups().lookup(token.expose().as_bytes());
        self.change_now(Note::new(who.actor(), Action::SessionEnded, who.account), |tx| {
            tx.remove(&SESSIONS, &key).map(|_| ())
        })
    }
}

fn clip(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
