//! The pages of conversations.

mod start;
mod view;

use askama::Template;

use crate::web::Shell;
use crate::web::problem::FieldError;
use start::Starter;
use view::{Composer, TurnView};

#[derive(Template)]
#[template(path = "chat/start.html")]
struct StartPage {
    shell: Shell,
    slug: String,
    facts: String,
    /// What limits the answers, when something does.
    note: Option<String>,
    operator: bool,
    starters: Vec<Starter>,
    errors: Vec<FieldError>,
    composer: Composer,
}

#[derive(Template)]
#[template(path = "chat/conversation.html")]
struct ConversationPage {
    shell: Shell,
    slug: String,
    /// Path of this page.
    base: String,
    topic: String,
    title: String,
    pinned: bool,
    turns: Vec<TurnView>,
    stop: String,
    composer: Composer,
}

#[cfg(test)]
mod tests {
    use super::*;
    use super::view::*;
    fn shell() -> Shell {
        Shell { title: "Bulkify the renewal sync flow".into(), theme: "light", name: "Mira".into(), initials: "MK".into(), email: "m@x".into(), operator: true, csrf: "k".into(), demo: true, workspace: None, workspaces: vec![], navigation: crate::web::page::Navigation { new_chat: "/w/h/chat".into(), main: vec![crate::web::NavItem { href: "/w/h/chat".into(), label: "Chat", icon: "message-square-text", count: 0 }], recent: vec![crate::web::Crumb::new("Bulkify the renewal sync flow", "/w/h/chat/1")], foot: vec![] }, current: "/w/h/chat".into(), crumbs: vec![crate::web::Crumb::new("Chat", "/w/h/chat"), crate::web::Crumb::new("Bulkify the renewal sync flow", "")] }
    }
    fn composer(running: bool) -> Composer {
        Composer { action: "/w/h/chat/1".into(), running, placeholder: "Ask about Production, or describe a change…".into(), text: None, orgs: vec![("production".into(), "Production".into())], org: "production".into(), signed_out: false, model: "Demo model".into(), model_title: "Demo model: scripted, not AI".into() }
    }
    fn turn(n: usize, running: bool) -> TurnView {
        let text = "It is **Opportunity: Renewal Sync**. Its *Update Renewal* element sits inside the loop, so it runs one update per opportunity and stops at the 150 limit.[1] On 20 November the job picked up 183 records.[2]\n\n## What to do\n\n1. Move the update out of the loop\n2. Keep `Renewal_Stage__c`[3]\n\n| Stage | Count |\n|---|--:|\n| Open | 12 |\n\n```apex\npublic with sharing class A {\n    // Comment that is quite long so that it has to scroll somewhere on small screens, really\n    void run() { update renewals; }\n}\n```\n\nSee [the docs](https://help.salesforce.com/x).";
        let id = format!("a{n}");
        TurnView { id: format!("t{n}"), print: String::new(), number: n, question_id: format!("q{n}"), question: "The nightly renewal job failed again with “Too many DML statements: 151”. Which flow is it, and can you fix it?".into(), newest: n == 2, may_retry: true,
            pager: (n == 2).then(|| Pager { number: 2, count: 3, before: Some("?a=1".into()), next: Some("?a=2".into()) }),
            answer: Some(AnswerView { running, stopped: false, at: "09:42".into(), datetime: "2026-11-23T09:42:00Z".into(), label: Some("Demo model: scripted, not AI".into()), checked: if running { "Working".into() } else { "Checked 4 things in Production".into() }, took: if running {String::new()} else {"6.2 s".into()},
                tools: if running { vec![] } else { vec![ToolView { icon: "workflow", words: "Read flow Opportunity_Renewal_Sync".into(), found: "31 elements".into(), failed: false }, ToolView { icon: "library", words: "Searched documents for “renewal stage”".into(), found: "2 found".into(), failed: true }] },
                html: if running { String::new() } else { crate::web::markdown::html(text, crate::web::markdown::Place { heading: 3, prefix: &id, citations: &[1,2,3] }) },
                failure: (n == 1).then(|| "The model endpoint is over capacity. Your message is saved. Answer again. Request req_123".into()),
                proposals: if running { vec![] } else { vec![ProposalView { href: "/x".into(), title: "Bulkify renewal sync".into(), detail: "3 components for Production".into(), state: Some("Static checks pass"), tone: "ok" }] },
                consent: (n == 2 && !running).then(|| ConsentView { org: "Production".into(), org_id: "o".into() }),
                sources: if running { vec![] } else { vec![SourceView { n: 1, icon: "workflow", title: "Opportunity: Renewal Sync".into(), place: "Flow · lines 12 to 20".into(), href: "/s1".into(), quote: "for (Opportunity o : renewals) {\n    update o;\n}".into(), code: true }, SourceView { n: 2, icon: "file-text", title: "CRM naming guide 2026.pdf".into(), place: "Page 12".into(), href: "/s2".into(), quote: "…the renewal stage is one of six values and is never renamed in place. Contracts above €250,000 use “Pending – Legal” until counsel has signed.".into(), code: false },
                SourceView { n: 3, icon: "database", title: "Renewal__c".into(), place: "Object".into(), href: "/s3".into(), quote: String::new(), code: false }] },
                cost: if running { String::new() } else { "8,412 tokens · $0.041".into() }, id }) }.printed()
    }
    #[test]
    fn dump() {
        for (name, running) in [("done", false), ("running", true)] {
            let page = ConversationPage { shell: shell(), slug: "h".into(), base: "/w/h/chat/1".into(), topic: "chat:1".into(), title: "Bulkify the renewal sync flow".into(), pinned: false, turns: vec![turn(1, false), turn(2, running)], stop: "/w/h/chat/1/turns/t2/stop".into(), composer: composer(running) };
            std::fs::write(format!("/tmp/chatdump/{name}.html"), page.render().unwrap()).unwrap();
        }
        let page = StartPage { shell: shell(), slug: "h".into(), facts: "Production was synced 23 November 2026, 09:42 UTC: 41 objects, 12 flows, 62 Apex classes.".into(), note: None, operator: true, starters: vec![Starter { href: "/".into(), icon: "shield-alert", title: "Explain the 2 critical findings of Production".into(), detail: "Both touch Opportunity".into() }, Starter { href: "/".into(), icon: "code", title: "Can you fix A?".into(), detail: "DML in a loop".into() }, Starter { href: "/".into(), icon: "gauge", title: "Which limit do we reach first?".into(), detail: "x".into() }], errors: vec![], composer: composer(false) };
        std::fs::write("/tmp/chatdump/start.html", page.render().unwrap()).unwrap();
    }
}
