//! The versions of the instance's privacy policy that its operator published, and who has read the newest.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::accounts::{ACCOUNTS, Account};
use super::control::{Control, ControlTx};
use super::settings::SETTINGS;
use crate::ids::AccountId;
use crate::store::{Read, StoreError, Table};

/// Number of the version, from 1.
pub const POLICIES: Table<u32, PolicyVersion> = Table::new("policies", 1);

/// A policy is at most so long, in characters.
pub const LONGEST: usize = 100_000;

/// One version, as published; never changed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyVersion {
    /// Markdown.
    pub text: String,
    pub published: Timestamp,
    pub by: AccountId,
    /// What is different, in a sentence; shown to everybody when the change is material.
    pub what: String,
    /// Everybody is told and asked to acknowledge it.
    pub material: bool,
}

impl Control {
    /// All versions, the newest first.
    pub fn policies(&self) -> Result<Vec<(u32, PolicyVersion)>, StoreError> {
        self.read()?.scan(&POLICIES).reverse().rows()
    }

    /// Publishes a version inside a change; answers its number and, when it is material, who is to be told.
    pub fn publish_policy(
        tx: &mut ControlTx,
        version: &PolicyVersion,
    ) -> Result<(u32, Vec<AccountId>), IdentityError> {
        let newest = tx.scan(&POLICIES).reverse().limit(1).rows()?;
        let number = newest.first().map_or(1, |(n, _)| n + 1);
        tx.put(&POLICIES, &number, version)?;
        let mut told = Vec::new();
        if version.material {
            let mut settings = tx.get(&SETTINGS, &0)?.unwrap_or_default();
            settings.material_policy = number;
            tx.put(&SETTINGS, &0, &settings)?;
            tx.scan(&ACCOUNTS).each(|id, _| {
                told.push(id);
                true
            })?;
        }
        Ok((number, told))
    }

    /// Notes that a person has read a version. The audit line beside it says when.
    pub fn acknowledge_policy(tx: &mut ControlTx, id: AccountId, number: u32) -> Result<(), IdentityError> {
        if !tx.has(&POLICIES, &number)? {
            return Err(IdentityError::Invalid("There is no such version of the policy.".into()));
        }
        let account = tx.get(&ACCOUNTS, &id)?.ok_or(IdentityError::NoSuchAccount)?;
        let acknowledged_policy = account.acknowledged_policy.max(number);
        Ok(tx.put(&ACCOUNTS, &id, &Account { acknowledged_policy, ..account })?)
    }
}
