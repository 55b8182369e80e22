//! The test mail: text and HTML with the same facts, nothing to fetch, no way to unsubscribe needed.

use askama::Template;
use url::Url;

use crate::identity::Control;
use crate::seal::hex;
use crate::wire::mail::Mail;

#[derive(Template)]
#[template(path = "mail/test.html")]
struct Html<'a> {
    address: &'a str,
    host: &'a str,
    to: &'a str,
}

#[derive(Template)]
#[template(path = "mail/test.txt")]
struct Text<'a> {
    address: &'a str,
    host: &'a str,
    to: &'a str,
}

/// The mail that shows a person that mail works.
pub fn test_mail(control: &Control, external: &Url, from: &str, to: &str) -> Result<Mail, askama::Error> {
    let address = external.as_str();
    let host = external.host_str().unwrap_or_default();
    Ok(Mail {
        from: from.to_owned(),
        to: to.to_owned(),
        subject: "Test mail from Vynos".into(),
        text: Text { address, host, to }.render()?,
        html: Html { address, host, to }.render()?,
        id: hex(&control.random().bytes::<16>()),
        at: control.clock().now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_tell_the_same_and_fetch_nothing() {
        let (address, host, to) = ("https://vynos.halden.example/", "vynos.halden.example", "ada@x.example");
        let html = Html { address, host, to }.render().unwrap();
        let text = Text { address, host, to }.render().unwrap();
        for part in [&html, &text] {
            assert!(part.contains(address) && part.contains(to), "{part}");
            assert!(part.len() < 20_000);
        }
        for remote in ["<img", "<link", "url(", "@import", "<script", "src="] {
            assert!(!html.contains(remote), "{remote}");
        }
        let hostile = Html { address, host, to: "<b>@x.example" }.render().unwrap();
        assert!(!hostile.contains("<b>@"));
    }
}
