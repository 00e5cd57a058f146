//! Charts of the last hour and the last week, drawn on the server.

use std::time::SystemTime;

use askama::Template;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use charts_rs::{Color, LineChart, Series, Symbol};

use super::Answer;
use super::submitted::Ask;
use crate::api::Problem;
use crate::history::{Mark, Of, Point, Span};

type Value = fn(&Point) -> Option<u64>;

/// A line: its name, its colours on light and on dark ground, and what it shows of a point.
struct Line(&'static str, [&'static str; 2], Value);

const DEPTH: [Line; 5] = [
    Line("ready", ["#1f6feb", "#6cb0ff"], |point| point.sample.map(|sample| sample.ready)),
    Line("running", ["#128043", "#4cc38a"], |point| point.sample.map(|sample| sample.running)),
    Line("delayed", ["#8a5c00", "#e2b340"], |point| point.sample.map(|sample| sample.delayed)),
    Line("waiting", ["#6b4be0", "#b3a1ff"], |point| point.sample.map(|sample| sample.waiting)),
    Line("dead", ["#c0302d", "#ff8f88"], |point| point.sample.map(|sample| sample.dead)),
];
const THROUGHPUT: [Line; 2] = [
    Line("done", ["#128043", "#4cc38a"], |point| point.per_minute.map(|(done, _)| done)),
    Line("failed", ["#c0302d", "#ff8f88"], |point| point.per_minute.map(|(_, failed)| failed)),
];

/// Pixels of a chart, and of what lies beside the place in which the lines are.
const WIDTH: f32 = 620.0;
const LEFT: f32 = 52.0;
const RIGHT: f32 = 10.0;
/// Pixels that a version takes, so that two of them do not stand in one another.
const VERSION_WIDTH: f64 = 70.0;

pub(super) fn span_of(ask: &Ask) -> Span {
    if ask.fields.text("span") == Some(Span::Week.as_str()) { Span::Week } else { Span::Hour }
}

pub(super) async fn draw(Path(file): Path<String>, ask: Ask) -> Answer {
    let lines: &[Line] = match file.as_str() {
        "depth.svg" => &DEPTH,
        "throughput.svg" => &THROUGHPUT,
        _ => return Err(Problem::new(StatusCode::NOT_FOUND, "not there", "there is no such chart")),
    };
    let span = span_of(&ask);
    let (history, now) = (ask.console.history(), SystemTime::now());
    let points = history.points(&ask.fields.owned("queue").map_or(Of::All, Of::Queue), span, now);
    let is_dark = ask.fields.text("theme") == Some("dark");
    let svg = chart(lines, span, &points, is_dark).map_err(|error| {
        let detail = format!("the chart could not be drawn: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no chart", detail)
    })?;
    let svg = marked(svg, &history.marks(span, now), is_dark).map_err(|error| {
        let detail = format!("the chart could not be marked: {error}");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no chart", detail)
    })?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

#[expect(clippy::cast_precision_loss, reason = "a line of a few hundred pixels")]
fn chart(lines: &[Line], span: Span, points: &[Point], is_dark: bool) -> charts_rs::Result<String> {
    let series = lines.iter().map(|Line(name, _, value)| {
        let mut series = Series::new((*name).to_owned(), Vec::new());
        series.data = points.iter().map(|point| value(point).map(|value| value as f32)).collect();
        series
    });
    let theme = if is_dark { "dark" } else { "light" };
    let mut chart = LineChart::new_with_theme(series.collect(), labels(span, points.len()), theme);
    let of_theme = usize::from(is_dark);
    let ink: Color = if is_dark { "#9aa7b4" } else { "#5b6672" }.into();
    let grid: Color = if is_dark { "#2a323b" } else { "#e3e7ec" }.into();
    (chart.width, chart.height) = (WIDTH, 220.0);
    (chart.grid.left, chart.grid.right) = (Some(LEFT), Some(RIGHT));
    chart.background_color = Color::transparent();
    "system-ui, sans-serif".clone_into(&mut chart.font_family);
    chart.series.colors = lines.iter().map(|Line(_, colours, _)| colours[of_theme].into()).collect();
    (chart.series.symbol, chart.series.stroke_width) = (Some(Symbol::None), 1.6);
    // The page has it, as words that scale with others.
    chart.legend.show = Some(false);
    (chart.x_axis.font.size, chart.x_axis.font.color, chart.x_axis.stroke_color) = (10.5, ink, grid);
    chart.x_axis.boundary_gap = Some(false);
    chart.grid.stroke_color = grid;
    let peak = points.iter().flat_map(|point| lines.iter().filter_map(|Line(_, _, value)| value(point))).max();
    for axis in &mut chart.y_axis_configs {
        (axis.font.size, axis.font.color, axis.split_number, axis.min) = (10.5, ink, 4, Some(0.0));
        // Of small counts no axis shows fractions.
        if peak.unwrap_or_default() < 4 {
            axis.max = Some(4.0);
        }
    }
    chart.svg()
}

/// A start of the service: a line, and its version where there is room for it.
struct Started {
    x: f64,
    anchor: &'static str,
    version: Option<String>,
}

#[derive(Template)]
#[template(
    source = "{% for one in lines %}<g class=\"start\"><line x1=\"{{ one.x }}\" x2=\"{{ one.x }}\" y1=\"14\" y2=\"185\" \
              stroke=\"{{ ink }}\" stroke-width=\"1\" stroke-dasharray=\"3 3\"/>{% if let Some(version) = one.version %}<text \
              x=\"{{ one.x }}\" y=\"11\" text-anchor=\"{{ one.anchor }}\" font-size=\"10\" font-family=\"system-ui, sans-serif\" \
              fill=\"{{ ink }}\">{{ version }}</text>{% endif %}</g>{% endfor %}</svg>",
    ext = "html"
)]
struct Marks {
    lines: Vec<Started>,
    ink: &'static str,
}

/// The chart with a dashed line wherever the service started.
fn marked(svg: String, marks: &[Mark], is_dark: bool) -> askama::Result<String> {
    let Some(open) = svg.trim_end().strip_suffix("</svg>") else { return Ok(svg) };
    let (left, width) = (f64::from(LEFT), f64::from(WIDTH - LEFT - RIGHT));
    let mut free_from = 0.0;
    let lines = marks.iter().map(|mark| {
        let x = (left + mark.part * width).round();
        let has_room = x >= free_from;
        if has_room {
            free_from = x + VERSION_WIDTH;
        }
        let anchor = if mark.part > 0.8 { "end" } else { "start" };
        Started { x, anchor, version: mark.version.clone().filter(|_| has_room) }
    });
    let marks = Marks { lines: lines.collect(), ink: if is_dark { "#9aa7b4" } else { "#5b6672" } };
    Ok(format!("{open}{}", marks.render()?))
}

/// How long ago each point was: a server does not know what clocks of those who look show.
fn labels(span: Span, count: usize) -> Vec<String> {
    let ago = |point: usize| {
        let left = (count - 1 - point) as u64 * span.ms() / count.max(1) as u64;
        match span {
            _ if point + 1 == count => "now".to_owned(),
            Span::Hour => format!("−{} min", left.div_ceil(60_000)),
            Span::Week if left >= 24 * 3_600_000 => format!("−{} d", left / 86_400_000),
            Span::Week => format!("−{} h", left / 3_600_000),
        }
    };
    (0..count).map(ago).collect()
}
