//! The first member of a bundle, and its `README.txt`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::claims::{self, Claim, Reason};
use crate::identity::{Quota, WorkspaceRow, WorkspaceState};
use crate::ids::WorkspaceId;

/// The path of the manifest.
pub const MANIFEST: &str = "manifest.json";
pub const README: &str = "README.txt";
/// What `format` says.
pub const FORMAT: &str = "vynos-bundle";
/// The version of the format that this build writes and reads.
pub const VERSION: u32 = 1;

/// What a bundle holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub format: String,
    pub format_version: u32,
    /// The version of Vynos that wrote it.
    pub product_version: String,
    pub exported: Timestamp,
    /// The workspace; `None` for the data of a person.
    pub workspace: Option<Described>,
    pub left_out: Vec<LeftOut>,
    /// Every other member, in order.
    pub members: Vec<Member>,
}

/// A workspace as the instance knew it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    pub id: WorkspaceId,
    pub slug: String,
    pub name: String,
    pub state: WorkspaceState,
    pub created: Timestamp,
    pub quota: Option<Quota>,
}

impl Described {
    pub fn of(id: WorkspaceId, row: &WorkspaceRow) -> Self {
        let WorkspaceRow { slug, name, state, created, quota } = row.clone();
        // That it is to be deleted here is not so where it is imported.
        let state = match state {
            WorkspaceState::Deleting(closing) if closing.restricted => WorkspaceState::Restricted,
            WorkspaceState::Deleting(_) => WorkspaceState::Active,
            other => other,
        };
        Self { id, slug, name, state, created, quota }
    }
}

/// What is not in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    pub what: String,
    /// `secret`, `derived`, `transient` or `elsewhere`.
    pub reason: Reason,
    pub why: String,
}

/// One file of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub path: String,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
    /// Lines of a file of records.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub records: Option<u64>,
}

/// What bundles of workspaces leave out, besides what has no meaning outside.
pub fn left_out() -> Vec<LeftOut> {
    let fields = claims::FIELDS.iter().map(|(what, why)| LeftOut {
        what: (*what).to_owned(),
        reason: Reason::Secret,
        why: (*why).to_owned(),
    });
    let tables = claims::TABLES.iter().filter_map(|(table, claim)| match claim {
        Claim::LeftOut(reason, why) => {
            Some(LeftOut { what: (*table).to_owned(), reason: *reason, why: (*why).to_owned() })
        }
        _ => None,
    });
    fields.chain(tables).collect()
}

/// What `README.txt` says.
pub fn readme(of: Option<&Described>, left_out: &[LeftOut]) -> String {
    let head = match of {
        Some(workspace) => format!(
            "Export of the workspace \u{201c}{}\u{201d}\n\nEverything that people put into this workspace, and what Vynos made \
             of it.\nAn operator can import it as a new workspace.\n",
            workspace.name
        ),
        None => "Export of the data of one person\n\nEverything that this instance of Vynos holds of you, and nothing of anybody \
                 else.\n"
            .to_owned(),
    };
    let mut text = format!(
        "{head}\nmanifest.json            what is in this archive, with the SHA-256 of every file\nschema/<table>.json      JSON \
         Schema of the records of a table\nrecords/<table>.ndjson   one JSON object a line, sorted by its first fields\nfiles/<document \
         id>/…    documents as they were uploaded\n\nIds are strings, times RFC 3339. docs/EXPORT-FORMAT.md of Vynos describes all of \
         it.\n\nLeft out:\n"
    );
    for one in left_out {
        text.push_str(&format!("- {}: {}\n", one.what, one.why));
    }
    text
}
