//! The pages of change sets in a browser: they draw, fit, are accessible, and follow their runs.

use crate::browser::{is_accessible, is_calm, sign_in};
use crate::deployments::{BASE, Bench, GREETER, TEST};
use crate::webdriver::Browser;

/// Looks at a page in three widths and in the dark.
async fn looked_at(browser: &Browser, bench: &Bench, path: &str, name: &str) {
    for (width, height) in [(1440, 1000), (390, 1400), (320, 640)] {
        browser.narrow(width, height).await;
        browser.goto(&format!("{}{path}", bench.rig.server.base)).await;
        is_calm(browser, name).await;
        is_accessible(browser, &format!("{name} at {width}")).await;
    }
    browser.narrow(1440, 1000).await;
    let dark = "const done = arguments[arguments.length - 1]; document.documentElement.dataset.theme = 'dark'; \
                requestAnimationFrame(() => Promise.all(document.getAnimations().map(a => a.finished)).then(() => done(true)))";
    browser.run_async(dark).await;
    is_accessible(browser, &format!("{name} in the dark")).await;
    browser.picture(&format!("{name}-dark")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_its_editor_and_the_list_are_drawn_in_every_width() {
    let bench = Bench::new().await;
    let browser = Browser::start(1440, 1000, true).await;
    sign_in(&browser, &bench.rig.server.base).await;
    looked_at(&browser, &bench, BASE, "deployments-none").await;
    let broken = GREETER.replace("+ who;", "+ who");
    let files = [
        ("classes/Greeter.cls", broken.as_str()),
        ("classes/GreeterTest.cls", TEST),
        (
            "classes/HelloWorld.cls",
            "public class HelloWorld {\n    public static String say() {\n        return 'all';\n    }\n}\n",
        ),
    ];
    let id = bench.drafted(&files).await;
    looked_at(&browser, &bench, BASE, "deployments").await;
    looked_at(&browser, &bench, &format!("{BASE}/{id}"), "change-set-draft").await;
    looked_at(&browser, &bench, &format!("{BASE}/{id}/edit?file=classes/Greeter.cls"), "change-set-edit")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_live_and_its_failures_and_the_approval_are_drawn() {
    let bench = Bench::new().await;
    let wrong = TEST.replace(
        "Assert.areEqual('Hello Ada', Greeter.greet('Ada'));",
        "Greeter.greet('Ada');\n        Assert.areEqual(5, 4, 'records');",
    );
    let before = "public with sharing class HelloWorld {\n    public static String greet(String name) {\n        return 'Hello, ' + name;\n    }\n}\n";
    let id = bench
        .drafted(&[
            ("classes/Greeter.cls", GREETER),
            ("classes/GreeterTest.cls", &wrong),
            ("classes/HelloWorld.cls", before),
        ])
        .await;
    let browser = Browser::start(1440, 1000, true).await;
    sign_in(&browser, &bench.rig.server.base).await;
    browser.goto(&format!("{}{BASE}/{id}", bench.rig.server.base)).await;
    browser.click("form[action$='/validate'] button").await;
    browser.find("form[action$='/cancel']").await;
    // Without a reload: the page hears that the run has ended.
    browser.find("#cs-checks .tests .bad").await;
    assert!(
        browser.text("#cs-state").await.contains("One test fails, so nothing was changed in Production.")
    );
    looked_at(&browser, &bench, &format!("{BASE}/{id}"), "change-set-failed").await;
    bench.edited(&id, "classes/GreeterTest.cls", &wrong, TEST).await;
    bench.edited(&id, "classes/HelloWorld.cls", before, &format!("// sim: coverage 100\n{before}")).await;
    let mended = TEST.replace("Assert.", "HelloWorld.greet('x');\n        Assert.");
    bench.edited(&id, "classes/GreeterTest.cls", TEST, &mended).await;
    let set = bench.validated(&id).await;
    assert_eq!(set["status"], "validated", "{set}");
    looked_at(&browser, &bench, &format!("{BASE}/{id}"), "change-set-ready").await;
    looked_at(&browser, &bench, &format!("{BASE}/{id}/approve"), "change-set-approve").await;
    browser.goto(&format!("{}{BASE}/{id}/approve", bench.rig.server.base)).await;
    browser.type_into("#name", "Production").await;
    browser.click("button[value='deploy']").await;
    browser.find("form[action$='/roll-back']").await;
    bench.rig.synced().await;
    looked_at(&browser, &bench, &format!("{BASE}/{id}"), "change-set-deployed").await;
}
