//! API tokens: `vyn_` and 43 base64url characters, stored as a keyed hash, shown once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account};
use super::control::{Control, ControlTx, Note};
use super::memberships::MEMBERSHIPS;
use super::sessions::SignedIn;
use crate::ids::{AccountId, ApiTokenId, WorkspaceId};
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// Keyed hash of the token -> what it may do.
pub const TOKENS: Table<[u8; 32], ApiToken> = Table::new("api_tokens", 1);

/// The same by whose they are, so that nobody's list reads another's.
pub const TOKENS_OF: Table<(AccountId, WorkspaceId, ApiTokenId), [u8; 32]> = Table::new("api_tokens_of", 1);

const PREFIX: &str = "vyn_";

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
    pub id: ApiTokenId,
    pub account: AccountId,
    pub workspace: WorkspaceId,
    pub name: String,
    /// `vyn_` and the first four characters: enough to recognise, too little to guess.
    pub shown: String,
    pub scopes: Vec<Scope>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
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
    ) -> Result<(Secret, ApiToken), IdentityError> {
        if scopes.is_empty() {
            return Err(IdentityError::Invalid("Choose at least one scope.".into()));
        }
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.random().bytes::<32>()));
        let token = ApiToken {
            id: ApiTokenId::new(self.clock(), self.random()),
            account,
            workspace,
            name: super::accounts::display_name(name)?,
            shown: text.chars().take(8).collect(),
            scopes,
            created: self.clock().now(),
            expires,
            revoked: None,
        };
        let key = self.lookups().lookup(text.as_bytes());
        let note = Note::new(by, Action::TokenCreated, token.id).in_workspace(workspace);
        self.change_now(note, |tx| {
            tx.put(&TOKENS_OF, &(account, workspace, token.id), &key)?;
            tx.put(&TOKENS, &key, &token)
        })?;
        Ok((Secret::new(text), token))
    }

    /// The account behind a token: wrong, expired and revoked ones answer alike.
    pub fn token(&self, text: &Secret) -> Result<SignedIn, IdentityError> {
        let text = text.expose();
        if !text.starts_with(PREFIX) || text.len() != PREFIX.len() + 43 {
            return Err(IdentityError::NotSignedIn);
        }
        let read = self.read()?;
        let token = read
            .get(&TOKENS, &self.lookups().lookup(text.as_bytes()))?
            .filter(|t| t.revoked.is_none() && t.expires.is_none_or(|at| at > self.clock().now()))
            .ok_or(IdentityError::NotSignedIn)?;
        let person =
            read.get(&ACCOUNTS, &token.account)?.filter(Account::acts).ok_or(IdentityError::NotSignedIn)?;
        if !read.has(&MEMBERSHIPS, &(token.account, token.workspace))? {
            return Err(IdentityError::NotSignedIn);
        }
        Ok(SignedIn::by_token(token.account, person, token.id, token.workspace, token.scopes))
    }

    /// The tokens of an account in a workspace, newest first.
    pub fn tokens_of(&self, account: AccountId, workspace: WorkspaceId) -> Result<Vec<ApiToken>, StoreError> {
        let read = self.read()?;
        let mut found = Vec::new();
        for (_, key) in read.scan(&TOKENS_OF).under(&(account, workspace)).rows()? {
            found.extend(read.get(&TOKENS, &key)?);
        }
        found.sort_by_key(|t| std::cmp::Reverse(t.created));
        Ok(found)
    }

    /// Ends every token of a membership, inside the change that ends or lowers it.
    pub(super) fn revoke_tokens(
        &self,
        tx: &mut ControlTx,
        account: AccountId,
        workspace: WorkspaceId,
    ) -> Result<(), StoreError> {
        let now = self.clock().now();
        for (_, key) in tx.scan(&TOKENS_OF).under(&(account, workspace)).rows()? {
            if let Some(token) = tx.get(&TOKENS, &key)?.filter(|t| t.revoked.is_none()) {
                tx.put(&TOKENS, &key, &ApiToken { revoked: Some(now), ..token })?;
            }
        }
        Ok(())
    }

    /// Lists tokens of data that was made before [`TOKENS_OF`] was kept.
    pub(super) fn list_tokens(&self) -> Result<(), StoreError> {
        let read = self.read()?;
        if read.scan(&TOKENS_OF).limit(1).count()? > 0 || read.scan(&TOKENS).limit(1).count()? == 0 {
            return Ok(());
        }
        self.touch(|tx| {
            for (key, token) in tx.scan(&TOKENS).rows()? {
                tx.put(&TOKENS_OF, &(token.account, token.workspace, token.id), &key)?;
            }
            Ok(())
        })
    }

    /// Ends a token of this account; unknown ids answer false.
    pub fn revoke_token(&self, by: Actor, account: AccountId, id: ApiTokenId) -> Result<bool, StoreError> {
        let now = self.clock().now();
        self.change_now(Note::new(by, Action::TokenRevoked, id), |tx| {
            let mine = tx.scan(&TOKENS_OF).under(&account).rows()?;
            let Some((_, key)) = mine.into_iter().find(|((.., known), _)| *known == id) else {
                return Ok(false);
            };
            let Some(token) = tx.get(&TOKENS, &key)? else { return Ok(false) };
            tx.put(&TOKENS, &key, &ApiToken { revoked: Some(now), ..token })?;
            Ok(true)
        })
    }
}
