//! A chart for people: as text, and as SVG.

use std::fmt::Write;

use verger_engine::time::Span;

use super::{Bar, Chart, Compared, Missed, What};
use crate::drawing::escaped;
use crate::terminal::Paint;
use crate::words::{self, Tone};

/// How wide bars are drawn: in characters, in pixels.
const COLUMNS: u64 = 50;
const PIXELS: u64 = 600;
/// Of one bar, in pixels.
const ROW: usize = 22;
/// Of what is said below the bars, in pixels.
const LINE: usize = 16;
/// What a bar was is outlined in this.
const FORMER: &str = "#555555";

/// Microseconds as people read them.
pub(super) fn time(us: u64) -> String {
    words::exact(Span(us.saturating_mul(1_000)))
}

impl Chart {
    /// What is written at a bar's end.
    fn note(&self, bar: &Bar) -> String {
        let words = match (bar.done_us, bar.missed, bar.turn_us, self.what) {
            (Some(at), ..) => return time(at),
            (None, Some(Missed::Blocked), ..) => "blocked",
            (None, Some(Missed::Failed), ..) => "failed",
            (None, None, Some(_), What::Start) => "not ready",
            (None, None, Some(_), What::Stop) => "not over",
            (None, None, None, _) => "waits",
        };
        words.to_owned()
    }

    /// The critical path in words; `None` where nothing was done yet.
    fn path(&self) -> Option<String> {
        let (last, before) = self.critical.split_last()?;
        let done = self.what.done();
        let at = time(self.find(last)?.done_us?);
        let first = self.critical.first().and_then(|first| self.find(first));
        let turn = first.filter(|first| first.waited_for_turn).map(|_| "its turn");
        let waited: Vec<&str> = before.iter().rev().map(String::as_str).chain(turn).collect();
        let chain = match waited.as_slice() {
            [] => "it waited for nobody".to_owned(),
            names => format!("it waited for {}", names.join(", which waited for ")),
        };
        Some(format!("{last} was last, {done} after {at}: {chain}"))
    }

