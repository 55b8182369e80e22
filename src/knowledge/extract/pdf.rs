//! Text of PDF: hayro interprets the pages, this device takes the glyphs. Lines and words come from where the
//! glyphs stand; letters of right-to-left scripts that were written in visual order are turned around.

use hayro_cmap::BfString;
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};
use hayro_syntax::{LoadPdfError, Pdf};
use kurbo::{Affine, BezPath, Point, Rect, Vec2};
use unicode_normalization::UnicodeNormalization as _;

use super::worker::{Out, Read};
use super::{ExtractError, MOST_PAGES};

/// Glyphs of one page that are read.
const MOST_GLYPHS: usize = 400_000;
/// Of the letter size: a new line, a new word. Measured on 425 files.
const LINE: f64 = 0.6;
const BACK: f64 = 2.0;
const WORD: f64 = 0.17;
/// Share of glyphs that were guessed from which a page may be wrong.
const GUESSED: f64 = 0.3;
/// Share of the page that an image covers from which it is a picture of a page.
const PICTURE: f64 = 0.5;

pub fn read(document: Vec<u8>, out: &mut Out<'_>) -> Read {
    let pdf = Pdf::new(document).map_err(|error| match error {
        LoadPdfError::Decryption(_) => ExtractError::Encrypted,
        LoadPdfError::Invalid => ExtractError::Damaged,
    })?;
    let pages = pdf.pages();
    if pages.len() > MOST_PAGES {
        let said = format!("This PDF has {} pages. The limit is {MOST_PAGES}.", pages.len());
        return Err(ExtractError::TooLarge(said).into());
    }
    if pages.is_empty() {
        return Err(ExtractError::Damaged.into());
    }
    out.total(pages.len())?;
    let cache = InterpreterCache::new();
    let (mut letters, mut pictures, mut unsure, mut hidden) = (0, Vec::new(), Vec::new(), 0);
    for (number, page) in (1..).zip(pages.iter()) {
        let (width, height) = page.render_dimensions();
        let (width, height) = (f64::from(width), f64::from(height));
        let transform = Affine::new(page.initial_transform(true).as_coeffs());
        let area = Rect::new(0.0, 0.0, width, height);
        let mut context = Context::new(transform, area, &cache, pdf.xref(), InterpreterSettings::default());
        let mut device = TextDevice { area: width * height, ..TextDevice::default() };
        interpret_page(page, &mut context, &mut device);
        let text = device.text();
        let own = text.chars().filter(|c| c.is_alphanumeric()).count();
        letters += own;
        hidden += device.hidden;
        if own < 10 && device.picture {
            pictures.push(number);
        }
        if device.glyphs.len() > 20 && device.guessed as f64 > GUESSED * device.glyphs.len() as f64 {
            unsure.push(number);
        }
        out.page(text)?;
    }
    if letters < 10 {
        return Err(if pictures.is_empty() { ExtractError::empty() } else { ExtractError::scanned() }.into());
    }
    let mut warnings = Vec::new();
    if !pictures.is_empty() {
        warnings.push(format!("Pages {} are pictures and can’t be searched.", listed(&pictures)));
    }
    if !unsure.is_empty() {
        warnings.push(format!(
            "The text of pages {} may be wrong: a font has no map of its characters.",
            listed(&unsure)
        ));
    }
    if hidden > 0 {
        warnings.push("Text that the page does not show was left out.".to_owned());
    }
    let title = pdf.metadata().title.as_deref().map(title).filter(|t| !t.is_empty());
    Ok((title, warnings))
}

/// `3-7, 12`.
fn listed(pages: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for page in pages {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *page => *last = *page,
            _ => ranges.push((*page, *page)),
        }
    }
    let shown = ranges.iter().take(12).map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    shown.collect::<Vec<_>>().join(", ")
}

/// UTF-16 by its mark, else Latin-1.
fn title(bytes: &[u8]) -> String {
    let text: String = match bytes.strip_prefix(&[0xfe, 0xff]) {
        Some(rest) => {
            let units: Vec<u16> = rest.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect();
            String::from_utf16_lossy(&units)
        }
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().map(|b| char::from(*b)).collect(),
        },
    };
    text.chars().filter(|c| !c.is_control()).take(300).collect::<String>().trim().to_owned()
}

struct Placed {
    start: Point,
    end: Point,
    size: f64,
    text: String,
}

#[derive(Default)]
struct TextDevice {
    area: f64,
    glyphs: Vec<Placed>,
    /// Glyphs without a character, and those of them whose code was taken for it.
    guessed: usize,
    hidden: usize,
    picture: bool,
}

impl Device<'_> for TextDevice {
    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}

    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, mode: &DrawMode) {
        // Scans carry recognised text that is never drawn: it is what the page says. Elsewhere it hides.
        let invisible = matches!(mode, DrawMode::Invisible) && !self.picture;
        for glyph in run.glyphs() {
            if self.glyphs.len() >= MOST_GLYPHS {
                return;
            }
            let at = props.transform * glyph.transform();
            let advance = match &**glyph {
                Glyph::Outline(outline) => f64::from(outline.advance_width().unwrap_or(500.0)),
                Glyph::Type3(type3) => f64::from(type3.advance_width().unwrap_or(0.0)),
            };
            let (start, end) = (at * Point::ZERO, at * Point::new(advance, 0.0));
            let size = (at * Point::new(0.0, 1000.0) - start).hypot();
            let text = match glyph.as_unicode() {
                Some(BfString::Char(c)) => Some(c.to_string()),
                Some(BfString::String(text)) => Some(text),
                None => {
                    self.guessed += 1;
                    guess(glyph.char_code())
                }
            };
            let Some(text) = text else { continue };
            if invisible || size < 0.5 {
                self.hidden += usize::from(text.chars().any(char::is_alphanumeric));
                continue;
            }
            self.glyphs.push(Placed { start, end, size, text });
        }
    }

    fn draw_image(&mut self, _: Image<'_, '_>, props: ImageDrawProps<'_>) {
        let coefficients = props.transform.as_coeffs();
        let covered = (coefficients[0] * coefficients[3] - coefficients[1] * coefficients[2]).abs();
        // The transform maps the unit square or the pixels of the image; either way a page's worth is a picture.
        self.picture |= covered > PICTURE * self.area || covered.is_nan() || covered <= 16.0;
    }

    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}

