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
    let broken = GREETER.replace("+ name;", "+ name");
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
