//! Signed-in browser sessions, and the one proof of who is asking.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account, AccountState};
use super::control::{Control, ControlTx, Note};
use super::settings::SETTINGS;
use super::tokens::{ApiToken, Scope};
use crate::ids::{AccountId, ApiTokenId, RequestId, SessionId, WorkspaceId};
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// Keyed hash of the cookie -> session. The cookie itself is stored nowhere.
pub const SESSIONS: Table<[u8; 32], Session> = Table::new("sessions", 1);

/// Whose sessions are under which hash, so that nobody's list reads another's.
const SESSIONS_OF: Table<(AccountId, SessionId), [u8; 32]> = Table::new("sessions_of", 1);

/// Most sessions of an account at once: the oldest ends when another begins.
const MOST: usize = 50;
/// Dangerous acts ask for the password again when it was shown longer ago than this.
const CONFIRMED_FOR: SignedDuration = SignedDuration::from_mins(15);
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
    /// Waits for the second step of its sign-in: no session for anything else.
    #[serde(default)]
    pub waiting: bool,
    /// Wrong codes of that step.
    #[serde(default)]
    pub wrong: u8,
    /// When the person last proved who they are.
    #[serde(default)]
    pub confirmed: Option<Timestamp>,
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
    Session { id: SessionId, csrf: String, seen: Timestamp, confirmed: Option<Timestamp> },
    Token { id: ApiTokenId, workspace: WorkspaceId, scopes: Vec<Scope>, used: Option<Timestamp> },
}

impl SignedIn {
    pub(super) fn by_token(
        account: AccountId,
        person: Account,
        id: ApiTokenId,
        workspace: WorkspaceId,
        token: ApiToken,
    ) -> Self {
        let ApiToken { scopes, used, .. } = token;
        Self { account, person, via: Via::Token { id, workspace, scopes, used } }
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

/// What a cookie leads to.
struct Known {
    session: Session,
    person: Account,
    csrf: String,
    lifetime: Lifetime,
}

/// How long sessions live: without a request, and in any case.
struct Lifetime {
    idle: SignedDuration,
    longest: SignedDuration,
}

impl Lifetime {
    fn of(read: &impl Read) -> Result<Self, StoreError> {
        let settings = read.get(&SETTINGS, &0)?.unwrap_or_default();
        Ok(Self {
            idle: SignedDuration::from_mins(settings.session_idle_minutes.into()),
            longest: SignedDuration::from_hours(i64::from(settings.session_days) * 24),
        })
    }

    fn covers(&self, session: &Session, now: Timestamp) -> bool {
        now.duration_since(session.seen) <= self.idle && now.duration_since(session.created) <= self.longest
    }
}

/// Where a sign-in comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub address: String,
    pub user_agent: String,
    pub request: Option<RequestId>,
}

impl Origin {
    /// What guesses are counted under: the address, or the /64 that one subscriber of IPv6 has whole.
    pub fn network(&self) -> String {
        match self.address.parse::<IpAddr>().map(|address| address.to_canonical()) {
            Ok(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
            Ok(IpAddr::V4(address)) => address.to_string(),
            Err(_) => self.address.clone(),
        }
    }
}

impl Control {
    /// Starts a session for an account that proved itself in full (first account, demo link, passkey).
    pub fn start_session(&self, account: AccountId, from: Origin) -> Result<SessionToken, IdentityError> {
        let note =
            Note::new(Actor::Account { id: account }, Action::SessionStarted, account).asked_by(from.request);
        Ok(self.change_now(note, |tx| self.open_session(tx, account, &from, false))?)
    }

