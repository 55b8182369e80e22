//! A mail as it goes out: text and HTML, nothing that a reader's program would fetch.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::message::{Mailbox, MultiPart, header};
use lettre::{Address, Message};

use super::MailError;

/// One mail to one person.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `Name <address>`, or the address alone.
    pub from: String,
    pub to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    /// What comes before the @ of its Message-ID: the same for every try at the same mail.
    pub id: String,
    pub at: Timestamp,
    /// The page where the person chooses not to get such mails.
    pub unsubscribe: Option<String>,
}

/// The address in `Name <address>`; `None` when it is no such thing.
pub fn address(mailbox: &str) -> Option<Address> {
    let plain = !mailbox.chars().any(char::is_control) && mailbox.len() <= 320;
    plain.then(|| mailbox.parse::<Mailbox>().ok()).flatten().map(|mailbox| mailbox.email)
}

/// Says that a program sent it, so that no absence note comes back (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl header::Header for AutoSubmitted {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".into())
    }
}

/// Where such mails can be turned off (RFC 2369).
#[derive(Clone)]
struct ListUnsubscribe(String);

impl header::Header for ListUnsubscribe {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("List-Unsubscribe")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.to_owned()))
    }

    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), format!("<{}>", self.0))
    }
}

impl Mail {
    pub(super) fn message(&self) -> Result<Message, MailError> {
        let unfit = |error: &dyn std::fmt::Display| MailError::Unfit(error.to_string());
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|e| unfit(&e));
        let from = mailbox(&self.from)?;
        let at = u64::try_from(self.at.as_second()).unwrap_or_default();
        let id = format!("<{}@{}>", self.id, from.email.domain());
        let mut message = Message::builder();
        if let Some(page) = &self.unsubscribe {
            message = message.header(ListUnsubscribe(page.clone()));
        }
        message
            .from(from)
            .to(mailbox(&self.to)?)
            .subject(&self.subject)
            .date(SystemTime::UNIX_EPOCH + Duration::from_secs(at))
            .message_id(Some(id))
            .header(AutoSubmitted)
            .multipart(MultiPart::alternative_plain_html(self.text.clone(), self.html.clone()))
            .map_err(|e| unfit(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Mail {
        Mail {
            from: "Vynos <vynos@halden.example>".into(),
            to: "ada@halden.example".into(),
            subject: "Prüfung".into(),
            text: "Guten Tag, Kovač".into(),
            html: "<p>Guten Tag, Kovač</p>".into(),
            id: "0a1b".into(),
            at: "2026-11-23T09:00:00Z".parse().unwrap(),
            unsubscribe: Some("https://vynos.halden.example/account/notifications".into()),
        }
    }

    #[test]
    fn a_mail_is_plain_ascii_with_both_parts_and_says_that_a_program_sent_it() {
        let text = String::from_utf8(mail().message().unwrap().formatted()).unwrap();
        assert!(text.is_ascii());
        for part in [
            "From: Vynos <vynos@halden.example>\r\n",
            "Message-ID: <0a1b@halden.example>\r\n",
            "Date: Mon, 23 Nov 2026 09:00:00 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "List-Unsubscribe: <https://vynos.halden.example/account/notifications>\r\n",
            "multipart/alternative",
            "text/plain; charset=utf-8",
            "text/html; charset=utf-8",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_line_break_never_makes_a_header() {
        assert!(address("vynos@halden.example").is_some());
        assert!(address("Vynos <vynos@halden.example>").is_some());
        for bad in ["", "vynos", "a@b\r\nBcc: eve@x.example", "A\nB <a@b.example>", "<>"] {
            assert!(address(bad).is_none(), "{bad:?}");
        }
        let sneaky = Mail { subject: "Hi\r\nBcc: eve@x.example".into(), ..mail() };
        let text = String::from_utf8(sneaky.message().unwrap().formatted()).unwrap();
        assert!(!text.contains("\r\nBcc:"), "{text}");
    }
}
