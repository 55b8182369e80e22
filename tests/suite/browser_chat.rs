//! Conversations in a headless Chromium: asked, streamed, stopped, reloaded, seen in two tabs, without script, small
//! and dark. Any console error or policy report fails.

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::chat_pages::{CHAT, ask, talking};
use crate::webdriver::Browser;

const ENTER: &str = "\u{E007}";
const ESCAPE: &str = "\u{E00C}";
const SHIFTED_ENTER: &str = "const q = document.querySelector('#q'); q.focus(); \
    return q.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', shiftKey: true, bubbles: true, cancelable: true}))";
const COMPOSING_ENTER: &str = "return document.querySelector('#q').dispatchEvent(\
    new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))";
/// A long answer with a list, a table and code, slow enough to be watched.
const LONG: &str = "[[fake:say # Heading\n\nFirst **bold** paragraph.\n\n- one\n- two\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n\
    ```apex\npublic class A {}\n```\n\nLast words.]][[fake:long 400]][[fake:slow 20]]";

const BUSY: &str = "return Boolean(document.querySelector('[aria-busy]'))";
const CALM: &str =
    "return !document.querySelector('[aria-busy]') && document.querySelectorAll('.msg').length > 1";

async fn wait_for(browser: &Browser, text: &str) {
    browser.wait(&format!("return document.querySelector('#msgs')?.innerText.includes({text:?})")).await;
}

/// Types into the field as a paste does: a line break in it sends nothing.
async fn paste(browser: &Browser, text: &str) {
    browser.find("#q").await;
    browser.run(&format!("const q = document.querySelector('#q'); q.focus(); q.value = {text:?}")).await;
}

