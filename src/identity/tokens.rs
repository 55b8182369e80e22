//! API tokens: `vyn_` and 43 base64url characters, stored as a keyed hash, shown once.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account};
use super::control::{Control, ControlTx, Note};
use super::memberships::MEMBERSHIPS;
use super::sessions::{SignedIn, Via};
use crate::ids::{AccountId, ApiTokenId, WorkspaceId};
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// A token by whose it is, so that nobody's list reads another's.
pub const TOKENS: Table<TokenKey, ApiToken> = Table::new("tokens", 1);

/// Keyed hash of the token -> its row.
const HASHES: Table<[u8; 32], TokenKey> = Table::new("token_hashes", 1);

/// Account, workspace and the token's own id.
type TokenKey = (AccountId, WorkspaceId, ApiTokenId);

/// Where tokens were kept by version 0.1: by their hash alone.
const BY_HASH: Table<[u8; 32], ByHash> = Table::new("api_tokens", 1);

#[derive(Serialize, Deserialize)]
struct ByHash {
    id: ApiTokenId,
    account: AccountId,
    workspace: WorkspaceId,
    #[serde(flatten)]
    token: ApiToken,
}

const PREFIX: &str = "vyn_";
/// An ended token stays in its owner's list for so long.
const ENDED_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Its owner is told this long before it ends.
const TOLD_BEFORE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a token may do, besides what its account's role allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Admin,
    Change,
    Chat,
    Deploy,
    Read,
    Upload,
}

impl Scope {
    pub const ALL: [Self; 6] =
        [Self::Read, Self::Chat, Self::Upload, Self::Change, Self::Deploy, Self::Admin];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Change => "change",
            Self::Chat => "chat",
            Self::Deploy => "deploy",
            Self::Read => "read",
            Self::Upload => "upload",
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiToken {
    pub name: String,
    /// `vyn_` and the first four characters: enough to recognise, too little to guess.
    pub shown: String,
    pub scopes: Vec<Scope>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
    /// Last request with it, to within five minutes.
    #[serde(default)]
    pub used: Option<Timestamp>,
    /// Its owner was told that it ends soon.
    #[serde(default)]
    pub told: bool,
}

impl ApiToken {
    /// When it stopped working, if it has.
    pub fn ended(&self, now: Timestamp) -> Option<Timestamp> {
        self.revoked.or(self.expires.filter(|at| *at <= now))
    }

