//! The kinds of things that people are told, and what each of them wants to hear of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::Role;

macro_rules! kinds {
    ($($variant:ident $label:literal $icon:literal $tone:literal $least:expr, $mail:literal;)*) => {
        /// What a notice is about: a closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// As the preferences and the filter call it.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            pub const fn icon(self) -> &'static str {
                match self { $(Self::$variant => $icon,)* }
            }

            /// Class of the icon's ground: `acc`, `ok`, `warn`, `bad` or none.
            pub const fn tone(self) -> &'static str {
                match self { $(Self::$variant => $tone,)* }
            }

            /// Who can get it at all: members of this role and above; `None` = every account.
            pub const fn least_role(self) -> Option<Role> {
                match self { $(Self::$variant => $least,)* }
            }

            const fn mailed(self) -> bool {
                match self { $(Self::$variant => $mail,)* }
            }
        }
    };
}

use Role::{Admin, Member, Owner, Viewer};

// In the order of the preferences page: label, icon, tone, who can get it, mailed unless somebody says otherwise.
kinds! {
    ApprovalWanted "A deployment waits for me" "rocket" "acc" Some(Member), true;
    DeploymentResult "Result of a deployment" "rocket" "" Some(Member), true;
    ValidationResult "Result of a validation" "list-checks" "" Some(Member), false;
    CriticalFinding "New critical finding" "shield-alert" "bad" Some(Viewer), true;
    SyncFailed "A sync failed" "cloud" "warn" Some(Member), false;
    OrgSignedOut "Org signed out" "cloud" "bad" Some(Admin), true;
    LimitOver "Limit over its threshold" "gauge" "warn" Some(Member), false;
    Budget "Model budget used" "gauge" "warn" Some(Admin), true;
    ExportReady "Export ready" "download" "ok" Some(Viewer), true;
    InvitationAccepted "Invitation accepted" "user-plus" "" Some(Admin), false;
    TokenEnding "API token ends soon" "key-round" "warn" Some(Viewer), true;
    PolicyChanged "Rule changed" "settings" "" Some(Viewer), false;
    Deletion "Deletion of the workspace" "trash-2" "bad" Some(Owner), true;
    BackupFailed "Backup of the instance failed (operators)" "hard-drive-download" "bad" None, true;
    RoleChanged "Role changed or removed" "user-plus" "" None, true;
    NewSignIn "New sign-in" "laptop" "" None, true;
    SecurityChanged "Password, second factor or address changed" "lock-keyhole" "warn" None, true;
}

impl Kind {
    /// Such a notice can't be turned off: who took an account over must not be able to do it quietly.
    pub const fn is_security(self) -> bool {
        matches!(self, Self::Deletion | Self::NewSignIn | Self::RoleChanged | Self::SecurityChanged)
    }

    /// The name of its fields in the form.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// Where a kind reaches a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    pub app: bool,
    pub mail: bool,
}

/// What a person chose; a kind that they said nothing about is as its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Choices(BTreeMap<Kind, Choice>);

impl Choices {
    /// Where `kind` reaches the person.
    pub fn of(&self, kind: Kind) -> Choice {
        if kind.is_security() {
            return Choice { app: true, mail: true };
        }
        self.0.get(&kind).copied().unwrap_or(Choice { app: true, mail: kind.mailed() })
    }

    /// Keeps a choice; one about a security kind changes nothing.
    pub fn set(&mut self, kind: Kind, choice: Choice) {
        if !kind.is_security() {
            self.0.insert(kind, choice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_kinds_stay_on_whatever_somebody_chooses() {
        let mut choices = Choices::default();
        for kind in Kind::ALL {
            choices.set(*kind, Choice { app: false, mail: false });
        }
        for kind in Kind::ALL {
            let on = choices.of(*kind) == Choice { app: true, mail: true };
            assert_eq!(on, kind.is_security(), "{kind:?}");
        }
    }

    #[test]
    fn choices_survive_their_stored_form() {
        let mut choices = Choices::default();
        choices.set(Kind::SyncFailed, Choice { app: false, mail: true });
        let stored = serde_json::to_string(&choices).unwrap();
        assert_eq!(stored, r#"{"sync_failed":{"app":false,"mail":true}}"#);
        assert_eq!(serde_json::from_str::<Choices>(&stored).unwrap(), choices);
    }
}