    /// Puts a session inside a change; the cookie is kept nowhere.
    pub(super) fn open_session(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        from: &Origin,
        waiting: bool,
    ) -> Result<SessionToken, StoreError> {
        let token = self.new_session_token();
        let (key, now) = (self.session_key(&token), self.clock().now());
        let session = Session {
            id: SessionId::new(self.clock(), self.random()),
            account,
            created: now,
            seen: now,
            address: clip(&from.address, 64),
            user_agent: clip(&from.user_agent, 200),
            waiting,
            wrong: 0,
            confirmed: (!waiting).then_some(now),
        };
        let rows = tx.scan(&SESSIONS_OF).under(&account).rows()?;
        for ((_, id), key) in rows.iter().take((rows.len() + 1).saturating_sub(MOST)) {
            Self::remove_session(tx, account, *id, key)?;
        }
        tx.put(&SESSIONS_OF, &(account, session.id), &key)?;
        tx.put(&SESSIONS, &key, &session)?;
        if !waiting {
            self.note_network(tx, account, from)?;
        }
        Ok(token)
    }

    fn new_session_token(&self) -> SessionToken {
        SessionToken::new(URL_SAFE_NO_PAD.encode(self.random().bytes::<32>()))
    }

    /// Where the session of a cookie is kept.
    pub(super) fn session_key(&self, token: &SessionToken) -> [u8; 32] {
        self.lookups().lookup(token.expose().as_bytes())
    }

    pub(super) fn remove_session(
        tx: &mut ControlTx,
        account: AccountId,
        id: SessionId,
        key: &[u8; 32],
    ) -> Result<(), StoreError> {
        tx.remove(&SESSIONS_OF, &(account, id))?;
        tx.remove(&SESSIONS, key).map(|_| ())
    }

    /// The sessions of an account that still live, last used first.
    pub fn sessions_of(&self, account: AccountId) -> Result<Vec<Session>, StoreError> {
        let (read, now) = (self.read()?, self.clock().now());
        let lifetime = Lifetime::of(&read)?;
        let mut found = Vec::new();
        for (_, key) in read.scan(&SESSIONS_OF).under(&account).rows()? {
            found.extend(read.get(&SESSIONS, &key)?.filter(|s| !s.waiting && lifetime.covers(s, now)));
        }
        found.sort_by_key(|session| std::cmp::Reverse(session.seen));
        Ok(found)
    }

    /// Ends one session of an account inside a change; unknown ids answer false.
    pub fn end_session(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        id: SessionId,
    ) -> Result<bool, StoreError> {
        let Some(key) = tx.get(&SESSIONS_OF, &(account, id))? else { return Ok(false) };
        Self::remove_session(tx, account, id, &key)?;
        Ok(true)
    }

    /// Ends all sessions of an account but one, inside a change; answers how many ended.
    pub fn end_sessions(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        except: Option<SessionId>,
    ) -> Result<usize, StoreError> {
        let mut ended = 0;
        for ((_, id), key) in tx.scan(&SESSIONS_OF).under(&account).rows()? {
            if Some(id) != except {
                Self::remove_session(tx, account, id, &key)?;
                ended += 1;
            }
        }
        Ok(ended)
    }

    /// Gives the session another cookie, because its person proved who they are once more; the old one ends.
    pub fn renew_session(
        &self,
        tx: &mut ControlTx,
        token: &SessionToken,
    ) -> Result<SessionToken, IdentityError> {
        let old = self.session_key(token);
        let session = tx.get(&SESSIONS, &old)?.filter(|s| !s.waiting).ok_or(IdentityError::NotSignedIn)?;
        let token = self.new_session_token();
        let key = self.session_key(&token);
        tx.remove(&SESSIONS, &old)?;
        tx.put(&SESSIONS_OF, &(session.account, session.id), &key)?;
        tx.put(&SESSIONS, &key, &Session { confirmed: Some(self.clock().now()), ..session })?;
        Ok(token)
    }

