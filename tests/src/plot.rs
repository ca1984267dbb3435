//! Curves over time as an SVG picture: one panel above the other, on one axis of minutes.

use std::fmt::Write as _;
use std::time::Duration;

const WIDTH: f64 = 860.0;
const PANEL: f64 = 150.0;
const GAP: f64 = 46.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 52.0;
/// More points than this are not told apart: the highest of each stretch is drawn.
const POINTS: usize = 800;

/// A curve: what it shows, in which unit, and its values, oldest first.
#[derive(Debug)]
pub struct Panel<'a> {
    /// What it shows, with its unit.
    pub title: &'a str,
    /// When and how much.
    pub values: Vec<(Duration, f64)>,
}

/// The picture. `title` says what was run; axes begin at 0.
#[must_use]
pub fn svg(title: &str, panels: &[Panel<'_>]) -> String {
    let end = panels.iter().flat_map(|panel| panel.values.last()).map(|(at, _)| at.as_secs_f64()).fold(1.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "a few panels")]
    let height = (PANEL + GAP).mul_add(panels.len() as f64, TOP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\" fill=\"#222222\">{}</text>\n",
        escaped(title)
    );
    let mut top = TOP;
    for panel in panels {
        draw(&mut out, panel, top, end);
        top += PANEL + GAP;
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel<'_>, top: f64, end: f64) {
    let most = ceiling(panel.values.iter().map(|(_, value)| *value).fold(0.0, f64::max));
    let (width, bottom) = (WIDTH - LEFT - RIGHT, top + PANEL);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" fill=\"#222222\">{}</text>", top - 8.0, escaped(panel.title));
    for step in 0..=4 {
        let (y, value) = (bottom - PANEL * f64::from(step) / 4.0, most * f64::from(step) / 4.0);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555555\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            y + 4.0,
            label(value)
        );
    }
    for step in 0..=6 {
        let x = LEFT + width * f64::from(step) / 6.0;
        let minutes = label(end / 60.0 * f64::from(step) / 6.0);
        let unit = if step == 6 { " min" } else { "" };
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{minutes}{unit}</text>",
            bottom + 17.0
        );
    }
    let stretch = panel.values.len().div_ceil(POINTS).max(1);
    let points = panel.values.chunks(stretch).filter_map(|chunk| {
        let (at, _) = chunk.first()?;
        let highest = chunk.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        Some(format!("{:.1},{:.1}", LEFT + width * at.as_secs_f64() / end, bottom - PANEL * highest / most))
    });
    let points = points.collect::<Vec<_>>().join(" ");
    let _ = writeln!(out, "<polyline fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"1.3\" points=\"{points}\"/>");
}

/// The next of 1, 2, 4, 5 or 8 times a power of ten that is no less.
fn ceiling(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|round| *round >= value).unwrap_or(10.0 * power)
}

fn label(value: f64) -> String {
    let text = if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_its_curve_and_an_axis_that_holds_it() {
        let values = |top: f64| {
            let value = move |n: u32| (Duration::from_secs(u64::from(n)), f64::from(n % 7) * top / 6.0);
            (0..2000).map(value)
        };
        let panels = [
            Panel { title: "memory, MiB", values: values(93.0).collect() },
            Panel { title: "a < b", values: values(0.0).collect() },
        ];
        let picture = svg("a & b", &panels);
        assert_eq!(picture.matches("<polyline").count(), 2);
        assert!(
            picture.contains("a &lt; b") && picture.contains("a &amp; b") && picture.contains(">100<"),
            "{picture}"
        );
        assert!(!picture.contains("NaN") && !picture.contains("inf"));
        // The peak of each stretch is drawn, however many values there are.
        assert!(
            picture.lines().filter(|line| line.contains("polyline")).all(|line| line.matches(',').count() <= POINTS)
        );
    }

    #[test]
    fn ceilings_are_round() {
        let shown = |value| label(ceiling(value));
        let all = [0.0, 1.0, 1.2, 47.0, 93.0, 512.0, 1001.0].map(shown);
        assert_eq!(all, ["1", "1", "2", "50", "100", "800", "2000"]);
    }
}
