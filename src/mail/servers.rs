//! Whose mail server it is: that of the instance, or of one workspace. A workspace may choose among the servers that the
//! operator allows (and the instance's own); its invitations and notices then leave through the chosen one. While it
//! has chosen none, or the operator allows it no longer, they leave through the instance's.

use url::Host;

use super::Kept;
use crate::egress::HostPort;
use crate::identity::ControlTx;
use crate::identity::control::Note;
use crate::ids::WorkspaceId;
use crate::seal::Place;
use crate::store::audit::{Action, Actor};
use crate::store::{Read, StoreError, Table};

/// One row: the mail server of the instance.
pub const MAIL_SERVER: Table<u8, Kept> = Table::new("mail_server", 1);
/// The mail servers that workspaces chose. All there is about mail of a workspace but the outbox.
pub const WORKSPACE_MAIL: Table<WorkspaceId, Kept> = Table::new("workspace_mail", 1);
/// One row: the servers that workspaces may choose, besides the instance's.
pub const WORKSPACE_MAIL_SERVERS: Table<u8, Vec<HostPort>> = Table::new("workspace_mail_servers", 1);

/// The most servers that the operator allows.
const MOST: usize = 50;

/// Whose mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Instance,
    Workspace(WorkspaceId),
}

impl Whose {
    pub(super) fn kept(self, read: &impl Read) -> Result<Option<Kept>, StoreError> {
        match self {
            Self::Instance => read.get(&MAIL_SERVER, &0),
            Self::Workspace(id) => read.get(&WORKSPACE_MAIL, &id),
        }
    }

    pub(super) fn put(self, tx: &mut ControlTx, kept: &Kept) -> Result<(), StoreError> {
        match self {
            Self::Instance => tx.put(&MAIL_SERVER, &0, kept),
            Self::Workspace(id) => tx.put(&WORKSPACE_MAIL, &id, kept),
        }
    }

    pub(super) fn remove(self, tx: &mut ControlTx) -> Result<(), StoreError> {
        match self {
            Self::Instance => tx.remove(&MAIL_SERVER, &0).map(|_| ()),
            Self::Workspace(id) => forget_workspace(tx, id),
        }
    }

    pub(super) fn note(self, by: Actor) -> Note {
        match self {
            Self::Instance => Note::new(by, Action::MailChanged, "instance"),
            Self::Workspace(id) => Note::new(by, Action::MailChanged, id).in_workspace(id),
        }
    }

    pub(super) const fn workspace(self) -> Option<WorkspaceId> {
        match self {
            Self::Instance => None,
            Self::Workspace(id) => Some(id),
        }
    }

    /// Does something with where its password is sealed.
    pub(super) fn place<T>(self, with: impl FnOnce(Place<'_>) -> T) -> T {
        match self {
            Self::Instance => with(Place { workspace: "control", table: MAIL_SERVER.name, key: "0" }),
            Self::Workspace(id) => {
                let id = id.to_string();
                with(Place { workspace: &id, table: WORKSPACE_MAIL.name, key: &id })
            }
        }
    }
}

/// Whose server the mails of a workspace (`None` = of nobody's) leave through now; `None` = none is set up.
pub(super) fn way(read: &impl Read, workspace: Option<WorkspaceId>) -> Result<Option<Whose>, StoreError> {
    if let Some(id) = workspace
        && let Some(kept) = read.get(&WORKSPACE_MAIL, &id)?
        && may_choose(read, &kept.at())?
    {
        return Ok(Some(Whose::Workspace(id)));
    }
    Ok(read.has(&MAIL_SERVER, &0)?.then_some(Whose::Instance))
}

/// Whether mails of this workspace can leave. `read` is of the control file.
pub fn can_leave(read: &impl Read, workspace: Option<WorkspaceId>) -> Result<bool, StoreError> {
    Ok(way(read, workspace)?.is_some())
}

/// Whether any mail of anybody can leave.
pub(super) fn any(read: &impl Read) -> Result<bool, StoreError> {
    Ok(read.has(&MAIL_SERVER, &0)? || read.scan(&WORKSPACE_MAIL).limit(1).count()? > 0)
}

/// Whether workspaces may use a server: the operator listed it, or the instance uses it itself.
pub(super) fn may_choose(read: &impl Read, server: &HostPort) -> Result<bool, StoreError> {
    let listed = read.get(&WORKSPACE_MAIL_SERVERS, &0)?.unwrap_or_default();
    Ok(listed.contains(server) || read.get(&MAIL_SERVER, &0)?.is_some_and(|kept| kept.at() == *server))
}

/// Forgets the server of a workspace and its password, inside a change.
pub fn forget_workspace(tx: &mut ControlTx, workspace: WorkspaceId) -> Result<(), StoreError> {
    tx.remove(&WORKSPACE_MAIL, &workspace).map(|_| ())
}

/// Servers as the operator types them, one `host:port` a line; or what is wrong, as a sentence.
pub(super) fn listed(text: &str) -> Result<Vec<HostPort>, String> {
    let mut found: Vec<HostPort> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let read = line.rsplit_once(':').and_then(|(host, port)| {
            let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
            Some(HostPort { host: bare(&Host::parse(host).ok()?), port })
        });
        let shown: String = line.chars().take(80).collect();
        let read =
            read.ok_or(format!("“{shown}” is no server with its port, such as mail.halden.example:465."))?;
        if !found.contains(&read) {
            found.push(read);
        }
    }
    if found.len() > MOST { Err(format!("{MOST} servers are the most.")) } else { Ok(found) }
}

/// As it is looked up: no brackets around an IPv6 address.
pub(super) fn bare(host: &Host) -> String {
    match host {
        Host::Ipv6(ip) => ip.to_string(),
        other => other.to_string(),
    }
}

/// As it is typed.
pub(super) fn typed(server: &HostPort) -> String {
    let HostPort { host, port } = server;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_they_are_shown() {
        let text = " mail.halden.example:465\n\n[::1]:2525\nmail.halden.example:465\n";
        let found = listed(text).unwrap();
        assert_eq!(found.iter().map(typed).collect::<Vec<_>>(), ["mail.halden.example:465", "[::1]:2525"]);
        for wrong in ["mail.halden.example", "mail.halden.example:0", "https://x:1/", "a b:25", ":25"] {
            assert!(listed(wrong).is_err(), "{wrong}");
        }
    }
}
