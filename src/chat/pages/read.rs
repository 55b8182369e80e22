//! From what is kept of a conversation to what its page shows.

use jiff::Timestamp;

use super::view::{
    AnswerView, ConsentView, Pager, ProposalView, SourceView, ToolView, TurnView, brief, cost, seconds,
};
use crate::chat::records::{
    CONVERSATIONS, Citation, Conversation, MESSAGES, Message, Role, State, ToolShown,
};
use crate::deployments;
use crate::deployments::records::CHANGE_SETS;
use crate::ids::{AccountId, ChangeSetId, ConversationId, MessageId, OrgId};
use crate::orgs::records::ORGS;
use crate::store::{Read, StoreError};
use crate::web::markdown::{self, Place};

/// Conversations looked at for the list of the newest.
const LOOKED_AT: usize = 500;
/// Messages on one page; the newest are shown.
pub const SHOWN: usize = 300;

/// The newest conversations of a person, newest first.
pub fn newest(
    read: &impl Read,
    owner: AccountId,
    most: usize,
) -> Result<Vec<(ConversationId, Conversation)>, StoreError> {
    let mut found = Vec::new();
    read.scan(&CONVERSATIONS).reverse().limit(LOOKED_AT).each(|id, conversation| {
        if conversation.owner == owner {
            found.push((id, conversation));
        }
        true
    })?;
    found.sort_by_key(|(_, conversation)| std::cmp::Reverse(conversation.updated));
    found.truncate(most);
    Ok(found)
}

/// The messages of a conversation, oldest first, at most the newest `most`.
pub fn messages(
    read: &impl Read,
    id: ConversationId,
    most: usize,
) -> Result<Vec<(MessageId, Message)>, StoreError> {
    let mut rows = read.scan(&MESSAGES).under(&id).reverse().limit(most).rows()?;
    rows.reverse();
    Ok(rows.into_iter().map(|((_, message), row)| (message, row)).collect())
}

/// What the turns of a page have in common.
pub struct Drawing<'a, R> {
    pub read: &'a R,
    /// Path of the conversation's page.
    pub base: &'a str,
    /// Path of the workspace.
    pub workspace: &'a str,
    pub now: Timestamp,
    /// What the endpoint calls the model that answers now.
    pub model: Option<&'a str>,
    /// The answer that was asked for, where a question has several.
    pub chosen: Option<MessageId>,
}

