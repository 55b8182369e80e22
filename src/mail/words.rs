//! What each mail says. Text and HTML are drawn from the same words, so they can't tell different things.

use jiff::Timestamp;

use super::letter::{FactorChange, Letter, Outcome};
use crate::identity::Role;
use crate::web::page::grouped;

/// The longest name or quotation in a mail, in characters.
const LONGEST: usize = 200;
/// Findings that a mail lists; the page has the rest.
const LISTED: usize = 5;

/// A mail before it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub subject: String,
    /// The workspace it is about; empty for mails about the account or the instance.
    pub place: String,
    pub heading: String,
    pub text: Vec<String>,
    pub facts: Vec<(String, String)>,
    /// Label and target of the one button.
    pub button: Option<(&'static str, String)>,
    /// Said below the button.
    pub small: &'static str,
    /// Why the person gets it: goes on after "You get this because".
    pub reason: String,
}

impl Words {
    fn new(subject: String) -> Self {
        Self {
            heading: subject.clone(),
            subject,
            place: String::new(),
            text: Vec::new(),
            facts: Vec::new(),
            button: None,
            small: "",
            reason: String::new(),
        }
    }

    fn of(workspace: &str, subject: String) -> Self {
        Self { place: name(workspace), ..Self::new(subject) }
    }

    fn say(mut self, sentence: impl Into<String>) -> Self {
        self.text.push(sentence.into());
        self
    }

    fn fact(mut self, label: &str, value: impl Into<String>) -> Self {
        self.facts.push((label.into(), value.into()));
        self
    }

    fn button(mut self, label: &'static str, link: &str) -> Self {
        self.button = Some((label, link.to_owned()));
        self
    }

    fn small(mut self, text: &'static str) -> Self {
        self.small = text;
        self
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}

/// Foreign text on one line: no line break, nothing that turns the direction of writing, nothing that a mail program
/// would make a link of, not endless.
pub(super) fn name(text: &str) -> String {
    let clean: String = text
        .chars()
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
        .map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c })
        .collect();
    let one_line = clean.split_whitespace().collect::<Vec<_>>().join(" ").replace("://", ": //");
    let mut cut: String = one_line.chars().take(LONGEST).collect();
    if cut.len() < one_line.len() {
        cut.push('…');
    }
    cut
}

