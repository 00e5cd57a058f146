//! Numbers, times and names, as people read them.

use std::time::{Duration, SystemTime};

use askama::Template;
use askama::filters::HtmlSafe;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::view::pace::PaceView;
use crate::view::{When, millis};

/// Something small, behind however many references templates put before it.
pub(super) trait Plain<T> {
    fn plain(&self) -> T;
}

impl Plain<Self> for u64 {
    fn plain(&self) -> Self {
        *self
    }
}

impl Plain<Self> for f64 {
    fn plain(&self) -> Self {
        *self
    }
}

impl Plain<Self> for When {
    fn plain(&self) -> Self {
        *self
    }
}

impl<T, P: Plain<T>> Plain<T> for &P {
    fn plain(&self) -> T {
        (**self).plain()
    }
}

/// A moment, as so long ago, with the exact one behind it.
#[derive(Template)]
#[template(source = "<time datetime=\"{{ exact }}\" title=\"{{ exact }}\">{{ words }}</time>", ext = "html")]
pub(super) struct Moment {
    exact: String,
    words: String,
}

/// Its template escapes what it shows.
impl HtmlSafe for Moment {}

pub(super) fn ago(when: impl Plain<When>) -> Moment {
    let when = when.plain();
    let now = SystemTime::now();
    let words = match (now.duration_since(when.0), when.0.duration_since(now)) {
        (Ok(past), _) if past < Duration::from_secs(1) => "just now".to_owned(),
        (Ok(past), _) => format!("{} ago", age(millis(past))),
        (Err(_), Ok(future)) => format!("in {}", age(millis(future))),
        (Err(_), Err(_)) => when.to_string(),
    };
    Moment { exact: when.to_string(), words }
}

/// A job's, a step's or a flow's state, with a sign beside its colour.
#[derive(Template)]
#[template(
    source = "<span class=\"state {{ class }}\"><span aria-hidden=\"true\">{{ sign }}</span> {{ word }}</span>",
    ext = "html"
)]
pub(super) struct Badge {
    class: &'static str,
    sign: &'static str,
    word: String,
}

/// Its template escapes what it shows.
impl HtmlSafe for Badge {}

pub(super) fn badge(state: impl AsRef<str>) -> Badge {
    let word = state.as_ref();
    let (class, sign) = look_of(word);
    Badge { class, sign, word: word.replace('_', " ") }
}

/// The class and the sign of a state: nobody has to see colours.
pub(super) fn look_of(state: &str) -> (&'static str, &'static str) {
    match state {
        "running" => ("s-running", "▶"),
        "ready" => ("s-ready", "●"),
        "delayed" => ("s-delayed", "◷"),
        "waiting" => ("s-waiting", "○"),
        "parked" => ("s-parked", "▲"),
        "done" | "closed" => ("s-done", "✓"),
        "dead" | "failed" | "open" => ("s-dead", "✕"),
        "held" | "half_open" => ("s-held", "‖"),
        "undoing" => ("s-held", "↶"),
        "expired" => ("s-off", "⊖"),
        "skipped" => ("s-off", "»"),
        _ => ("s-off", "⊘"),
    }
}

/// A count, with its thousands apart.
pub(super) fn count(number: impl Plain<u64>) -> String {
    let digits = number.plain().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in milliseconds, in the one or two units that matter.
pub(super) fn age(ms: impl Plain<u64>) -> String {
    let ms = ms.plain();
    let (s, min, h, d) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 if !ms.is_multiple_of(1_000) => format!("{s}.{} s", ms % 1_000 / 100),
        1_000..60_000 => format!("{s} s"),
        60_000..3_600_000 => two(min, "min", s % 60, "s"),
        3_600_000..86_400_000 => two(h, "h", min % 60, "min"),
        _ => two(d, "d", h % 24, "h"),
    }
}

fn two(large: u64, unit: &str, small: u64, part: &str) -> String {
    if small == 0 || large >= 10 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {part}") }
}