    /// One service a line: waiting light, its own part dark; the critical path has stars.
    pub(crate) fn text(&self, compared: Option<&Compared>, paint: Paint) -> String {
        if self.services.is_empty() {
            return format!("no {} is kept of any service\n", self.what.word());
        }
        let total = self.total_us().max(1);
        let column = |us: u64| usize::try_from((us * COLUMNS).div_ceil(total)).unwrap_or(0);
        let width = self.services.iter().map(|bar| bar.service.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for bar in &self.services {
            let is_critical = self.critical.contains(&bar.service);
            let turn = bar.turn_us.unwrap_or(bar.until_us);
            let from = column(bar.ordered_us).min(COLUMNS as usize - 1);
            let turned = column(turn).max(from);
            // However short, it is seen.
            let turned = if bar.turn_us.is_some() { turned.min(COLUMNS as usize - 1) } else { turned };
            let to = column(bar.until_us).max(turned + usize::from(bar.turn_us.is_some()));
            let tone = match (bar.done_us, is_critical) {
                (None, _) => Tone::Bad,
                (Some(_), true) => Tone::Uneasy,
                (Some(_), false) => Tone::Good,
            };
            let (star, name) = (if is_critical { "*" } else { " " }, &bar.service);
            let (waiting, own) = ("\u{2591}".repeat(turned - from), "\u{2588}".repeat(to - turned));
            let own = if own.is_empty() { own } else { paint.tone(tone, own) };
            let waiting = if waiting.is_empty() { waiting } else { paint.faint(waiting) };
            let rest = " ".repeat((COLUMNS as usize).saturating_sub(to));
            let blanks = " ".repeat(from);
            let note = self.note(bar);
            let _infallible = writeln!(text, "{star} {name:<width$}  {blanks}{waiting}{own}{rest}  {note}");
        }
        text.extend(self.path().map(|path| format!("\n{path}\n")));
        if !self.elsewhen.is_empty() {
            let _infallible = writeln!(text, "at another time: {}", self.elsewhen.join(", "));
        }
        if let Some(compared) = compared {
            text.extend(std::iter::once("\n".to_owned()).chain(self.lines_of(compared)));
        }
        text
    }

    fn lines_of(&self, compared: &Compared) -> impl Iterator<Item = String> {
        compared.lines(self).into_iter().map(|line| line + "\n")
    }

    /// The same as SVG; behind each bar the outline of the one that it is compared with.
    pub(crate) fn svg(&self, compared: Option<&Compared>) -> String {
        let former = compared.map_or(&[][..], |compared| &compared.services);
        let total = former.iter().map(|bar| bar.until_us).chain([self.total_us(), 1]).max().unwrap_or(1);
        let pixel = |us: u64| us * PIXELS / total;
        let names = self.services.iter().map(|bar| bar.service.chars().count()).max().unwrap_or(0) * 8 + 24;
        let mut said: Vec<String> = self.path().into_iter().collect();
        said.extend(compared.into_iter().flat_map(|compared| compared.lines(self)));
        let widest = said.iter().map(|line| line.chars().count() * 7 + 16).max().unwrap_or(0);
        let below = said.len().saturating_sub(1) * LINE;
        let (width, height) = ((names + PIXELS as usize + 110).max(widest), ROW * (self.services.len() + 2) + below);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"monospace\" font-size=\"13\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        for (nth, bar) in self.services.iter().enumerate() {
            let is_critical = self.critical.contains(&bar.service);
            let (y, base) = (ROW * nth + 6, ROW * nth + 19);
            let colour = match (bar.done_us, is_critical) {
                (None, _) => "#cc2222",
                (Some(_), true) => "#dd8800",
                (Some(_), false) => "#4488bb",
            };
            let turn = bar.turn_us.unwrap_or(bar.until_us);
            let weight = if is_critical { " font-weight=\"bold\"" } else { "" };
            let (name, note) = (escaped(&bar.service), escaped(&self.note(bar)));
            let _infallible = writeln!(svg, "<text x=\"8\" y=\"{base}\"{weight}>{name}</text>");
            if let Some(was) = former.iter().find(|was| was.service == bar.service) {
                let turn = was.turn_us.unwrap_or(was.until_us);
                for (from, to) in [(was.ordered_us, turn), (turn, was.until_us)] {
                    let (x, wide) = (names as u64 + pixel(from), pixel(to) - pixel(from));
                    if wide > 0 {
                        let _infallible = writeln!(
                            svg,
                            "<rect x=\"{x}\" y=\"{}\" width=\"{wide}\" height=\"20\" fill=\"none\" stroke=\"{FORMER}\"/>",
                            y - 2
                        );
                    }
                }
            }
            for (from, to, opacity) in [(bar.ordered_us, turn, "0.3"), (turn, bar.until_us, "1")] {
                let (x, wide) = (names as u64 + pixel(from), pixel(to) - pixel(from));
                let is_own = opacity == "1" && bar.turn_us.is_some();
                let wide = if is_own { wide.max(1) } else { wide };
                if wide > 0 {
                    let _infallible = writeln!(
                        svg,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"16\" fill=\"{colour}\" \
                         fill-opacity=\"{opacity}\"/>"
                    );
                }
            }
            let longest = former.iter().filter(|was| was.service == bar.service).map(|was| was.until_us);
            let x = names as u64 + pixel(longest.chain([bar.until_us]).max().unwrap_or(0)) + 6;
            let _infallible = writeln!(svg, "<text x=\"{x}\" y=\"{base}\" font-size=\"11\">{note}</text>");
        }
        for (nth, line) in said.iter().enumerate() {
            let y = ROW * (self.services.len() + 1) + 10 + nth * LINE;
            let _infallible = writeln!(svg, "<text x=\"8\" y=\"{y}\" font-size=\"11\">{}</text>", escaped(line));
        }
        svg.push_str("</svg>\n");
        svg
    }
}