fn when(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

fn a_role(role: Role) -> String {
    match role {
        Role::Admin | Role::Owner => format!("an {}", role.name()),
        Role::Member | Role::Viewer => format!("a {}", role.name()),
    }
}

fn components(n: usize) -> String {
    if n == 1 { "1 component".into() } else { format!("{n} components") }
}

/// Said of an org so that production is never overlooked.
fn org_line(org: &str, production: bool) -> String {
    let kind = if production { "Production" } else { "Sandbox" };
    let org = name(org);
    if org.eq_ignore_ascii_case(kind) { org } else { format!("{org} ({kind})") }
}

const NOT_ME: &str =
    "If this was not you, change your password now and end the other sessions on the security page.";
const IGNORE: &str = "If you did not ask for this, do nothing: nothing changes.";
const YOUR_ACCOUNT: &str = "it is about the security of your account. Such mails can’t be turned off";

pub(super) fn words(letter: &Letter) -> Words {
    match letter {
        Letter::AccountDeleted { at } => Words::new("Your Vynos account is deleted".into())
            .say("Your account, its sessions, tokens and passkeys are gone. What you made in workspaces stays there without your name.")
            .fact("Deleted", when(*at))
            .because("your address belonged to this account. This is the last mail to it"),
        Letter::AccountDeletionStarted { ends, link } => Words::new("Your Vynos account will be deleted".into())
            .say("You asked to delete your account. Until the day below you can sign in and keep it.")
            .fact("Deleted on", when(*ends))
            .button("Keep the account", link)
            .small(NOT_ME)
            .because(YOUR_ACCOUNT),
        Letter::BackupFailed { at, said, link } => Words::new("A backup of Vynos failed".into())
            .say("Nothing of the instance is affected, and earlier backups stay. Set right what the words say, then back up again.")
            .fact("Begun", when(*at))
            .fact("Reason", name(said))
            .button("Open backups", link)
            .because("you are an operator of this instance"),
        Letter::BudgetUsed { workspace, percent, spent, budget, link } => {
            let full = *percent >= 100;
            Words::of(workspace, format!("{percent}% of this month’s model budget is used"))
                .say(if full {
                    "New questions wait until the next month begins or an owner raises the budget."
                } else {
                    "Questions go on as before. When all of it is used, they wait until the next month begins."
                })
                .fact("Used", name(spent))
                .fact("Budget", name(budget))
                .button("Open usage", link)
                .because("you may change the budget of this workspace")
        }
        Letter::CriticalFinding { workspace, org, count, findings, link } => {
            let org = name(org);
            let subject = match findings.as_slice() {
                [(title, _)] => format!("New critical finding in {org}: {}", name(title)),
                _ => format!("{count} new critical findings in {org}"),
            };
            let mut words = Words::of(workspace, subject)
                .say(format!("The last analysis of {org} found what was not there before."));
            for (title, component) in findings.iter().take(LISTED) {
                words = words.fact(&name(title), name(component));
            }
            if *count > LISTED.min(findings.len()) {
                words = words.say("The first are listed here, the page has all of them.");
            }
            words.button("Open findings", link).because(format!("you follow the findings of {org}"))
        }
        Letter::DeletionDone { workspace, at } => Words::of(workspace, format!("“{}” is deleted", name(workspace)))
            .say("The workspace is gone with its chats, documents, metadata and keys. Backups made before still hold it until the operator of this server deletes them.")
            .fact("Deleted", when(*at))
            .because("you were an owner of this workspace"),
        Letter::DeletionSevenDaysLeft { workspace, ends, link } => {
            Words::of(workspace, format!("“{}” will be deleted in 7 days", name(workspace)))
                .say("After that nobody can bring it back. An owner can stop it until then.")
                .fact("Deleted on", when(*ends))
                .button("Keep or export the workspace", link)
                .because("you are an owner of this workspace")
        }
        Letter::DeletionStarted { workspace, asked_by, ends, link } => {
            Words::of(workspace, format!("“{}” will be deleted", name(workspace)))
                .say(format!("{} asked to delete the workspace. Until the day below an owner can stop it; nothing is synced or analysed meanwhile.", name(asked_by)))
                .fact("Deleted on", when(*ends))
                .button("Keep or export the workspace", link)
                .because("you are a member of this workspace")
        }
        Letter::DeployApprovalWanted { workspace, change_set, org, production, components: n, proposed_by, proposed, tests, kept_until, link } => {
            let (title, by) = (name(change_set), name(proposed_by));
            let mut words = Words::of(workspace, format!("“{title}” waits for your approval ({})", org_line(org, *production)))
                .say(format!("{by} asks you to approve this change set. It was validated and saved nothing there. Until someone approves, nothing changes."))
                .fact("Org", org_line(org, *production))
                .fact("Change", components(*n))
                .fact("Proposed by", format!("{by}, {}", when(*proposed)));
            words.heading = format!("“{title}” waits for your approval");
            if let Some((run, passed)) = tests {
                words = words.fact("Tests", format!("{passed} of {run} pass"));
            }
            if let Some(until) = kept_until {
                words = words.fact("Validation kept until", when(*until));
            }
            words
                .button("Review and decide", link)
                .small("This mail cannot approve anything. You sign in first and type the name of the org.")
                .because(format!("you may approve changes in {}", name(org)))
        }
        Letter::DeployResult { workspace, change_set, org, production, outcome, components: n, said, link } => {
            let (title, to) = (name(change_set), name(org));
            let (subject, sentence) = match outcome {
                Outcome::Cancelled => (format!("The deployment of “{title}” to {to} was cancelled"), "Salesforce rolled back what it had begun. The org is as it was."),
                Outcome::Failed => (format!("“{title}” could not be deployed to {to}"), "Salesforce saved nothing. The org is as it was."),
                Outcome::Lost => (format!("How the deployment of “{title}” to {to} ended is not known"), "It was sent and is not sent again. The org is synced, so that you can compare."),
                Outcome::NotSent => (format!("“{title}” was not deployed to {to}"), "Nothing was sent. The org is as it was."),
                Outcome::RolledBack => (format!("“{title}” was rolled back in {to}"), "The components are as they were before the deployment."),
                Outcome::Succeeded => (format!("“{title}” is deployed to {to}"), "The change is in the org."),
            };
            let mut words = Words::of(workspace, subject)
                .say(sentence)
                .fact("Org", org_line(org, *production))
                .fact("Change", components(*n));
            if !said.is_empty() {
                words = words.fact("Reason", name(said));
            }
            words.button("Open the deployment", link).because("you proposed or approved this change set")
        }
        Letter::ExportReady { workspace, ends, link } => {
            let words = match workspace {
                Some(workspace) => Words::of(workspace, format!("The export of “{}” is ready", name(workspace))),
                None => Words::new("The export of your data is ready".into()),
            };
            words
                .say("You sign in to download it.")
                .fact("Kept until", when(*ends))
                .button("Download the export", link)
                .because("you asked for this export")
        }
        Letter::InvitationAccepted { workspace, name: who, role, link } => {
            Words::of(workspace, format!("{} joined “{}”", name(who), name(workspace)))
                .say(format!("Your invitation was accepted. {} is {} now.", name(who), a_role(*role)))
                .button("Open members", link)
                .because("you sent this invitation")
        }
        Letter::InvitationReminder { workspace, invited_by, role, link, ends } => {
            invitation(workspace, invited_by, *role, link, *ends, format!("Your invitation to “{}” still waits", name(workspace)))
        }
        Letter::InvitationSent { workspace, invited_by, role, link, ends } => {
            let subject = format!("{} invites you to “{}”", name(invited_by), name(workspace));
            invitation(workspace, invited_by, *role, link, *ends, subject)
        }
        Letter::LimitOver { workspace, org, limit, used, of, link } => {
            let percent = if *of == 0 { 100 } else { used.saturating_mul(100) / of };
            Words::of(workspace, format!("{} is at {percent}% in {}", name(limit), name(org)))
                .say("Salesforce refuses further calls once the limit is reached.")
                .fact("Used", grouped(*used))
                .fact("Limit", grouped(*of))
                .button("Open limits", link)
                .because(format!("you follow the limits of {}", name(org)))
        }
        Letter::MailChangeConfirm { link, ends } => Words::new("Confirm your new e-mail address".into())
            .say("Somebody, most likely you, wants to use this address to sign in to Vynos. Nothing changes until it is confirmed.")
            .fact("Link works until", when(*ends))
            .button("Confirm the address", link)
            .small(IGNORE)
            .because("this address was entered as the new address of an account"),
        Letter::MailChangeNotice { new_address_masked, at, link } => {
            Words::new("The e-mail address of your account is to change".into())
                .say("The change was asked for with your password. It holds once the new address is confirmed; mails then go there.")
                .fact("New address", name(new_address_masked))
                .fact("Asked for", when(*at))
                .button("Keep this address", link)
                .small("If this was not you, keep this address: the link works for a day, even after the change.")
                .because(YOUR_ACCOUNT)
        }
        Letter::NewSignIn { when: at, address, browser } => {
            Words::new("New sign-in to your Vynos account".into())
                .say("Your account was used from a browser that it was not used from before.")
                .fact("Time", when(*at))
                .fact("Browser", name(browser))
                .fact("Network address", name(address))
                .button("See your sessions", "/account/security")
                .small(NOT_ME)
                .because(YOUR_ACCOUNT)
        }
        Letter::OrgSignedOut { workspace, org, link } => {
            Words::of(workspace, format!("Salesforce signed Vynos out of {}", name(org)))
                .say("Nothing is synced until an admin connects the org again. What was read so far stays.")
                .button("Connect again", link)
                .because(format!("you may connect {}", name(org)))
        }
        Letter::PasswordChanged { at } => Words::new("Your password was changed".into())
            .say("Your other sessions were ended.")
            .fact("Time", when(*at))
            .button("Open security", "/account/security")
            .small("If this was not you, use “Forgot password” on the sign-in page now and tell the operator of this instance.")
            .because(YOUR_ACCOUNT),
        Letter::PasswordReset { link, ends } => Words::new("Set a new password".into())
            .say("Somebody, most likely you, asked to set a new password for this address. The link works once.")
            .fact("Link works until", when(*ends))
            .button("Set a new password", link)
            .small(IGNORE)
            .because("a new password was asked for on the sign-in page"),
        Letter::PasswordResetByOperator { at } => Words::new("The operator made a link that sets your password".into())
            .say("Somebody with a shell on the server of this instance made it. Whoever has the link can set a new password.")
            .fact("Time", when(*at))
            .small("If you did not ask for it, ask the operator of this instance now.")
            .because(YOUR_ACCOUNT),
        Letter::PolicyChanged { workspace, what, changed_by, link } => {
            Words::of(workspace, format!("A rule of “{}” changed", name(workspace)))
                .say(name(what))
                .fact("Changed by", name(changed_by))
                .button("Open settings", link)
                .because("the rule applies to you")
        }
        Letter::PrivacyPolicyChanged { what, at, link } => {
            Words::new("The privacy policy changed".into())
                .say(name(what))
                .say("You will be asked to say that you have read it when you come next.")
                .fact("Published", when(*at))
                .button("Read the policy", link)
                .because("you have an account here")
        }
        Letter::RemovedFromWorkspace { workspace, removed_by } => {
            Words::of(workspace, format!("You are no longer in “{}”", name(workspace)))
                .say(format!("{} removed you. Your sessions and tokens no longer open this workspace; your account stays.", name(removed_by)))
                .because("you were a member of this workspace")
        }
        Letter::RoleChanged { workspace, role, changed_by } => {
            Words::of(workspace, format!("You are {} of “{}” now", a_role(*role), name(workspace)))
                .say(format!("{} changed your role.", name(changed_by)))
                .button("Open Vynos", "/")
                .because("it is about what you may do. Such mails can’t be turned off")
        }
        Letter::SecondFactorChanged { what, at } => {
            let (subject, sentence) = factor(*what);
            Words::new(subject.into())
                .say(sentence)
                .fact("Time", when(*at))
                .button("Open security", "/account/security")
                .small(NOT_ME)
                .because(YOUR_ACCOUNT)
        }
        Letter::SyncFailed { workspace, org, why, link } => {
            Words::of(workspace, format!("The sync of {} failed", name(org)))
                .say("What was read before is kept and still searched.")
                .fact("Reason", name(why))
                .button("Open the connection", link)
                .because(format!("you may mend the connection of {}", name(org)))
        }
        Letter::Test { to } => Words::new("Test mail from Vynos".into())
            .say("Mail works. Vynos can now send invitations and notices to the people of this instance.")
            .button("Open Vynos", "/")
            .because(format!("the test mail was sent to your own address, {}", name(to))),
        Letter::TokenEnding { name: token, ends, link } => {
            Words::new(format!("The API token “{}” ends soon", name(token)))
                .say("Calls with it are refused after that. Make a new one and put it in its place.")
                .fact("Ends", when(*ends))
                .button("Open API tokens", link)
                .because("the token is yours")
        }
        Letter::ValidationResult { workspace, change_set, org, passed, said, link } => {
            let (title, to) = (name(change_set), name(org));
            let (subject, sentence) = if *passed {
                (format!("“{title}” passed its validation in {to}"), "Nothing was saved there. It can be approved now.")
            } else {
                (format!("“{title}” did not pass its validation in {to}"), "Nothing was saved there. The page shows what Salesforce said about each component.")
            };
            let mut words = Words::of(workspace, subject).say(sentence);
            if !said.is_empty() {
                words = words.fact("Reason", name(said));
            }
            words.button("Open the validation", link).because("you asked for this validation")
        }
    }
}

fn invitation(workspace: &str, by: &str, role: Role, link: &str, ends: Timestamp, subject: String) -> Words {
    Words::of(workspace, subject)
        .say(format!("{} wants you to work in “{}” as {}.", name(by), name(workspace), a_role(role)))
        .fact("Workspace", name(workspace))
        .fact("Role", role.name())
        .fact("Link works until", when(ends))
        .button("See the invitation", link)
        .small("If you do not know who sent this, do nothing: nothing happens, and the link ends by itself.")
        .because("somebody entered your address in an invitation")
}

fn factor(what: FactorChange) -> (&'static str, &'static str) {
    match what {
        FactorChange::CodesRenewed => {
            ("New recovery codes were made", "The codes from before no longer work.")
        }
        FactorChange::CodeUsed => ("A recovery code was used to sign in", "It works no second time."),
        FactorChange::PasskeyAdded => ("A passkey was added to your account", "It can sign in from now on."),
        FactorChange::PasskeyCopied => (
            "A copy of your passkey was refused",
            "A passkey counts its uses, and this one counted back: somebody may have copied it. Remove it and add a new one.",
        ),
        FactorChange::PasskeyRemoved => ("A passkey was removed from your account", "It no longer signs in."),
        FactorChange::TotpAdded => {
            ("Codes from an app are on", "Signing in asks for a code of the app from now on.")
        }
        FactorChange::TotpRemoved => {
            ("Codes from an app are off", "Signing in no longer asks for a code of the app.")
        }
    }
}
