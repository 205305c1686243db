//! Plots with two logarithmic axes, as SVG.

use std::fmt::Write as _;

use crate::samples::Samples;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 140.0;
const MARGIN: f64 = 44.0;

const LINE_HEIGHT: f64 = 14.0;

const LINES: [(&str, &str, &str); 4] = [
    ("tcpstat", "tcpstat", "#1a7f37"),
    ("node_exporter", "node_exporter", "#cf222e"),
    ("ss", "ss -tan", "#8250df"),
    ("cat", "cat /proc/net/tcp", "#9a6700"),
];

/// A plot.
pub(crate) struct Plot<'a> {
    /// Written above it.
    pub(crate) title: &'a str,
    /// Written below it: what the horizontal axis shows.
    pub(crate) below: &'a str,
    /// The powers of ten at the ends of the horizontal axis.
    pub(crate) across: (i32, i32),
    /// The power of ten at the lower end of the vertical axis.
    pub(crate) lowest: i32,
    /// The labels of the vertical axis, one for each power of ten from the lowest on.
    pub(crate) labels: &'a [&'a str],
    pub(crate) lines: Vec<Line<'a>>,
}

/// A line of a plot.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) color: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Time of a scrape over the number of sockets: the medians.
pub(crate) fn plot(samples: &Samples) -> String {
    let line = |(what, name, color)| {
        let medians = samples.sizes(what).into_iter();
        let points = medians
            .filter_map(|sockets| Some((sockets as f64, samples.median(what, sockets)?)))
            .collect();
        Line { name, color, points }
    };
    let plot = Plot {
        title: "Time of one answer over the number of sockets, medians",
        below: "established sockets",
        across: (1, 6),
        lowest: -5,
        labels: &["10 us", "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s"],
        lines: LINES.map(line).into(),
    };
    plot.svg()
}

impl Plot<'_> {
    /// The plot as a file.
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <title>{0}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
            self.title
        );
        for power in self.across.0..=self.across.1 {
            let value = 10_f64.powi(power);
            let (x, label) = (self.x(value), HEIGHT - MARGIN + 18.0);
            push(&mut svg, &line((x, MARGIN), (x, HEIGHT - MARGIN)));
            push(&mut svg, &text((x, label), "middle", "black", &format!("{value}")));
        }
        for (power, label) in (self.lowest..).zip(self.labels) {
            let y = self.y(10_f64.powi(power));
            push(&mut svg, &line((LEFT, y), (WIDTH - RIGHT, y)));
            push(&mut svg, &text((LEFT - 6.0, y + 4.0), "end", "black", label));
        }
        push(&mut svg, &text((LEFT, MARGIN - 16.0), "start", "black", self.title));
        let below = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, HEIGHT - 6.0);
        push(&mut svg, &text(below, "middle", "black", self.below));
        let mut ends = Vec::new();
        for Line { name, color, points } in &self.lines {
            let points: Vec<_> = points.iter().map(|(x, y)| (self.x(*x), self.y(*y))).collect();
            let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let line = format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            push(&mut svg, &line);
            for (x, y) in &points {
                let point =
                    format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{color}\"/>");
                push(&mut svg, &point);
            }
            ends.extend(points.last().map(|&(x, y)| (x, y, name, color)));
        }
        // From above to below, none of them over the one before.
        ends.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut free = 0.0_f64;
        for (x, y, name, color) in ends {
            let at = y.max(free);
            free = at + LINE_HEIGHT;
            push(&mut svg, &text((x + 8.0, at + 4.0), "start", color, name));
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + part(value, self.across) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let highest = (self.lowest..).zip(self.labels).last().map_or(self.lowest, |(at, _)| at);
        HEIGHT - MARGIN - part(value, (self.lowest, highest)) * (HEIGHT - 2.0 * MARGIN)
    }
}

fn part(value: f64, (low, high): (i32, i32)) -> f64 {
    (value.log10() - f64::from(low)) / f64::from(high - low)
}

fn line((x1, y1): (f64, f64), (x2, y2): (f64, f64)) -> String {
    format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#ddd\"/>")
}

fn text((x, y): (f64, f64), anchor: &str, color: &str, words: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\">{words}</text>"
    )
}

fn push(svg: &mut String, element: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "{element}");
}