    /// It ends within a week, its owner was not told, and it was made for much longer than that.
    fn ends_soon(&self, now: Timestamp) -> bool {
        let soon = self.expires.is_some_and(|at| {
            at.duration_since(now) <= TOLD_BEFORE && at.duration_since(self.created) > TOLD_BEFORE * 2
        });
        soon && !self.told && self.ended(now).is_none()
    }
}

impl Control {
    /// Makes a token; the returned secret is shown once and kept nowhere.
    pub fn create_token(
        &self,
        by: Actor,
        account: AccountId,
        workspace: WorkspaceId,
        name: &str,
        scopes: Vec<Scope>,
        expires: Option<Timestamp>,
    ) -> Result<(Secret, ApiTokenId), IdentityError> {
        if scopes.is_empty() {
            return Err(IdentityError::Invalid("Choose at least one scope.".into()));
        }
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.random().bytes::<32>()));
        let id = ApiTokenId::new(self.clock(), self.random());
        let token = ApiToken {
            name: super::accounts::display_name(name)?,
            shown: text.chars().take(8).collect(),
            scopes,
            created: self.clock().now(),
            expires,
            revoked: None,
            used: None,
            told: false,
        };
        let (hash, key) = (self.lookups().lookup(text.as_bytes()), (account, workspace, id));
        let note = Note::new(by, Action::TokenCreated, id).in_workspace(workspace);
        self.change_now(note, |tx| {
            tx.put(&HASHES, &hash, &key)?;
            tx.put(&TOKENS, &key, &token)
        })?;
        Ok((Secret::new(text), id))
    }

    /// The account behind a token: wrong, expired and revoked ones answer alike.
    pub fn token(&self, text: &Secret) -> Result<SignedIn, IdentityError> {
        let text = text.expose();
        if !text.starts_with(PREFIX) || text.len() != PREFIX.len() + 43 {
            return Err(IdentityError::NotSignedIn);
        }
        let read = self.read()?;
        let hash = self.lookups().lookup(text.as_bytes());
        let key = read.get(&HASHES, &hash)?.ok_or(IdentityError::NotSignedIn)?;
        let token = read
            .get(&TOKENS, &key)?
            .filter(|token| token.ended(self.clock().now()).is_none())
            .ok_or(IdentityError::NotSignedIn)?;
        let (account, workspace, id) = key;
        let person =
            read.get(&ACCOUNTS, &account)?.filter(Account::acts).ok_or(IdentityError::NotSignedIn)?;
        if !read.has(&MEMBERSHIPS, &(account, workspace))? {
            return Err(IdentityError::NotSignedIn);
        }
        Ok(SignedIn::by_token(account, person, id, workspace, token))
    }

    /// Notes that a token was used.
    pub fn mark_used(&self, who: &SignedIn) -> Result<(), StoreError> {
        let Via::Token { id, workspace, .. } = who.via() else { return Ok(()) };
        let (key, now) = ((who.account(), *workspace, *id), self.clock().now());
        self.touch(|tx| match tx.get(&TOKENS, &key)? {
            Some(token) => tx.put(&TOKENS, &key, &ApiToken { used: Some(now), ..token }),
            None => Ok(()),
        })
    }

    /// The tokens of an account in a workspace, newest first.
    pub fn tokens_of(
        &self,
        account: AccountId,
        workspace: WorkspaceId,
    ) -> Result<Arc<Vec<(ApiTokenId, ApiToken)>>, StoreError> {
        self.read()?.kept(&(account, workspace), |read| {
            let rows = read.scan(&TOKENS).under(&(account, workspace)).reverse().rows()?;
            Ok(rows.into_iter().map(|((.., id), token)| (id, token)).collect())
        })
    }

    /// Whether the owner of some token is to be told that it ends within a week.
    pub fn has_ending_tokens(&self) -> Result<bool, StoreError> {
        let (now, mut found) = (self.clock().now(), false);
        self.read()?.scan(&TOKENS).each(|_, token| {
            found = token.ends_soon(now);
            !found
        })?;
        Ok(found)
    }

    /// Those tokens, marked as told inside a change.
    pub fn take_ending(
        &self,
        tx: &mut ControlTx,
    ) -> Result<Vec<(AccountId, WorkspaceId, ApiToken)>, StoreError> {
        let (now, mut ending) = (self.clock().now(), Vec::new());
        tx.scan(&TOKENS).each(|key, token| {
            ending.extend(token.ends_soon(now).then_some((key, token)));
            true
        })?;
        for (key, token) in &ending {
            tx.put(&TOKENS, key, &ApiToken { told: true, ..token.clone() })?;
        }
        Ok(ending.into_iter().map(|((account, workspace, _), token)| (account, workspace, token)).collect())
    }

    /// Ends every token of a membership, inside the change that ends or lowers it.
    pub(super) fn revoke_tokens(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        let now = self.clock().now();
        for (key, token) in tx.scan(&TOKENS).under(&(account, workspace)).rows()? {
            if token.revoked.is_none() {
                tx.put(&TOKENS, &key, &ApiToken { revoked: Some(now), ..token })?;
            }
        }
        Ok(())
    }

    /// Forgets tokens that ended long ago, at most `most`; answers how many.
    pub(super) fn forget_ended_tokens(&self, tx: &mut ControlTx, most: usize) -> Result<usize, StoreError> {
        let now = self.clock().now();
        let is_old =
            |token: &ApiToken| token.ended(now).is_some_and(|at| now.duration_since(at) > ENDED_KEPT);
        let mut old = Vec::new();
        tx.scan(&HASHES).each(|hash, key| {
            old.push((hash, key));
            true
        })?;
        let mut removed = 0;
        for (hash, key) in old {
            if removed < most && tx.get(&TOKENS, &key)?.is_none_or(|token| is_old(&token)) {
                tx.remove(&HASHES, &hash)?;
                tx.remove(&TOKENS, &key)?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Forgets every token of an account that goes.
    pub(super) fn forget_tokens(tx: &mut ControlTx, account: AccountId) -> Result<(), StoreError> {
        let mut hashes = Vec::new();
        tx.scan(&HASHES).each(|hash, key| {
            hashes.extend((key.0 == account).then_some(hash));
            true
        })?;
        for hash in hashes {
            tx.remove(&HASHES, &hash)?;
        }
        tx.remove_under(&TOKENS, &account).map(|_| ())
    }

    /// Forgets every token of a workspace that goes.
    pub(super) fn forget_tokens_of_workspace(
        tx: &mut ControlTx,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        tx.scan(&HASHES).each(|hash, key| {
            gone.extend((key.1 == workspace).then_some((hash, key)));
            true
        })?;
        for (hash, key) in gone {
            tx.remove(&HASHES, &hash)?;
            tx.remove(&TOKENS, &key)?;
        }
        Ok(())
    }

    /// Moves the tokens of data that was made before [`TOKENS`] was kept.
    pub(super) fn move_tokens(&self) -> Result<(), StoreError> {
        if self.read()?.scan(&BY_HASH).limit(1).count()? == 0 {
            return Ok(());
        }
        self.touch(|tx| {
            for (hash, ByHash { id, account, workspace, token }) in tx.scan(&BY_HASH).rows()? {
                tx.put(&HASHES, &hash, &(account, workspace, id))?;
                tx.put(&TOKENS, &(account, workspace, id), &token)?;
                tx.remove(&BY_HASH, &hash)?;
            }
            Ok(())
        })
    }

    /// Ends a token of this account; unknown ids answer false.
    pub fn revoke_token(&self, by: Actor, account: AccountId, id: ApiTokenId) -> Result<bool, StoreError> {
        let now = self.clock().now();
        self.change_now(Note::new(by, Action::TokenRevoked, id), |tx| {
            let mine = tx.scan(&TOKENS).under(&account).rows()?;
            let Some((key, token)) = mine.into_iter().find(|((.., known), _)| *known == id) else {
                return Ok(false);
            };
            tx.put(&TOKENS, &key, &ApiToken { revoked: Some(now), ..token })?;
            Ok(true)
        })
    }
}
