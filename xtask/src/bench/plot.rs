//! A picture of a report: a line per figure, a dot per percentile, a mark at what was promised (red
//! at the most, green at the least). Pure.

use std::fmt::Write;

use super::report::{Group, Report, short};

const LINE: f64 = 22.0;
const TITLES: f64 = 420.0;
const BARS: f64 = 480.0;
const VALUES: f64 = 110.0;
const HEAD: f64 = 34.0;

/// The report as an SVG document. Figures of one unit share one scale, from 0 to their largest.
pub(super) fn svg(report: &Report) -> String {
    let groups = report.groups();
    let height = HEAD + LINE * f64::from(u32::try_from(groups.len()).unwrap_or(u32::MAX)) + 10.0;
    let width = TITLES + BARS + VALUES;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"15\">{}</text>\n",
        escaped(&report.bench)
    );
    let mut y = HEAD;
    for group in &groups {
        svg.push_str(&line(group, y, scale(&groups, group.unit)));
        y += LINE;
    }
    svg + "</svg>\n"
}

/// Pixels for one of the unit.
fn scale(groups: &[Group<'_>], unit: &str) -> f64 {
    let of_unit = groups.iter().filter(|group| group.unit == unit);
    let promised = |group: &Group<'_>| group.limit.or(group.least).unwrap_or(0.0);
    let largest = of_unit.map(|group| largest(group).max(promised(group)));
    BARS / largest.fold(f64::MIN_POSITIVE, f64::max)
}

fn largest(group: &Group<'_>) -> f64 {
    group.values.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

fn line(group: &Group<'_>, y: f64, scale: f64) -> String {
    let (middle, end) = (y + LINE / 2.0, TITLES + largest(group) * scale);
    let mut svg = format!(
        "<text x=\"10\" y=\"{:.1}\">{}</text>\n\
         <line x1=\"{TITLES}\" x2=\"{end:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" \
         stroke=\"#9bb\" stroke-width=\"6\"/>\n",
        middle + 4.0,
        escaped(&group.title)
    );
    for (_, value) in &group.values {
        let x = TITLES + value * scale;
        // Writing to a string cannot fail.
        writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"4\" fill=\"#146\"/>")
            .unwrap_or_default();
    }
    for (bound, colour) in [(group.limit, "#c22"), (group.least, "#282")] {
        let Some(bound) = bound else { continue };
        let (x, top, bottom) = (TITLES + bound * scale, middle - 8.0, middle + 8.0);
        writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" \
             stroke=\"{colour}\"/>"
        )
        .unwrap_or_default();
    }
    let (x, y) = (TITLES + BARS + 8.0, middle + 4.0);
    let told = format!("{} {}", short(largest(group)), group.unit);
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&told)).unwrap_or_default();
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::report::Row;
    use super::*;

    #[test]
    fn every_percentile_has_a_dot_and_the_largest_value_fills_the_scale() {
        let row = |percentile: u64, value| {
            Row::new("a<b", "t_ms", value, "ms").with("percentile", percentile)
        };
        let rows = vec![row(50, 10.0), row(100, 40.0).at_most(Some(20.0))];
        let svg = svg(&Report::new("x", rows));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains(&format!("cx=\"{:.1}\"", TITLES + BARS)), "{svg}");
        assert!(svg.contains(&format!("cx=\"{:.1}\"", TITLES + BARS / 4.0)), "{svg}");
        assert!(svg.contains("stroke=\"#c22\""), "the promise is not marked");
        assert!(!svg.contains("stroke=\"#282\""), "nobody promised a least");
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b"), "{svg}");
    }
    #[test]
    fn a_least_that_is_missed_stays_inside_the_picture() {
        let row = Row::new("x", "times_best_peer", 1.0, "ratio").at_least(4.0);
        let svg = svg(&Report::new("x", vec![row]));
        assert!(svg.contains(&format!("x1=\"{:.1}\"", TITLES + BARS)), "{svg}");
        assert!(svg.contains("stroke=\"#282\""), "the promise is not marked");
    }
}
