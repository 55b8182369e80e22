//! Who may deploy to an org: chosen by an admin on the page of its connection.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::records::{self, ORGS, Org, OrgKind};
use crate::identity::Role;
use crate::jobs::JobCause;
use crate::store::audit::Action;
use crate::store::{Read as _, StoreError};
use crate::web::page::see_other;
use crate::web::{PostForm, Problem};
use crate::workspace::Admin;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/w/{workspace}/o/{org}/deploy-policy", web::post().to(change));
}

/// PRODUCT, "Roles": the deploy policy of an org.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployPolicy {
    /// Admins deploy.
    Admins,
    /// Another person approves the exact validated bytes.
    FourEyes,
    /// Members deploy.
    Members,
    /// Nothing is validated or deployed.
    Off,
    /// Change sets are validated and never deployed.
    ValidateOnly,
}

impl DeployPolicy {
    /// From the strictest.
    pub const ALL: [Self; 5] = [Self::Off, Self::ValidateOnly, Self::Members, Self::Admins, Self::FourEyes];

    /// The least role that deploys under it; `None` where nobody does.
    pub const fn least_role(self) -> Option<Role> {
        match self {
            Self::Admins => Some(Role::Admin),
            Self::FourEyes | Self::Members => Some(Role::Member),
            Self::Off | Self::ValidateOnly => None,
        }
    }

    /// Its name in forms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admins => "admins",
            Self::FourEyes => "four_eyes",
            Self::Members => "members",
            Self::Off => "off",
            Self::ValidateOnly => "validate_only",
        }
    }

    /// What it means, on pages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admins => "Admins deploy",
            Self::FourEyes => "Four eyes: another person approves",
            Self::Members => "Members deploy",
            Self::Off => "Off: nothing is validated or deployed",
            Self::ValidateOnly => "Validate only",
        }
    }
}

impl Org {
    /// Who may deploy to it: as chosen, else members for sandboxes and admins for production.
    pub fn policy(&self) -> DeployPolicy {
        self.deploy_policy.unwrap_or(match self.kind {
            OrgKind::Production => DeployPolicy::Admins,
            OrgKind::Sandbox => DeployPolicy::Members,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    policy: DeployPolicy,
}

async fn change(
    ws: Admin,
    path: web::Path<(String, String)>,
    PostForm(chosen): PostForm<Chosen>,
) -> Result<HttpResponse, Problem> {
    let (id, _) = records::by_slug(&ws.read()?, &path.1)?.ok_or(Problem::NotFound)?;
    let (by, cause) = (ws.account(), JobCause::of(&ws));
    let target = format!("{id} {}", chosen.policy.name());
    ws.change(Action::OrgDeployPolicyChanged, target, move |tx| {
        if let Some(mut org) = tx.get(&ORGS, &id)? {
            let new = org.policy() != chosen.policy;
            org.deploy_policy = Some(chosen.policy);
            tx.put(&ORGS, &id, &org)?;
            if new {
                super::notices::policy_changed(tx, &cause, by, id, &org)?;
            }
        }
        tx.announce(format!("org:{id}"));
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(see_other(&format!("/w/{}/o/{}/connection", ws.row().slug, path.1)))
}
