//! The main job as a person does it: add a document, ask about it and about the org, have a fix written, allow its
//! validation, read the difference, deploy it, and see it in the catalogue with its history.

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::chat_pages::{CHAT, talking};
use crate::webdriver::Browser;

const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/documents/naming-guide.pdf");
const ANSWERED: &str =
    "return !document.querySelector('[aria-busy]') && document.querySelectorAll('.msg').length > 1";

async fn ask(browser: &Browser, text: &str) {
    browser.wait(ANSWERED.replace("length > 1", "length % 2 == 0").as_str()).await;
    let before = browser.run("return document.querySelectorAll('.msg').length").await.as_u64().unwrap();
    browser.type_into("#q", text).await;
    browser.click(".send").await;
    browser
        .wait(&format!(
            "return !document.querySelector('[aria-busy]') && document.querySelectorAll('.msg').length >= {}",
            before + 2
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_added_a_fix_is_asked_for_validated_and_deployed() {
    let (rig, sim) = talking().await;
    let base = format!("{}/w/halden-energy", rig.server.base);
    let browser = Browser::start(1440, 1000, true).await;
    sign_in(&browser, &rig.server.base).await;

    browser.goto(&format!("{base}/knowledge")).await;
    is_calm(&browser, "/knowledge-empty").await;
    is_accessible(&browser, "an empty library").await;
    browser.upload("#files", GUIDE).await;
    browser.click("[data-upload] button").await;
    browser.wait("return document.querySelector('#uploads')?.innerText.includes('Uploaded')").await;
    // Without a reload: the page hears that it was read.
    browser.find("#documents .badge.ok").await;
    browser.type_into("#ks", "pending legal").await;
    browser.keys("\u{E007}").await;
    browser.find(".klist mark").await;
    is_calm(&browser, "/knowledge-search").await;
    is_accessible(&browser, "a search").await;
    browser.click(".klist li a").await;
    browser.find("#passage mark").await;
    is_calm(&browser, "/knowledge-page").await;
    is_accessible(&browser, "a page of a document").await;

    browser.goto(&format!("{}{CHAT}", rig.server.base)).await;
    browser.type_into("#q", "What does our naming guide say about contracts and counsel?").await;
    browser.click(".send").await;
    browser.find("#msgs").await;
    browser.wait(ANSWERED).await;
    let source = browser.text(".srcs").await;
    assert!(source.contains("naming-guide.pdf") && source.contains("Page 3"), "{source}");

    ask(&browser, "Can you fix OpportunityTriggerHandler?").await;
    browser.find(".prop .btn.pri").await;
    ask(&browser, "Validate it.").await;
    is_accessible(&browser, "a consent that is asked for").await;
    browser.picture("main-job-consent").await;
    browser.click("form[action$='/consent'] button").await;
    browser
        .wait(
            "return document.querySelectorAll('.msg').length >= 8 && !document.querySelector('[aria-busy]')",
        )
        .await;
    browser.picture("main-job-validated").await;
    let answer = browser.text("#msgs").await;
    assert!(answer.contains("The org accepts the change set"), "{answer}");

    browser.click(".prop .btn.pri").await;
    browser.find("table.diff").await;
    let change_set = browser.url().await;
    is_accessible(&browser, "a validated change set").await;
    browser.picture("main-job-change-set").await;
    browser.goto(&format!("{change_set}/approve")).await;
    browser.type_into("#name", "Production").await;
    browser.click("button[value='deploy']").await;
    browser.find("form[action$='/roll-back']").await;
    browser.picture("main-job-deployed").await;

    let before = 1;
    let component = format!("{base}/o/production/metadata/ApexClass/OpportunityTriggerHandler");
    let mut versions = 0;
    for _ in 0..200 {
        browser.goto(&component).await;
        browser.find("#history").await;
        versions = browser
            .run("return document.querySelectorAll('#history tbody tr').length")
            .await
            .as_u64()
            .unwrap();
        if versions > before {
            break;
        }
    }
    assert!(versions > before, "the sync after the deployment sees a new version");
    browser.picture("main-job-history").await;
    assert!(browser.complaints().await.is_empty());
    sim.stop().await;
}
