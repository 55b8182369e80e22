//! Mails as they go out: golden files, and that no name breaks out of its place.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::identity::Role;
use crate::mail::{FactorChange, Outcome};

fn external() -> Url {
    Url::parse("https://vynos.halden.example/").unwrap()
}

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

/// One of each, with `x` wherever foreign text goes.
fn letters(x: &str) -> Vec<Letter> {
    let s = |plain: &str| if x.is_empty() { plain.to_owned() } else { x.to_owned() };
    let (now, ends) = (at("2026-11-24T09:44:00Z"), at("2026-12-03T09:44:00Z"));
    let link = |end: &str| format!("/w/halden-energy/{end}");
    let workspace = || s("Halden Energy");
    vec![
        Letter::AccountDeleted { at: now },
        Letter::AccountDeletionStarted { ends, link: "/account/profile".into() },
        Letter::BackupFailed {
            at: now,
            said: s("the disk is full; nothing half-written was kept. Free space and try again"),
            link: "/admin/backups".into(),
        },
        Letter::BudgetUsed {
            workspace: workspace(),
            percent: 80,
            spent: s("160.00 EUR"),
            budget: s("200.00 EUR"),
            link: link("usage"),
        },
        Letter::CriticalFinding {
            workspace: workspace(),
            org: s("Production"),
            count: 7,
            findings: vec![
                (s("Flow updates records inside a loop"), s("Opportunity: Renewal Sync")),
                (s("Class runs without sharing"), s("ContractService")),
            ],
            link: link("o/prod/findings"),
        },
        Letter::DeletionDone { workspace: workspace(), at: now },
        Letter::DeletionSevenDaysLeft { workspace: workspace(), ends, link: link("settings") },
        Letter::DeletionStarted {
            workspace: workspace(),
            asked_by: s("Mira Kovač"),
            ends,
            link: link("settings"),
        },
        Letter::DeployApprovalWanted {
            workspace: workspace(),
            change_set: s("Bulkify renewal sync"),
            org: s("Production"),
            production: true,
            components: 3,
            proposed_by: s("Mira Kovač"),
            proposed: now,
            tests: Some((18, 18)),
            kept_until: Some(ends),
            link: link("o/prod/deployments/01k/approve"),
        },
        Letter::DeployResult {
            workspace: workspace(),
            change_set: s("Bulkify renewal sync"),
            org: s("UAT"),
            production: false,
            outcome: Outcome::Failed,
            components: 1,
            said: s("RenewalSync: unexpected token: }"),
            link: link("o/uat/deployments/01k"),
        },
        Letter::ExportReady { workspace: Some(workspace()), ends, link: link("exports") },
        Letter::InvitationAccepted {
            workspace: workspace(),
            name: s("Samuel Okoro"),
            role: Role::Admin,
            link: link("members"),
        },
        Letter::InvitationReminder {
            workspace: workspace(),
            invited_by: s("Mira Kovač"),
            role: Role::Member,
            link: "/invite/abcdef".into(),
            ends,
        },
        Letter::InvitationSent {
            workspace: workspace(),
            invited_by: s("Mira Kovač"),
            role: Role::Member,
            link: "https://vynos.halden.example/invite/abcdef".into(),
            ends,
        },
        Letter::LimitOver {
            workspace: workspace(),
            org: s("Production"),
            limit: s("Daily API requests"),
            used: 412_300,
            of: 500_000,
            link: link("o/prod/limits"),
        },
        Letter::MailChangeConfirm { link: "/account/mail/abcdef".into(), ends },
        Letter::MailChangeNotice {
            new_address_masked: s("m…@halden.example"),
            at: now,
            link: "/address/undo/abcdef".into(),
        },
        Letter::NewSignIn { when: now, address: s("10.31.2.88"), browser: s("Firefox on Windows") },
        Letter::OrgSignedOut { workspace: workspace(), org: s("UAT"), link: link("o/uat/connection") },
        Letter::PasswordChanged { at: now },
        Letter::PasswordReset { link: "/reset/abcdef".into(), ends },
        Letter::PasswordResetByOperator { at: now },
        Letter::PolicyChanged {
            workspace: workspace(),
            what: s("Everybody needs a second factor from 1 December on."),
            changed_by: s("Mira Kovač"),
            link: link("settings"),
        },
        Letter::PrivacyPolicyChanged {
            what: s("Backups are kept for 14 days instead of 30."),
            at: now,
            link: "/privacy".into(),
        },
        Letter::RemovedFromWorkspace { workspace: workspace(), removed_by: s("Mira Kovač") },
        Letter::RoleChanged { workspace: workspace(), role: Role::Owner, changed_by: s("Mira Kovač") },
        Letter::SecondFactorChanged { what: FactorChange::PasskeyAdded, at: now },
        Letter::SyncFailed {
            workspace: workspace(),
            org: s("UAT"),
            why: s("Salesforce did not answer within 60 seconds."),
            link: link("o/uat/connection"),
        },
        Letter::Test { to: s("mira@halden.example") },
        Letter::TokenEnding { name: s("Nightly report"), ends, link: link("tokens") },
        Letter::ValidationResult {
            workspace: workspace(),
            change_set: s("Bulkify renewal sync"),
            org: s("Production"),
            passed: true,
            said: String::new(),
            link: link("o/prod/deployments/01k"),
        },
    ]
}

