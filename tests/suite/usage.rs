//! Usage: what acts leave behind, what they cost, and budgets that stop the next call.

use std::time::Duration;

use serde_json::Value;
use vynos::chat::records::OPEN_CALLS;
use vynos::identity::Role;
use vynos::meter::budgets::{self, BUDGETS};
use vynos::meter::records::{self, DAYS, spent};
use vynos::meter::{Act, Feature, Limit, Sums, Whose};
use vynos::sim::model::MODEL;
use vynos::store::{Read as _, StoreError};
use vynos::usage::samples::SAMPLES;

use crate::access::signed_in;
use crate::chat_pages::{ask, ended, talking};
use crate::harness::{Client, Server};
use crate::knowledge::{says, upload};
use crate::members::{joined, workspace};
use crate::orgs::Rig;

const PAGE: &str = "/w/halden-energy/usage";
const SAY: &str = "[[fake:say A few words.]]";

/// What was used by one feature, of everybody.
fn used(server: &Server, feature: Feature) -> Sums {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    let mut sum = Sums::default();
    for ((_, facet), sums) in ws.read().unwrap().scan(&DAYS).rows().unwrap() {
        if facet.feature == feature {
            sum.add(&sums);
        }
    }
    sum
}

async fn budget(server: &Server, whose: Whose, limit: Limit) {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    let month = records::month(records::date(server.clock.now()));
    ws.note::<_, StoreError>(move |tx| budgets::set(tx, month, whose, Some(limit))).await.unwrap();
}

fn tokens(server: &Server, whose: Whose) -> u64 {
    let ws = server.app().web.door.for_runner(workspace(server)).unwrap();
    let month = records::month(records::date(server.clock.now()));
    spent(&ws.read().unwrap(), month, whose).unwrap().tokens
}

async fn token(client: &Client, scopes: &[&str]) -> String {
    let scopes = scopes.iter().map(|scope| ("scope", *scope));
    let fields: Vec<_> = [("name", "ci"), ("days", "30")].into_iter().chain(scopes).collect();
    let made = client.post("/w/halden-energy/tokens", &fields).await;
    made.between("<code id=\"fresh-token\">", "</code>").unwrap()
}