/// A glyph without a character: its code, where that is a printable one.
fn guess(code: u32) -> Option<String> {
    let c = char::from_u32(code)?;
    match code {
        0x20 => Some(" ".to_owned()),
        0x21..0x7f => Some(c.to_string()),
        0xa1.. if c.is_alphanumeric() => Some(c.to_string()),
        _ => None,
    }
}

impl TextDevice {
    fn text(&self) -> String {
        let lines = assembled(&self.glyphs);
        let turned = if visual(&self.glyphs) { turned(&lines) } else { lines };
        let joined = turned.replace('\u{ad}', "").replace("-\n", "-\u{0}");
        // A hyphen at the end of a line joins two halves of a word when small letters follow.
        let mut text = String::with_capacity(joined.len());
        let mut chars = joined.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '-' if chars.peek() == Some(&'\u{0}') => {
                    chars.next();
                    if !chars.peek().is_some_and(|c| c.is_lowercase()) {
                        text.push_str("-\n");
                    }
                }
                '\u{0}' => {}
                // A line that goes on in small letters was only wrapped.
                '\n' if !text.ends_with('\n') && chars.peek().is_some_and(|c| c.is_lowercase()) => {
                    text.push(' ');
                }
                c => text.push(c),
            }
        }
        text.nfkc().collect::<String>().trim().to_owned()
    }
}

/// Lines and words from where the glyphs stand.
fn assembled(glyphs: &[Placed]) -> String {
    let mut text = String::new();
    let mut last: Option<&Placed> = None;
    for glyph in glyphs {
        if let Some(last) = last {
            let run: Vec2 = last.end - last.start;
            let direction = if run.hypot() < 1e-6 { Vec2::new(1.0, 0.0) } else { run / run.hypot() };
            let gap = glyph.start - last.end;
            let (along, across) = (gap.dot(direction), gap.cross(direction).abs());
            let size = last.size.max(glyph.size).max(0.1);
            if across > LINE * size || along < -BACK * size {
                text.push('\n');
                if across > 1.8 * size {
                    text.push('\n');
                }
            } else if (along > WORD * size || along < -1.2 * size)
                && !text.ends_with(' ')
                && across <= 0.25 * size
            {
                text.push(' ');
            }
        }
        for c in glyph.text.chars() {
            if !c.is_control() {
                text.push(c);
            } else if c.is_whitespace() {
                text.push(' ');
            }
        }
        last = Some(glyph);
    }
    text
}

fn right_to_left(c: char) -> bool {
    matches!(u32::from(c), 0x590..=0x8ff | 0xfb1d..=0xfdff | 0xfe70..=0xfeff)
}

/// Right-to-left letters that advance to the right were written in visual order.
fn visual(glyphs: &[Placed]) -> bool {
    let (mut left, mut right) = (0, 0);
    for pair in glyphs.windows(2) {
        let both = pair.iter().all(|g| g.text.chars().all(right_to_left));
        if both && (pair[0].start.y - pair[1].start.y).abs() < 0.1 {
            if pair[1].start.x > pair[0].start.x {
                right += 1;
            } else {
                left += 1;
            }
        }
    }
    right > left
}

/// Turns lines with right-to-left letters around; numbers and Latin words in them keep their order.
fn turned(text: &str) -> String {
    let line = |line: &str| {
        if !line.chars().any(right_to_left) {
            return line.to_owned();
        }
        let reversed: Vec<char> = line.chars().rev().collect();
        let mut out = Vec::with_capacity(reversed.len());
        let mut at = 0;
        while at < reversed.len() {
            let latin = |c: char| !right_to_left(c) && (c.is_alphanumeric() || ".,:/-".contains(c));
            if latin(reversed[at]) && reversed[at].is_alphanumeric() {
                let end = reversed[at..].iter().position(|c| !latin(*c)).map_or(reversed.len(), |n| at + n);
                out.extend(reversed[at..end].iter().rev());
                at = end;
            } else {
                out.push(reversed[at]);
                at += 1;
            }
        }
        out.into_iter().collect()
    };
    text.split('\n').map(line).collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_listed_in_ranges() {
        assert_eq!(listed(&[3, 4, 5, 12]), "3-5, 12");
    }

    #[test]
    fn lines_of_right_to_left_letters_turn_around_their_numbers_not() {
        assert_eq!(turned("abc 12"), "abc 12");
        assert_eq!(turned("םולש 12"), "12 שלום");
    }

    #[test]
    fn titles_are_read_in_either_encoding() {
        assert_eq!(title(b"Plan"), "Plan");
        assert_eq!(title(&[0xfe, 0xff, 0, b'A']), "A");
    }
}