#[test]
fn every_mail_is_as_its_golden_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mail");
    let bless = std::env::var_os("VYNOS_BLESS").is_some();
    let mut known = Vec::new();
    for letter in letters("") {
        let mail = letter.render(&external()).unwrap();
        let text = format!("Subject: {}\n\n{}", mail.subject, mail.text);
        for (ending, now) in [("txt", text), ("html", mail.html)] {
            let name = format!("{}.{ending}", letter.kind());
            let path = folder.join(&name);
            if bless {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &now).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(golden == now, "{name} differs; look at it, then VYNOS_BLESS=1 keeps the new one\n{now}");
            known.push(name);
        }
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name} is the mail of no letter");
    }
    known.dedup();
    assert_eq!(known.len(), 62, "two letters share a name, or one has no sample here");
}

#[test]
fn text_and_html_tell_the_same_and_nothing_is_fetched() {
    for letter in letters("") {
        let mail = letter.render(&external()).unwrap();
        let flat = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words(&letter);
        for fact in words.text.iter().chain(words.facts.iter().flat_map(|(a, b)| [a, b])) {
            assert!(flat.contains(fact.as_str()), "{}: {fact} is not in the text", letter.kind());
        }
        let same = askama::filters::escape(&words.reason, askama::filters::Html).unwrap().to_string();
        assert!(mail.html.contains(&same) && flat.contains(&words.reason), "{}", letter.kind());
        assert!(mail.html.len() <= 20 << 10, "{} is long: {}", letter.kind(), mail.html.len());
        for remote in ["<img", "<link", "url(", "@import", "<script", "src=", "background="] {
            assert!(!mail.html.contains(remote), "{}: {remote}", letter.kind());
        }
        for target in mail.html.split("href=\"").skip(1) {
            assert!(target.starts_with("https://vynos.halden.example/"), "{}: {target}", letter.kind());
        }
        assert_eq!(mail.unsubscribe.is_some(), letter.can_be_turned_off());
        assert_eq!(mail.html.contains("/account/notifications"), letter.can_be_turned_off());
        assert!(mail.text.lines().all(|l| l.chars().count() <= WIDTH || l.contains("https://")));
    }
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "<a href=\"https://evil.example\">\"Mira\"</a>\r\nBcc: eve@evil.example\r\n\r\nOpen https://evil.example \u{202e}moc";
    for letter in letters(hostile) {
        let mail = letter.render(&external()).unwrap();
        assert!(!mail.html.contains("<a href=\"https://evil"), "{}", letter.kind());
        assert!(!mail.subject.chars().any(char::is_control), "{}", letter.kind());
        for part in [&mail.subject, &mail.text, &mail.html] {
            assert!(!part.contains("https://evil") && !part.contains('\u{202e}'), "{}", letter.kind());
        }
        assert!(mail.html.len() <= 20 << 10, "{}", letter.kind());
    }
}

#[test]
fn a_mail_leads_nowhere_else() {
    for link in
        ["https://evil.example/x", "//evil.example/", "javascript:alert(1)", "http://vynos.halden.example/"]
    {
        let ends = at("2026-12-03T09:44:00Z");
        let letter = Letter::PasswordReset { link: link.into(), ends };
        assert!(matches!(letter.render(&external()), Err(Undrawable::ForeignLink)), "{link}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_name_can_be_drawn(x in ".{1,300}") {
        for letter in letters(&x) {
            let mail = letter.render(&external()).unwrap();
            prop_assert!(!mail.subject.chars().any(char::is_control));
            prop_assert_eq!(mail.html.matches("<table").count(), mail.html.matches("</table>").count());
            let stored = serde_json::to_string(&letter).unwrap();
            prop_assert_eq!(serde_json::from_str::<Letter>(&stored).unwrap(), letter);
        }
    }
}
