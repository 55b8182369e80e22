//! Settings of the instance, and the code that lets the first visitor in.

use serde::{Deserialize, Serialize};

use super::IdentityError;
use super::control::{Control, Note};
use crate::seal::Secret;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// One row: the settings.
pub const SETTINGS: Table<u8, Settings> = Table::new("settings", 1);

/// What the operator decides for the whole instance.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Set when the first-run wizard has ended.
    pub set_up: bool,
    /// How far the wizard has come: the number of the next open step.
    pub setup_step: u8,
    /// The key that will seal the keys of backups, wrapped by the recovery code.
    pub recovery: Option<String>,
    /// Keyed hash of the group of the code that setup asks back.
    pub recovery_check: Option<String>,
    /// Made by `vynos demo`; `serve` refuses such data.
    pub demo: bool,
    pub who_may_create_workspaces: Creators,
    pub require_second_factor: Required,
    /// A session ends after so many minutes without a request,
    pub session_idle_minutes: u32,
    /// and in any case after so many days.
    pub session_days: u32,
    /// What one workspace may hold, unless its own row says otherwise.
    pub quota: Quota,
    /// Whom people ask about their data: a name, an address, a page. Shown on the policy pages.
    pub privacy_contact: String,
    /// The newest version of the privacy policy that everybody has to acknowledge; 0 = none.
    pub material_policy: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            set_up: false,
            setup_step: 0,
            recovery: None,
            recovery_check: None,
            demo: false,
            who_may_create_workspaces: Creators::Operators,
            require_second_factor: Required::No,
            session_idle_minutes: 12 * 60,
            session_days: 7,
            quota: Quota::default(),
            privacy_contact: String::new(),
            material_policy: 0,
        }
    }
}

/// Who may create workspaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Creators {
    Everyone,
    Operators,
}

/// Who must have a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Required {
    Everyone,
    No,
    Operators,
}

/// Limits of one workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Quota {
    /// Bytes of uploaded documents.
    pub bytes: u64,
    pub documents: u32,
    pub members: u32,
}

impl Default for Quota {
    fn default() -> Self {
        Self { bytes: 10 << 30, documents: 10_000, members: 500 }
    }
}

impl Settings {
    /// Whether this account must have a second factor before anything else answers.
    pub fn wants_second_factor(&self, operator: bool) -> bool {
        match self.require_second_factor {
            Required::Everyone => true,
            Required::No => false,
            Required::Operators => operator,
        }
    }

    /// Whether this account may create a workspace.
    pub fn may_create_workspace(&self, operator: bool) -> bool {
        operator || self.who_may_create_workspaces == Creators::Everyone
    }
}

impl Control {
    pub fn settings(&self) -> Result<Settings, StoreError> {
        Ok(self.read()?.get(&SETTINGS, &0)?.unwrap_or_default())
    }

    /// Changes the settings under an audit line.
    pub fn change_settings(
        &self,
        by: Actor,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Settings, StoreError> {
        self.change_now(Note::new(by, Action::InstanceSettingsChanged, "instance"), |tx| {
            let mut settings = tx.get(&SETTINGS, &0)?.unwrap_or_default();
            change(&mut settings);
            tx.put(&SETTINGS, &0, &settings)?;
            Ok(settings)
        })
    }

    /// The setup code of this installation: 128 bits derived from the control key, so that it is stored
    /// nowhere and the console can print it again until setup is done.
    pub fn setup_code(&self) -> Secret {
        let bytes = self.lookups().lookup(b"setup code");
        let hex = crate::seal::hex(&bytes[..16]);
        let groups: Vec<&str> = (0..8).map(|i| &hex[i * 4..i * 4 + 4]).collect();
        Secret::new(groups.join("-"))
    }

    /// Whether `typed` is the setup code; spaces, hyphens and case do not matter.
    pub fn is_setup_code(&self, typed: &str) -> Result<(), IdentityError> {
        let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "");
        let code = self.setup_code();
        let (a, b) = (plain(code.expose()), plain(typed));
        if crate::seal::constant_time_eq(a.as_bytes(), b.as_bytes()) {
            Ok(())
        } else {
            Err(IdentityError::WrongSetupCode)
        }
    }
}