async fn start(rig: &crate::orgs::Rig, width: u32, height: u32, script: bool) -> Browser {
    let browser = Browser::start(width, height, script).await;
    sign_in(&browser, &rig.server.base).await;
    browser
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_and_its_answer_read_with_its_sources() {
    let (rig, sim) = talking().await;
    for (width, height) in [(1440, 900), (390, 844)] {
        let browser = start(&rig, width, height, true).await;
        browser.goto(&format!("{}{CHAT}", rig.server.base)).await;
        is_calm(&browser, "/chat").await;
        is_accessible(&browser, "chat start").await;
        browser.click(".sugg a").await;
        browser.wait("return document.querySelector('#q').value.includes('findings')").await;
        browser.type_into("#q", "What does OpportunityTriggerHandler do?").await;
        browser.click(".send").await;
        browser.find("#msgs").await;
        browser.wait(CALM).await;
        assert!(
            browser.text(".tools summary").await.contains("Checked 2 things"),
            "{}",
            browser.text(".tools").await
        );
        browser.click(".tools summary").await;
        assert!(browser.text(".tools").await.contains("Read ApexClass OpportunityTriggerHandler"));
        assert!(browser.text(".who").await.contains("Demo model: scripted, not AI"));
        browser.click(".prose .cite[href$='-2']").await;
        browser.wait("return document.activeElement.matches('.src.on')").await;
        let beside = "const a = document.querySelector('.srcs').getBoundingClientRect(), \
                      b = document.querySelector('.prose').getBoundingClientRect(); return a.left >= b.right";
        assert_eq!(
            browser.run(beside).await,
            width > 1180,
            "sources stand beside the answer where there is room"
        );
        is_calm(&browser, "/chat-answer").await;
        is_accessible(&browser, "an answer").await;
        browser.click("[popovertarget=chat-menu]").await;
        browser.picture(&format!("chat-menu-{width}")).await;
        is_accessible(&browser, "chat menu").await;
        browser.keys(ESCAPE).await;
        browser.click(".src.on").await;
        browser.find("table.diff").await;
        assert!(browser.url().await.contains("/metadata/ApexClass/OpportunityTriggerHandler#L"));
        browser.goto(&format!("{}/w/halden-energy/chats?q=writes", rig.server.base)).await;
        is_calm(&browser, "/chats").await;
        is_accessible(&browser, "chats").await;
        browser.click(".clist a[href$='/delete']").await;
        browser.find("form[action$='/delete']").await;
        is_calm(&browser, "/chat-delete").await;
        is_accessible(&browser, "delete a chat").await;
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_written_as_it_comes_and_escape_stops_it() {
    let (rig, sim) = talking().await;
    let browser = start(&rig, 1440, 900, true).await;
    let path = ask(&rig.ada, "[[fake:say Hello.]]").await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    wait_for(&browser, "Hello.").await;
    browser.run("window.shift = 0; new PerformanceObserver(l => l.getEntries().forEach(e => { \
            if (e.hadRecentInput) return; window.shift += e.value; \
            window.moved = e.sources.map(s => e.value + ' ' + s.node?.nodeName + '.' + s.node?.className).concat(window.moved ?? []) })).observe({type: 'layout-shift', buffered: false})").await;
    paste(&browser, LONG).await;
    assert_eq!(browser.run(SHIFTED_ENTER).await, true, "Shift+Enter is left to the field");
    browser.run(COMPOSING_ENTER).await;
    assert_eq!(browser.run(BUSY).await, false, "nothing is sent while a word is composed");
    browser.run("document.querySelector('#q').focus()").await;
    browser.keys(ENTER).await;
    browser.find("[aria-busy]").await;
    browser.wait("return document.querySelector('#say').textContent.includes('Press Escape')").await;
    browser.wait("return document.querySelector('[aria-busy] .prose strong')?.textContent === 'bold'").await;
    browser.wait("return Boolean(document.querySelector('[aria-busy] .prose .codeb .k'))").await;
    assert_eq!(browser.run("return document.activeElement.id").await, "q", "the focus stays in the field");
    assert_eq!(browser.run("return document.querySelector('.send .vh').textContent").await, "Stop answering");
    is_calm(&browser, "/chat-streaming").await;
    is_accessible(&browser, "a running answer").await;
    wait_for(&browser, "word5").await;
    browser.keys(ESCAPE).await;
    browser.wait("return !document.querySelector('[aria-busy]')").await;
    assert!(browser.text("#msgs").await.contains("Stopped. What came is kept."));
    let shift = browser.run("return window.shift").await.as_f64().unwrap();
    assert!(shift <= 0.02, "the page moved by {shift}: {}", browser.run("return window.moved").await);
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    assert!(browser.text("#msgs").await.contains("word5"), "what came survives a reload");
    assert_eq!(browser.run("return document.querySelector('.send .vh').textContent").await, "Send");
    browser.click("form[action$='/again'] button").await;
    browser.find("[aria-busy]").await;
    browser.click(".send.stop").await;
    browser.wait(CALM).await;
    assert!(browser.text(".pager").await.contains("2 of 2"));
    is_calm(&browser, "/chat-stopped").await;
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_and_a_second_tab_show_the_same_answer_going_on() {
    let (rig, sim) = talking().await;
    let browser = start(&rig, 1440, 900, true).await;
    let path = ask(&rig.ada, "[[fake:say Hello.]]").await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    wait_for(&browser, "Hello.").await;
    let (first, second) = browser.new_tab().await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    wait_for(&browser, "Hello.").await;
    browser.switch(&first).await;
    paste(&browser, "[[fake:say Start **here**.\n\nGoing on.]][[fake:long 120]][[fake:slow 25]]").await;
    browser.click(".send").await;
    wait_for(&browser, "Going on.").await;
    // The other tab hears of the question by itself.
    browser.switch(&second).await;
    wait_for(&browser, "Going on.").await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    wait_for(&browser, "Start here.").await;
    for tab in [&second, &first] {
        browser.switch(tab).await;
        wait_for(&browser, "word119").await;
        browser.wait(CALM).await;
        assert_eq!(browser.run("return document.querySelectorAll('.turn').length").await, 2);
        assert!(browser.complaints().await.is_empty());
    }
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_script_the_page_asks_for_itself_until_the_answer_is_there() {
    let (rig, sim) = talking().await;
    let browser = start(&rig, 1280, 800, false).await;
    browser.goto(&format!("{}{CHAT}", rig.server.base)).await;
    browser.type_into("#q", "[[fake:say All is **well**.]][[fake:slow 40]]").await;
    browser.click(".send").await;
    browser.find(".prose strong").await;
    browser.find("form[action$='/again']").await;
    assert!(browser.text("#msgs").await.contains("All is well."));
    browser.type_into("#q", "[[fake:long 3000]][[fake:slow 20]]").await;
    browser.click(".send").await;
    browser.click(".send.stop").await;
    browser.find(".turn:nth-child(2) .note.info").await;
    browser.goto(&format!("{}/w/halden-energy/chats", rig.server.base)).await;
    browser.click(".clist a[href$='/delete']").await;
    browser.click("form[action$='/delete'] .btn").await;
    browser.find(".page-h h1").await;
    assert!(browser.text("main").await.contains("No chats yet"));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dark_theme_and_320_pixels_hold_every_part() {
    let (rig, sim) = talking().await;
    rig.ada.post("/account/profile", &[("name", "Ada Lovelace"), ("theme", "dark")]).await;
    let path = ask(&rig.ada, LONG).await;
    let browser = start(&rig, 1440, 900, true).await;
    browser.goto(&format!("{}{path}", rig.server.base)).await;
    wait_for(&browser, "word399").await;
    browser.wait(CALM).await;
    is_calm(&browser, "/chat-dark").await;
    is_accessible(&browser, "dark chat").await;
    browser.narrow(320, 640).await;
    for page in [path.as_str(), CHAT, "/w/halden-energy/chats"] {
        browser.goto(&format!("{}{page}", rig.server.base)).await;
        browser.find("main").await;
        is_calm(&browser, &format!("narrow{page}")).await;
        is_accessible(&browser, &format!("{page} at 320")).await;
    }
    sim.stop().await;
}
