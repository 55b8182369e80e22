//! Draws the words of a mail as text and as HTML. The HTML comes from `templates/mail/letter.html`: styles in place
//! because mail programs drop style sheets, nothing to fetch, one address to go to.

use askama::Template;
use url::Url;

use super::letter::Letter;
use super::words::{Words, words};

/// Where a person chooses what is mailed to them.
const CHOICES: &str = "/account/notifications";
/// Columns of the text part.
const WIDTH: usize = 72;

/// A mail as it goes out.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// Where the person can choose not to get such mails.
    pub unsubscribe: Option<String>,
}

/// Why a letter can't be drawn; trying again would not help.
#[derive(Debug, thiserror::Error)]
pub enum Undrawable {
    #[error("its link does not lead to this instance")]
    ForeignLink,
    #[error(transparent)]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    words: &'a Words,
    button: Option<(&'a str, &'a str)>,
    choices: Option<&'a str>,
    host: &'a str,
}

impl Letter {
    /// Draws it for an instance that people reach at `external`.
    pub fn render(&self, external: &Url) -> Result<Rendered, Undrawable> {
        let words = words(self);
        let host = external.host_str().unwrap_or_default();
        let link = match &words.button {
            Some((label, link)) => Some((*label, inside(external, link)?)),
            None => None,
        };
        let choices = self.can_be_turned_off().then(|| inside(external, CHOICES)).transpose()?;
        let html = Html {
            words: &words,
            button: link.as_ref().map(|(label, url)| (*label, url.as_str())),
            choices: choices.as_ref().map(Url::as_str),
            host,
        };
        Ok(Rendered {
            html: html.render()?,
            text: text(&words, link.as_ref(), choices.as_ref(), host),
            subject: words.subject,
            unsubscribe: choices.map(String::from),
        })
    }
}

/// `link` as an address of this instance.
fn inside(external: &Url, link: &str) -> Result<Url, Undrawable> {
    let url = external.join(link).map_err(|_| Undrawable::ForeignLink)?;
    if url.origin() == external.origin() { Ok(url) } else { Err(Undrawable::ForeignLink) }
}

fn text(words: &Words, link: Option<&(&str, Url)>, choices: Option<&Url>, host: &str) -> String {
    let mut parts = vec![wrapped(&words.heading)];
    parts.extend(words.text.iter().map(|sentence| wrapped(sentence)));
    if !words.facts.is_empty() {
        let facts: Vec<String> =
            words.facts.iter().map(|(label, value)| wrapped(&format!("{label}: {value}"))).collect();
        parts.push(facts.join("\n"));
    }
    if let Some((label, url)) = link {
        parts.push(format!("{label}:\n{url}"));
    }
    if !words.small.is_empty() {
        parts.push(wrapped(words.small));
    }
    let mut end = wrapped(&format!("You get this because {}.", words.reason));
    if let Some(url) = choices {
        end.push_str(&format!("\nChoose what is mailed to you: {url}"));
    }
    end.push('\n');
    end.push_str(&wrapped(&format!(
        "Sent by {host}, which your company runs. This mail holds no source code and no record data."
    )));
    // What RFC 3676 calls the signature: replies leave it out.
    parts.push(format!("-- \n{end}"));
    let workspace = if words.place.is_empty() { "Vynos".into() } else { format!("Vynos · {}", words.place) };
    format!("{workspace}\n\n{}\n", parts.join("\n\n"))
}

/// Lines of at most [`WIDTH`] characters; a longer word keeps its own line.
fn wrapped(sentence: &str) -> String {
    let (mut out, mut column) = (String::new(), 0);
    for word in sentence.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            out.push('\n');
            column = 0;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}

#[cfg(test)]
mod tests;