impl<R: Read> Drawing<'_, R> {
    /// Questions with their answers, oldest first.
    pub fn turns(&self, rows: &[(MessageId, Message)]) -> Result<Vec<TurnView>, StoreError> {
        let questions: Vec<_> = rows.iter().filter(|(_, row)| row.role == Role::User).collect();
        let last = questions.len();
        let mut turns = Vec::new();
        for (at, (id, question)) in questions.into_iter().enumerate() {
            let answers: Vec<_> = rows.iter().filter(|(_, row)| row.answers == Some(*id)).collect();
            turns.push(self.turn(at + 1, at + 1 == last, *id, question, &answers)?);
        }
        Ok(turns)
    }

    fn turn(
        &self,
        number: usize,
        newest: bool,
        id: MessageId,
        question: &Message,
        answers: &[&(MessageId, Message)],
    ) -> Result<TurnView, StoreError> {
        let wanted = answers.iter().position(|(answer, _)| Some(*answer) == self.chosen);
        let shown = wanted.or(answers.len().checked_sub(1));
        let link = |at: usize| format!("{}?a={}#m-{id}", self.base, answers[at].0);
        let pager = shown.filter(|_| answers.len() > 1).map(|at| Pager {
            number: at + 1,
            count: answers.len(),
            before: (at > 0).then(|| link(at - 1)),
            next: (at + 1 < answers.len()).then(|| link(at + 1)),
        });
        let answer = match shown {
            Some(at) => Some(self.answer(answers[at].0, &answers[at].1, newest)?),
            None => None,
        };
        let busy = answer.as_ref().is_some_and(|answer| answer.running);
        let turn = TurnView {
            id: shown.map_or(question.turn, |at| answers[at].1.turn).to_string(),
            print: String::new(),
            number,
            question_id: id.to_string(),
            question: question.text.clone(),
            answer,
            newest,
            may_retry: newest && !busy,
            pager,
        };
        Ok(turn.printed())
    }

    fn answer(&self, id: MessageId, row: &Message, newest: bool) -> Result<AnswerView, StoreError> {
        let id = id.to_string();
        let numbers: Vec<u32> = row.citations.iter().map(|citation| citation.n).collect();
        let place = Place { heading: 3, prefix: &id, citations: &numbers };
        let running = row.state == State::Partial;
        let tokens = row.usage.prompt().saturating_add(row.usage.output);
        let mut proposals = Vec::new();
        for change_set in &row.proposals {
            proposals.extend(self.proposal(*change_set)?);
        }
        Ok(AnswerView {
            running,
            stopped: row.state == State::Stopped,
            at: brief(row.at, self.now),
            datetime: row.at.to_string(),
            label: row.label.clone().or_else(|| self.model.filter(|_| running).map(str::to_owned)),
            checked: checked(&row.tools, running),
            took: if running { String::new() } else { seconds(row.took_ms) },
            tools: row.tools.iter().map(tool).collect(),
            html: markdown::html(&row.text, place),
            failure: row.failure.clone(),
            proposals,
            consent: match row.wants_consent.filter(|_| newest && !running) {
                Some(org) => self.consent(org)?,
                None => None,
            },
            sources: row.citations.iter().map(|citation| self.source(citation)).collect(),
            cost: if tokens > 0 { cost(tokens, row.cost_nano_usd) } else { String::new() },
            id,
        })
    }

    fn consent(&self, org: OrgId) -> Result<Option<ConsentView>, StoreError> {
        let known = self.read.get(&ORGS, &org)?;
        Ok(known.map(|row| ConsentView { org: row.name, org_id: org.to_string() }))
    }

    fn source(&self, citation: &Citation) -> SourceView {
        let document = citation.page.is_some();
        let mut place = kind_in_words(&citation.kind).to_owned();
        if let Some(page) = citation.page {
            place = format!("Page {page}");
        }
        if let Some((first, last)) = citation.lines {
            let lines =
                if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
            place = format!("{place} · {lines}");
        }
        SourceView {
            n: citation.n,
            icon: if document { "file-text" } else { icon_of(&citation.kind) },
            title: citation.title.clone(),
            place,
            href: format!("{}/{}", self.workspace, citation.href),
            quote: citation.quote.clone(),
            code: !document,
        }
    }

    /// A change set that the answer holds, and where it stands now.
    fn proposal(&self, id: ChangeSetId) -> Result<Option<ProposalView>, StoreError> {
        let Some(set) = self.read.get(&CHANGE_SETS, &id)? else { return Ok(None) };
        let Some(org) = self.read.get(&ORGS, &set.org)? else { return Ok(None) };
        let state = deployments::state(self.read, id, &set, self.now)?;
        let files = deployments::records::files(self.read, id)?.len();
        let errors = set.problems.iter().filter(|check| !check.warning).count();
        let checks = match errors {
            0 => "the checks before Salesforce pass".to_owned(),
            1 => "1 check before Salesforce fails".to_owned(),
            n => format!("{n} checks before Salesforce fail"),
        };
        let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        Ok(Some(ProposalView {
            href: format!("{}/o/{}/deployments/{id}", self.workspace, org.slug),
            title: set.title,
            detail: format!("{files} for {} · {checks}", org.name),
            state: state.stage.label(),
            tone: state.stage.tone(),
        }))
    }
}

fn checked(tools: &[ToolShown], running: bool) -> String {
    match tools {
        [.., last] if running => last.summary.clone(),
        [] => "Working".to_owned(),
        [_] => "Checked 1 thing".to_owned(),
        many => format!("Checked {} things", many.len()),
    }
}

fn tool(call: &ToolShown) -> ToolView {
    let icon = match call.name.as_str() {
        "knowledge_search" => "library",
        "metadata_get" => "file-text",
        "metadata_search" => "search",
        "object_describe" => "database",
        "org_limits" => "gauge",
        "org_overview" => "cloud",
        "propose_change" => "git-compare-arrows",
        "run_analysis" => "shield-alert",
        "validate_change" => "flask-conical",
        _ => "zap",
    };
    ToolView { icon, words: call.summary.clone(), found: call.found.clone(), failed: call.failed }
}

fn kind_in_words(kind: &str) -> &str {
    match kind {
        "ApexClass" => "Apex class",
        "ApexTrigger" => "Apex trigger",
        "CustomObject" => "Object",
        "PermissionSet" => "Permission set",
        other => other,
    }
}

fn icon_of(kind: &str) -> &'static str {
    match kind {
        "ApexClass" | "ApexTrigger" => "code",
        "CustomObject" => "database",
        "Flow" => "workflow",
        "PermissionSet" => "lock-keyhole",
        _ => "boxes",
    }
}