async fn json(client: &Client, token: &str, path: &str) -> Value {
    let answer = client.send(Client::new(client.base.clone()).request("GET", path).bearer_auth(token)).await;
    serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Loads the page until `words` stand in it.
pub async fn shows(client: &Client, path: &str, words: &str) -> String {
    for _ in 0..2_000 {
        let page = client.get(path).await;
        if page.body.contains(words) {
            return page.body;
        }
        tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await.ok();
    }
    panic!("{path} never said {words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_leaves_its_numbers_once() {
    let (rig, sim) = talking().await;
    let server = &rig.server;
    let orgs = used(server, Feature::Orgs);
    // The sign-in at Salesforce is no call of the org's API.
    assert!((3..=rig.sim.calls()).contains(&orgs.of(Act::SalesforceCall)), "{orgs:?}");
    assert_eq!(orgs.of(Act::FeatureUsed), 1);

    let path = ask(&rig.ada, "What does OpportunityTriggerHandler do?").await;
    ended(&rig.ada, &path).await;
    let posted = rig.ada.post(&path, &[("text", SAY), ("org", "")]).await;
    assert_eq!(posted.status, 303, "{}", posted.body);
    ended(&rig.ada, &path).await;
    let chat = used(server, Feature::Chat);
    assert_eq!((chat.of(Act::ConversationStarted), chat.of(Act::Message)), (1, 2));
    assert!(chat.of(Act::ToolCall) >= 1, "{chat:?}");
    assert!(chat.fresh_input() > 0 && chat.of(Act::OutputTokens) > 0, "{chat:?}");
    assert_eq!(tokens(server, Whose::Workspace), chat.tokens(), "the month holds what its days hold");

    // The messages say the same as the sums.
    let key = token(&rig.ada, &["read"]).await;
    let id = path.rsplit('/').next().unwrap();
    let messages = json(&rig.ada, &key, &format!("/api/v1/conversations/{id}/messages")).await;
    let of = |name: &str| -> u64 {
        messages["items"].as_array().unwrap().iter().filter_map(|m| m["usage"][name].as_u64()).sum()
    };
    let prompt = chat.fresh_input() + chat.of(Act::CacheReadTokens);
    assert_eq!((of("input_tokens"), of("output_tokens")), (prompt, chat.of(Act::OutputTokens)), "{messages}");

    upload(&rig.ada, &[("guide.md", b"# Guide\n\nGreet people.\n")]).await;
    says(&rig.ada, "Ready").await;
    let knowledge = used(server, Feature::Knowledge);
    assert_eq!((knowledge.of(Act::PageIngested), knowledge.of(Act::StoredBytes)), (1, 23));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_budget_stops_the_next_question_before_it_leaves_and_says_who_can_raise_it() {
    let (rig, sim) = talking().await;
    ended(&rig.ada, &ask(&rig.ada, SAY).await).await;
    let (one, calls) = (tokens(&rig.server, Whose::Workspace), sim.calls());
    // A budget that is set below what was used is told of at once: no call will come to tell of it.
    let set = [("whose", ""), ("unit", "tokens"), ("amount", &one.to_string())];
    assert_eq!(rig.ada.post(&format!("{PAGE}/budget"), &set).await.status, 303);
    let second = ask(&rig.ada, SAY).await;
    let page = ended(&rig.ada, &second).await.body;
    for words in ["is used up (", "Your message is saved", "An admin or owner", "1 December"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    // Neither is a call made whose prompt alone is more than what is left.
    budget(&rig.server, Whose::Workspace, Limit::Tokens(one + 1)).await;
    assert_eq!(rig.ada.post(&format!("{second}/again"), &[]).await.status, 303);
    let page = ended(&rig.ada, &second).await.body;
    assert!(page.contains("has 1 tokens of") && page.contains("less than this question takes"), "{page}");
    assert_eq!((sim.calls(), tokens(&rig.server, Whose::Workspace)), (calls, one), "the model was asked");
    // Told once, of 100 % at once, by the letter that everybody who sets budgets gets.
    let inbox = shows(&rig.ada, "/w/halden-energy/notifications", "model budget is used").await;
    assert_eq!(inbox.matches("100% of this month").count(), 1, "{inbox}");

    // An admin raises it in the page, and the question is answered.
    let more = [("whose", ""), ("unit", "tokens"), ("amount", "5,000,000")];
    let raised = rig.ada.post(&format!("{PAGE}/budget"), &more).await;
    assert_eq!(
        (raised.status, raised.location()),
        (303, "/w/halden-energy/usage#budgets"),
        "{}",
        raised.body
    );
    assert_eq!(rig.ada.post(&format!("{second}/again"), &[]).await.status, 303);
    assert!(ended(&rig.ada, &second).await.body.contains("A few words."));
    // A new month begins with nothing used.
    budget(&rig.server, Whose::Workspace, Limit::Tokens(one * 2)).await;
    rig.server.clock.advance(jiff::SignedDuration::from_hours(24 * 9));
    let ada = signed_in(&rig.server, "ada").await;
    let page = ended(&ada, &ask(&ada, SAY).await).await.body;
    assert!(page.contains("A few words.") && !page.contains("is used up"), "{page}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_s_own_budget_stops_only_that_member() {
    let (rig, sim) = talking().await;
    let max_id = joined(&rig.server, "max", Role::Member);
    let max = signed_in(&rig.server, "max").await;
    // 80 % of what one answer takes here, then all of it.
    ended(&max, &ask(&max, SAY).await).await;
    let one = tokens(&rig.server, Whose::Member(max_id));
    budget(&rig.server, Whose::Member(max_id), Limit::Tokens(one * 2 + one / 5)).await;
    ended(&max, &ask(&max, SAY).await).await;
    let inbox = shows(&max, "/w/halden-energy/notifications", "of your model budget").await;
    assert!(inbox.contains("80% of your model budget of this month is used"), "{inbox}");
    assert!(!rig.ada.get("/w/halden-energy/notifications").await.body.contains("of your model budget"));
    let page = ended(&max, &ask(&max, SAY).await).await.body;
    assert!(page.contains("Your model budget of this month has"), "{page}");
    let page = ended(&rig.ada, &ask(&rig.ada, SAY).await).await.body;
    assert!(page.contains("A few words."), "{page}");
    // The member sees the own budget, and may not change it.
    let page = max.get(PAGE).await.body;
    assert!(page.contains("Your budget of this month") && !page.contains("Set budget"), "{page}");
    let id = max_id.to_string();
    let raised =
        max.post(&format!("{PAGE}/budget"), &[("whose", &id), ("unit", "tokens"), ("amount", "9")]).await;
    assert_eq!(raised.status, 403);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_stopped_is_counted_as_far_as_it_came_and_before_that_written_down() {
    let (rig, sim) = talking().await;
    let ws = rig.server.app().web.door.for_runner(workspace(&rig.server)).unwrap();
    let open = || ws.read().unwrap().scan(&OPEN_CALLS).rows().unwrap();
    let path = ask(&rig.ada, "[[fake:long 3000]][[fake:slow 5]]").await;
    let page = shows(&rig.ada, &path, "word60 ").await;
    let calls = open();
    assert_eq!(calls.len(), 1, "a process that dies now must not make it free");
    assert!(calls[0].1.input > 100 && calls[0].1.model == MODEL, "{calls:?}");
    assert_eq!(used(&rig.server, Feature::Chat).tokens(), 0);
    let turn = page.split("/turns/").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    assert_eq!(rig.ada.post(&format!("{path}/turns/{turn}/stop"), &[]).await.status, 303);
    ended(&rig.ada, &path).await;
    let chat = used(&rig.server, Feature::Chat);
    // "word60 " and all before it are 450 letters; the head of the answer told of one token.
    assert!(chat.of(Act::OutputTokens) > 100 && chat.fresh_input() > 100, "{chat:?}");
    assert!(open().is_empty());
    let key = token(&rig.ada, &["read"]).await;
    let id = path.rsplit('/').next().unwrap();
    let messages = json(&rig.ada, &key, &format!("/api/v1/conversations/{id}/messages")).await;
    assert_eq!(messages["items"][1]["usage"]["output_tokens"], chat.of(Act::OutputTokens));
    sim.stop().await;
}

/// So many conversations at once.
const AT_ONCE: u64 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_run_over_a_budget_by_less_than_one_answer_each() {
    let (rig, sim) = talking().await;
    ended(&rig.ada, &ask(&rig.ada, SAY).await).await;
    let one = tokens(&rig.server, Whose::Workspace);
    budget(&rig.server, Whose::Workspace, Limit::Tokens(one * 3)).await;
    let calls = sim.calls();
    let slow = "[[fake:say A few words.]][[fake:slow 40]]";
    let asked = futures_util::future::join_all((0..AT_ONCE).map(|_| ask(&rig.ada, slow))).await;
    let mut refused = 0;
    for path in asked {
        refused += u64::from(ended(&rig.ada, &path).await.body.contains("model budget of the workspace"));
    }
    let let_through = sim.calls() - calls;
    assert_eq!(let_through + refused, AT_ONCE);
    // At most two more prompts fit. Without holding, all six would have left.
    assert!((1..=2).contains(&let_through), "{let_through} calls left");
    assert!(tokens(&rig.server, Whose::Workspace) <= one * 3 + let_through * one);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_the_operator_s_to_set_and_the_past_keeps_its_cost() {
    let (rig, sim) = talking().await;
    let key = token(&rig.ada, &["read"]).await;
    ended(&rig.ada, &ask(&rig.ada, SAY).await).await;
    let before = json(&rig.ada, &key, "/api/v1/usage?by=model").await;
    assert_eq!(before["items"][0]["key"], MODEL);
    let cost = |usage: &Value| usage["total"]["cost_usd"].as_str().unwrap().to_owned();
    let form = |model, input| {
        [
            ("pattern", model),
            ("from", "2026-11-01"),
            ("from_prompt", ""),
            ("input", input),
            ("output", "0"),
            ("read", "0"),
            ("write_5m", "0"),
            ("write_1h", "0"),
        ]
    };
    let wrong = rig.ada.post("/admin/prices", &form(MODEL, "cheap")).await;
    assert!(wrong.status == 422 && wrong.body.contains("such as 2.50"), "{}", wrong.body);
    assert_eq!(rig.ada.post("/admin/prices", &form(MODEL, "1000000")).await.status, 303);
    let page = rig.ada.get("/admin/prices").await.body;
    assert!(page.contains("$1,000,000.00") && page.contains("Built in"), "{page}");
    assert_eq!(cost(&json(&rig.ada, &key, "/api/v1/usage?by=model").await), cost(&before));
    ended(&rig.ada, &ask(&rig.ada, SAY).await).await;
    let after = json(&rig.ada, &key, "/api/v1/usage?by=model").await;
    // A dollar a token from now on: the fresh input is the cost, to the dollar.
    let fresh =
        after["total"]["input_tokens"].as_u64().unwrap() - before["total"]["input_tokens"].as_u64().unwrap();
    let nano = |text: String| text.replace('.', "").parse::<u64>().unwrap();
    assert_eq!(nano(cost(&after)) - nano(cost(&before)), fresh * 1_000_000_000);
    let which = [("pattern", MODEL), ("from", "2026-11-01"), ("from_prompt", "0")];
    assert_eq!(rig.ada.post("/admin/prices/remove", &which).await.status, 303);
    assert_eq!(rig.ada.post("/admin/prices/remove", &which).await.status, 404);
    joined(&rig.server, "max", Role::Owner);
    assert_eq!(signed_in(&rig.server, "max").await.get("/admin/prices").await.status, 403);
    sim.stop().await;
}

async fn rows(client: &Client, query: &str) -> Vec<Value> {
    let file = client.get(&format!("{PAGE}/file?format=json{query}")).await;
    assert_eq!(file.status, 200, "{}", file.body);
    serde_json::from_str(&file.body).unwrap()
}

async fn two_people(rig: &Rig) -> Client {
    joined(&rig.server, "max", Role::Member);
    let max = signed_in(&rig.server, "max").await;
    for client in [&rig.ada, &max] {
        ended(client, &ask(client, SAY).await).await;
    }
    max
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_see_everybody_s_numbers_and_others_their_own_in_the_page_the_file_and_the_api() {
    let (rig, sim) = talking().await;
    let max = two_people(&rig).await;
    let page = rig.ada.get(PAGE).await.body;
    for words in [
        "1 to 23 November 2026",
        "Ada Lovelace",
        "Tokens per day, November 2026",
        "Show as table",
        "2 of 2 members active",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let own = max.get(PAGE).await.body;
    assert!(
        own.contains("your own numbers") && own.contains(MODEL) && !own.contains("Ada Lovelace"),
        "{own}"
    );
    assert!(!max.get(&format!("{PAGE}?by=member")).await.body.contains("Ada Lovelace"));
    let org = rig.ada.get(&format!("{PAGE}?by=org&month=2026-11")).await.body;
    assert!(org.contains("<td class=\"t\">Production</td>"), "{org}");

    let (all, mine) = (rows(&rig.ada, "").await, rows(&max, "").await);
    assert!(mine.iter().all(|row| row["member"] == "max") && mine.len() < all.len(), "{mine:?}");
    let sum =
        |rows: &[Value], name: &str| -> u64 { rows.iter().map(|row| row[name].as_u64().unwrap()).sum() };
    assert_eq!((sum(&all, "conversations"), sum(&mine, "conversations")), (2, 1));
    let csv = rig.ada.get(&format!("{PAGE}/file?format=csv&month=2026-11")).await;
    let name = csv.headers["content-disposition"].to_str().unwrap();
    assert!(name.contains("usage-halden-energy-2026-11.csv"), "{name}");
    assert_eq!(csv.body.lines().count(), all.len() + 1);
    assert!(csv.body.starts_with("day,member_id,member,feature,model,"));

    let (admin_key, own_key) = (token(&rig.ada, &["read"]).await, token(&max, &["read"]).await);
    let whole = json(&rig.ada, &admin_key, "/api/v1/usage?from=2026-11-23&to=2026-11-23&by=member").await;
    assert_eq!((&whole["of"], whole["items"].as_array().unwrap().len()), (&Value::from("workspace"), 2));
    for name in ["conversations", "input_tokens", "output_tokens", "salesforce_calls"] {
        assert_eq!(whole["total"][name].as_u64().unwrap(), sum(&all, name), "{name}");
    }
    let own = json(&max, &own_key, "/api/v1/usage").await;
    assert_eq!((&own["of"], &own["total"]["conversations"]), (&Value::from("own"), &Value::from(1)));
    for query in ["from=x", "to=2026-13-01", "by=moon", "from=2026-11-24&to=2026-11-23", "from=2020-01-01"] {
        assert_eq!(json(&max, &own_key, &format!("/api/v1/usage?{query}")).await["status"], 422, "{query}");
    }
    let blind = token(&rig.ada, &["chat"]).await;
    assert_eq!(json(&rig.ada, &blind, "/api/v1/usage").await["status"], 403);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_month_a_coming_month_and_a_wrong_budget_are_said() {
    let (server, ada) = Server::ready().await;
    let page = ada.get(PAGE).await.body;
    assert!(
        page.contains("No tokens were used this month.") && page.contains("There is no budget"),
        "{page}"
    );
    for month in ["2026-12", "2026-1", "x", ""] {
        assert_eq!(ada.get(&format!("{PAGE}?month={month}")).await.status, 404, "{month}");
    }
    assert_eq!(ada.get(&format!("{PAGE}?month=2026-10")).await.status, 200);
    let wrong =
        ada.post(&format!("{PAGE}/budget"), &[("whose", ""), ("unit", "dollars"), ("amount", "lots")]).await;
    assert!(wrong.status == 422 && wrong.body.contains("value=\"lots\""), "{}", wrong.body);
    let stranger = "0123456789abcdefghjkmnpqrs";
    let set = ada
        .post(&format!("{PAGE}/budget"), &[("whose", stranger), ("unit", "tokens"), ("amount", "1")])
        .await;
    assert_eq!(set.status, 404);
    let set =
        ada.post(&format!("{PAGE}/budget"), &[("whose", ""), ("unit", "dollars"), ("amount", "12.50")]).await;
    assert_eq!(set.status, 303);
    assert!(ada.get(PAGE).await.body.contains("$12.50"));
    let lifted =
        ada.post(&format!("{PAGE}/budget"), &[("whose", ""), ("unit", "tokens"), ("amount", "")]).await;
    assert_eq!(lifted.status, 303);
    let ws = server.app().web.door.for_runner(workspace(&server)).unwrap();
    assert_eq!(ws.read().unwrap().scan(&BUDGETS).count().unwrap(), 0);
    // The price table that came with this version is old after 90 days.
    assert!(!ada.get(PAGE).await.body.contains("The price table is from"));
    server.clock.advance(jiff::SignedDuration::from_hours(24 * 80));
    let ada = signed_in(&server, "ada").await;
    assert!(ada.get(PAGE).await.body.contains("The price table is from 1 November 2026"));
}

#[tokio::test(flavor = "multi_thread")]
async fn capacity_is_measured_once_a_day_and_forecast_after_a_week() {
    let (rig, sim) = talking().await;
    upload(&rig.ada, &[("guide.md", b"# Guide\n\nGreet people.\n")]).await;
    says(&rig.ada, "Ready").await;
    let sampler = &rig.server.app().sampler;
    sampler.take_due().await.unwrap();
    let page = rig.ada.get(&format!("{PAGE}/capacity")).await.body;
    for words in
        ["Not enough history: 1 of 7 days", "Search index", "Database", "<td class=\"t\">Production</td>"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    for _ in 0..6 {
        rig.server.clock.advance(jiff::SignedDuration::from_hours(24));
        sampler.take_due().await.unwrap();
        sampler.take_due().await.unwrap();
    }
    let ws = rig.server.app().web.door.for_runner(workspace(&rig.server)).unwrap();
    let samples = ws.read().unwrap().scan(&SAMPLES).rows().unwrap();
    assert_eq!(samples.len(), 7, "one a day");
    assert!(samples.iter().all(|(_, s)| s.keyspace > 0 && s.index > 0 && s.blobs > 23), "{samples:?}");
    let readings = samples.iter().filter(|(_, sample)| !sample.orgs.is_empty()).count();
    assert!(readings <= 2, "a reading of yesterday says nothing of today: {readings}");
    let ada = signed_in(&rig.server, "ada").await;
    let page = ada.get(&format!("{PAGE}/capacity")).await.body;
    assert!(page.contains("if it goes on like this") && page.contains("<polygon points="), "{page}");
    assert!(page.contains("of 7 days</td>"), "the org’s calls have too few readings: {page}");
    joined(&rig.server, "max", Role::Member);
    assert_eq!(signed_in(&rig.server, "max").await.get(&format!("{PAGE}/capacity")).await.status, 403);
    sim.stop().await;
}
