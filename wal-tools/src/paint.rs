//! Colours, for terminals only: what a line is about stands out, and what needs somebody more.

use anstyle::{AnsiColor, Style};
use lockstep_model::State;

use crate::text::LABEL;

const BOLD: Style = Style::new().bold();
const CALM: Style = AnsiColor::Green.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Lines with their labels in colour. What they say is not changed.
pub(crate) fn painted(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(line).collect();
    lines.join("\n")
}

fn line(line: &str) -> String {
    let at = line.char_indices().nth(LABEL).map_or(line.len(), |(at, _)| at);
    let (label, rest) = line.split_at(at);
    if label.starts_with(|first: char| first.is_ascii_lowercase()) && label.ends_with(' ') {
        let style = match (label.trim_end(), rest) {
            ("damage", _) => BAD,
            ("operator" | "warning", _) => ODD,
            ("result", "clean") => return format!("{BOLD}{label}{BOLD:#}{CALM}{rest}{CALM:#}"),
            _ => BOLD,
        };
        return format!("{style}{label}{style:#}{rest}");
    }
    // A row of a list: its number, then words, of which one may be a state.
    let is_row = line.trim_start().starts_with(|first: char| first.is_ascii_digit());
    let troubled = [State::Parked, State::Compensating];
    let state = troubled.into_iter().map(State::as_str).find(|state| line.contains(&format!("  {state}  ")));
    match state.filter(|_| is_row).and_then(|state| line.split_once(state).map(|parts| (state, parts))) {
        Some((state, (before, behind))) => format!("{before}{ODD}{state}{ODD:#}{behind}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_add_nothing_but_colours() {
        let lines = [
            "damage     record 2 is damaged\n           for good",
            "result     clean",
            "        12  put       parked             296d         -  memory:parked",
            "12 shown",
            "",
            "ä",
        ];
        for line in lines {
            let painted = painted(line);
            assert_eq!(anstream::adapter::strip_str(&painted).to_string(), line);
        }
        assert!(painted(lines[0]).starts_with('\u{1b}') && painted(lines[2]).contains("\u{1b}[33mparked\u{1b}[0m"));
        assert_eq!(painted(lines[3]), lines[3]);
    }
}