    /// Forgets sessions that are over, at most `most`; answers how many.
    pub(super) fn forget_ended_sessions(&self, tx: &mut ControlTx, most: usize) -> Result<usize, StoreError> {
        let (now, lifetime) = (self.clock().now(), Lifetime::of(tx)?);
        let mut over = Vec::new();
        tx.scan(&SESSIONS).each(|key, session| {
            over.extend((!lifetime.covers(&session, now)).then_some((session.account, session.id, key)));
            over.len() < most
        })?;
        for (account, id, key) in &over {
            Self::remove_session(tx, *account, *id, key)?;
        }
        Ok(over.len())
    }

    /// Whether the person proved who they are a short while ago.
    pub fn is_confirmed(&self, who: &SignedIn) -> bool {
        let now = self.clock().now();
        matches!(who.via, Via::Session { confirmed: Some(at), .. } if now.duration_since(at) <= CONFIRMED_FOR)
    }

    /// Lists the sessions of data that was made before [`SESSIONS_OF`] was kept.
    pub(super) fn list_sessions(&self) -> Result<(), StoreError> {
        let read = self.read()?;
        if read.scan(&SESSIONS_OF).limit(1).count()? > 0 || read.scan(&SESSIONS).limit(1).count()? == 0 {
            return Ok(());
        }
        self.touch(|tx| {
            for (key, session) in tx.scan(&SESSIONS).rows()? {
                tx.put(&SESSIONS_OF, &(session.account, session.id), &key)?;
            }
            Ok(())
        })
    }

    /// The account behind a cookie, if its session still lives and the account may sign in.
    pub fn session(&self, token: &SessionToken) -> Result<SignedIn, IdentityError> {
        let key = self.session_key(token);
        let known = self.read()?.kept(&key, |read| self.known(read, &key))?;
        let Some(Known { session, person, csrf, lifetime }) = &*known else {
            return Err(IdentityError::NotSignedIn);
        };
        let now = self.clock().now();
        if !lifetime.covers(session, now) || person.is_over(now) {
            return Err(IdentityError::NotSignedIn);
        }
        let Session { id, seen, confirmed, .. } = *session;
        let via = Via::Session { id, csrf: csrf.clone(), seen, confirmed };
        Ok(SignedIn { account: session.account, person: person.clone(), via })
    }

    /// A session whose account may sign in, and the value its forms carry.
    fn known(&self, read: &impl Read, key: &[u8; 32]) -> Result<Option<Known>, StoreError> {
        let Some(session) = read.get(&SESSIONS, key)?.filter(|s| !s.waiting) else { return Ok(None) };
        let person = read.get(&ACCOUNTS, &session.account)?;
        let Some(person) = person.filter(|p| p.state == AccountState::Active) else { return Ok(None) };
        let csrf = URL_SAFE_NO_PAD.encode(self.lookups().lookup(format!("csrf {}", session.id).as_bytes()));
        Ok(Some(Known { session, person, csrf, lifetime: Lifetime::of(read)? }))
    }

    /// Whether the last use of the session or token is old enough to be written again.
    pub fn wants_seen(&self, who: &SignedIn) -> bool {
        let last = match who.via {
            Via::Session { seen, .. } => Some(seen),
            Via::Token { used, .. } => used,
        };
        last.is_none_or(|last| self.clock().now().duration_since(last) > SEEN_EVERY)
    }

    /// Notes that the session was used, so that it does not end for idleness.
    pub fn mark_seen(&self, token: &SessionToken) -> Result<(), StoreError> {
        let (key, now) = (self.session_key(token), self.clock().now());
        self.touch(|tx| match tx.get(&SESSIONS, &key)? {
            Some(session) => tx.put(&SESSIONS, &key, &Session { seen: now, ..session }),
            None => Ok(()),
        })
    }

    /// Ends one session.
    pub fn sign_out(&self, token: &SessionToken, who: &SignedIn) -> Result<(), StoreError> {
        let key = self.session_key(token);
        let Via::Session { id, .. } = who.via else { return Ok(()) };
        self.change_now(Note::new(who.actor(), Action::SessionEnded, who.account), |tx| {
            Self::remove_session(tx, who.account, id, &key)
        })
    }
}

fn clip(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}
