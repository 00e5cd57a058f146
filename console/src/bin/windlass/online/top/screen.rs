//! How it is drawn.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Row, Table, TableState};

use super::state::{Sort, State};
use crate::online::shown::{Shown, span, unless_zero};
use crate::online::stats::remarks;
use crate::output::bytes;

/// The keys, at the foot of the screen.
const KEYS: &str = "q leave   ↑↓ pick a queue   p pause or resume it   s sort   space look now";

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let parts = [Constraint::Length(3), Constraint::Fill(3), Constraint::Fill(2), Constraint::Length(1)];
    let [head, queues, running, foot] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(state)), head);
    draw_queues(frame, state, queues);
    draw_running(frame, state, running);
    frame.render_widget(Paragraph::new(foot_line(state)), foot);
}

fn head_lines(state: &State) -> Vec<Line<'static>> {
    let overview = Shown::of(&state.seen.overview);
    let (health, all, memory) = (overview.at("health"), overview.at("all"), overview.at("memory"));
    let is_well = health.at("is_serving").is() && health.at("accepts_jobs").is();
    let text = health.at("state").text();
    let health_word = if is_well { text.green() } else { text.red() };
    let environment = overview.at("environment").text();
    let first = Line::from(vec!["windlass ".bold(), format!("{environment} {} ", state.place).into(), health_word]);
    let number = |name: &str| all.at(name).number();
    let second = format!(
        "running {} of {}, ready {}, delayed {}, dead {}; in the last minute {} done, {} failed",
        number("running"),
        number("slots"),
        number("ready"),
        number("delayed"),
        number("dead"),
        number("done_last_minute"),
        number("failed_last_minute")
    );
    let third = match health.at("warnings").each().next() {
        Some(warning) => Line::from(warning.at("text").text().red()),
        None if memory.is_there() => {
            let (used, of) = (bytes(memory.at("used_bytes").number()), bytes(memory.at("bytes_max").number()));
            Line::from(format!("memory {used} of {of}"))
        }
        None => Line::default(),
    };
    vec![first, second.into(), third]
}

fn draw_queues(frame: &mut Frame<'_>, state: &State, area: Rect) {
    const COLUMNS: [(&str, Sort); 9] = [
        ("queue", Sort::Name),
        ("running", Sort::Running),
        ("ready", Sort::Ready),
        ("oldest", Sort::Oldest),
        ("delayed", Sort::Name),
        ("dead", Sort::Dead),
        ("done/min", Sort::Name),
        ("failed/min", Sort::Failed),
        ("", Sort::Name),
    ];
    let title = |(no, (word, sort)): (usize, &(&'static str, Sort))| {
        let is_sorted = *sort == state.sort && (*sort != Sort::Name || no == 0);
        let span = if is_sorted { word.bold().underlined() } else { word.bold() };
        let line = Line::from(span);
        if no == 0 { line } else { line.alignment(Alignment::Right) }
    };
    let header = Row::new(COLUMNS.iter().enumerate().map(title));
    let rows = state.queues().into_iter().map(queue_row).collect::<Vec<_>>();
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(20),
    ];
    let block = Block::new().borders(Borders::TOP).title(format!(" queues, by {} ", state.sort.word()));
    let table = Table::new(rows, widths).header(header).block(block).row_highlight_style(Style::new().reversed());
    let mut picked = TableState::new().with_selected(state.place_of_picked());
    frame.render_stateful_widget(table, area, &mut picked);
}

fn queue_row(queue: Shown<'_>) -> Row<'static> {
    let right = |text: String| Line::from(text).alignment(Alignment::Right);
    let number = |name: &str| right(unless_zero(queue.at(name).number()));
    let oldest = queue.at("oldest_ready_ms").number();
    let words = Line::from(remarks(queue).yellow()).alignment(Alignment::Right);
    Row::new([
        Line::from(queue.at("name").text()),
        right(format!("{} / {}", queue.at("running").number(), queue.at("slots").number())),
        number("ready"),
        right(if oldest == 0 { String::new() } else { span(oldest) }),
        number("delayed"),
        number("dead"),
        number("done_last_minute"),
        number("failed_last_minute"),
        words,
    ])
}

fn draw_running(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let queues = state.queues();
    let picked = state.place_of_picked().and_then(|at| queues.get(at)).map(|queue| queue.at("name").text());
    let block = Block::new().borders(Borders::TOP).title(format!(" what runs of {} ", picked.unwrap_or_default()));
    let running = Shown::of(&state.seen.running);
    let rows = running.at("jobs").each().map(|job| {
        let asked = if job.at("cancel_requested").is() { "asked to end" } else { "" };
        let attempt = format!("attempt {}", job.at("attempts").number());
        Row::new([
            job.at("id").text(),
            job.at("kind").text(),
            attempt,
            job.at("created").relative(),
            format!("{asked}{}", job.at("progress").message()),
        ])
    });
    let widths = [
        Constraint::Length(37),
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Fill(1),
    ];
    frame.render_widget(Table::new(rows.collect::<Vec<_>>(), widths).block(block), area);
}

fn foot_line(state: &State) -> Line<'static> {
    let span: Span<'static> = match state.question() {
        Some(question) => question.bold().yellow(),
        None if state.said.is_bad => state.said.text.clone().red(),
        None if !state.said.text.is_empty() => state.said.text.clone().into(),
        None => KEYS.dim(),
    };
    Line::from(span)
}