/// A time in microseconds.
pub(super) fn micros(us: impl Plain<u64>) -> String {
    match us.plain() {
        us @ 0..1_000 => format!("{us} µs"),
        us @ 1_000..10_000 if !us.is_multiple_of(1_000) => format!("{}.{} ms", us / 1_000, us % 1_000 / 100),
        us => age(us / 1_000),
    }
}

impl PaceView {
    /// How long half, 95 and 99 of 100 waited, and how long they ran; blank where none did.
    pub(super) fn times(&self) -> [[String; 3]; 2] {
        [self.wait, self.run]
            .map(|all| all.map(|all| [all.p50_us, all.p95_us, all.p99_us].map(micros)).unwrap_or_default())
    }
}

/// A rate, with a tenth where it is small.
pub(super) fn rate(per_minute: impl Plain<f64>) -> String {
    let per_minute = per_minute.plain();
    if per_minute < 10.0 { per_minute.to_string() } else { format!("{per_minute:.0}") }
}

pub(super) fn bytes(number: impl Plain<u64>) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (number.plain(), 0, 0);
    while whole >= 1_024 && unit + 1 < UNITS.len() {
        (tenths, whole, unit) = (whole % 1_024 * 10 / 1_024, whole / 1_024, unit + 1);
    }
    if tenths == 0 || whole >= 100 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{tenths} {}", UNITS[unit])
    }
}

/// A time with its zone as one reads it: without the zone's name, which stands with its rule.
pub(super) fn local(text: impl AsRef<str>) -> String {
    let time = text.as_ref().split('[').next().unwrap_or_default().replacen('T', " ", 1);
    if let Some(time) = time.strip_suffix('Z') {
        return format!("{time} UTC");
    }
    match time.get(19..) {
        Some(offset) if offset.starts_with(['+', '-']) => format!("{} {offset}", &time[..19]),
        _ => time,
    }
}

/// The end of an id: its beginning is a time that its neighbours share.
pub(super) fn short(id: impl AsRef<str>) -> String {
    let id = id.as_ref();
    id.char_indices().rev().nth(7).map_or_else(|| id.to_owned(), |(at, _)| format!("…{}", &id[at..]))
}

/// As many characters of it, with a sign where there were more.
pub(super) fn cut(text: impl AsRef<str>, chars: usize) -> String {
    let text = text.as_ref();
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// JSON with lines and spaces; a text that is none as it is.
pub(super) fn pretty(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => text.clone(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

/// As it stands in a URL, between the signs that mean something there.
pub(super) fn encode(text: impl AsRef<str>) -> String {
    const MEANS_SOMETHING: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text.as_ref(), MEANS_SOMETHING).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (ms, text) in [
            (0, "0 ms"),
            (1_000, "1 s"),
            (1_500, "1.5 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (3_600_000, "1 h"),
            (93_600_000, "1 d 2 h"),
        ] {
            assert_eq!(age(ms), text);
        }
        for (number, text) in [(1_023, "1023 B"), (1_024, "1 KiB"), (1_536, "1.5 KiB"), (1 << 30, "1 GiB")] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn times_have_no_name_of_a_zone() {
        for (time, text) in [
            ("2026-11-29T02:30:00+01:00[Europe/Berlin]", "2026-11-29 02:30:00 +01:00"),
            ("2026-11-29T02:30:00-03:00[America/Sao_Paulo]", "2026-11-29 02:30:00 -03:00"),
            ("2026-11-28T11:18:40Z", "2026-11-28 11:18:40 UTC"),
            ("2026-11-28T11:18:40.5+00:00[UTC]", "2026-11-28 11:18:40.5+00:00"),
            ("é", "é"),
        ] {
            assert_eq!(local(time), text);
        }
    }

    #[test]
    fn what_means_something_in_a_url_is_encoded() {
        assert_eq!(encode("a b&c=d/é?#'\"<"), "a%20b%26c%3Dd%2F%C3%A9%3F%23%27%22%3C");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(short("ab"), "ab");
        assert_eq!(short("0190f3c4-aaaa-7000-8000-0000000abcde"), "…000abcde");
    }
}
