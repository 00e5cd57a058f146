//! A flow as a picture: steps in columns by how many stand before them, lines from each to those that need it.

use std::collections::HashMap;

use super::shell::Shell;
use super::text;
use crate::view::flows::FlowWhole;

/// More steps than this are a list, and no picture.
const STEPS_MAX: usize = 200;
const WIDTH: usize = 160;
const HEIGHT: usize = 44;
const APART: (usize, usize) = (40, 18);
const MARGIN: usize = 12;
/// Characters of a name that find room.
const NAME_CHARS: usize = 19;

pub(super) struct Graph {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
}

/// A step.
pub(super) struct Node {
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) href: String,
    pub(super) name: String,
    pub(super) shown: String,
    pub(super) state: &'static str,
    pub(super) class: &'static str,
    pub(super) sign: &'static str,
    pub(super) work: &'static str,
    pub(super) is_critical: bool,
}

/// That a step needs another one, or undoes it.
pub(super) struct Edge {
    pub(super) path: String,
    pub(super) is_open: bool,
    pub(super) is_critical: bool,
    pub(super) is_undo: bool,
}

impl Graph {
    pub(super) fn of(whole: &FlowWhole, shell: &Shell) -> Option<Self> {
        if whole.steps.len() > STEPS_MAX {
            return None;
        }
        let number: HashMap<_, _> = whole.steps.iter().enumerate().map(|(no, step)| (step.name.as_str(), no)).collect();
        let place = |names: &[String]| -> Vec<usize> {
            names.iter().filter_map(|name| number.get(name.as_str()).copied()).collect()
        };
        let needs: Vec<_> = whole.steps.iter().map(|step| place(&step.needs)).collect();
        let undoes: Vec<_> =
            whole.steps.iter().map(|step| step.undoes.as_deref().and_then(|of| number.get(of))).collect();
        let places = places(&needs, &undoes.iter().map(|of| of.copied()).collect::<Vec<_>>());
        let critical: Vec<_> = whole.critical_path.iter().map(|step| step.step.as_str()).collect();
        let follows = |one: usize, next: usize| {
            let (one, next) = (&*whole.steps[one].name, &*whole.steps[next].name);
            critical.windows(2).any(|pair| pair == [one, next])
        };
        let at = |no: usize| {
            let (column, row) = places[no];
            (MARGIN + column * (WIDTH + APART.0), MARGIN + row * (HEIGHT + APART.1))
        };
        let mut edges = Vec::new();
        for (no, step) in whole.steps.iter().enumerate() {
            for need in &needs[no] {
                let is_open = step.blocked_by.contains(&whole.steps[*need].name);
                let is_critical = follows(*need, no);
                edges.push(Edge { path: curve(at(*need), at(no)), is_open, is_critical, is_undo: false });
            }
            if let Some(of) = undoes[no] {
                edges.push(Edge { path: curve(at(*of), at(no)), is_open: false, is_critical: false, is_undo: true });
            }
        }
        let nodes = whole.steps.iter().enumerate().map(|(no, step)| {
            let ((x, y), (class, sign)) = (at(no), text::look_of(step.state));
            Node {
                x,
                y,
                href: format!("{}/jobs/{}", shell.base, step.job),
                name: step.name.clone(),
                shown: text::cut(&step.name, NAME_CHARS),
                state: step.state,
                class,
                sign,
                work: step.work,
                is_critical: critical.contains(&step.name.as_str()),
            }
        });
        let columns = places.iter().map(|(column, _)| column + 1).max().unwrap_or_default();
        let rows = places.iter().map(|(_, row)| row + 1).max().unwrap_or_default();
        Some(Self {
            width: 2 * MARGIN + columns * (WIDTH + APART.0) - APART.0.min(columns * APART.0),
            height: 2 * MARGIN + rows * (HEIGHT + APART.1) - APART.1.min(rows * APART.1),
            nodes: nodes.collect(),
            edges,
        })
    }
}

/// The column and the row of each step. Each needs only earlier ones.
fn places(needs: &[Vec<usize>], undoes: &[Option<usize>]) -> Vec<(usize, usize)> {
    let mut columns: Vec<usize> = Vec::new();
    for (needs, undoes) in needs.iter().zip(undoes) {
        let before = needs.iter().chain(undoes).filter_map(|need| columns.get(*need)).max();
        columns.push(before.map_or(0, |column| column + 1));
    }
    let mut places = vec![(0, 0); columns.len()];
    for column in 0..=columns.iter().copied().max().unwrap_or_default() {
        // Beside those that they need, so that lines cross little.
        let mut members: Vec<_> = (0..columns.len()).filter(|no| columns[*no] == column).collect();
        members.sort_by_key(|no| {
            let rows: Vec<_> = needs[*no].iter().chain(&undoes[*no]).map(|need| places[*need].1).collect();
            (rows.iter().sum::<usize>() * 1_000 / rows.len().max(1), *no)
        });
        for (row, no) in members.into_iter().enumerate() {
            places[no] = (column, row);
        }
    }
    places
}

fn curve((x, y): (usize, usize), (to_x, to_y): (usize, usize)) -> String {
    let (x, y, to_y) = (x + WIDTH, y + HEIGHT / 2, to_y + HEIGHT / 2);
    let middle = x.midpoint(to_x);
    format!("M{x} {y}C{middle} {y} {middle} {to_y} {to_x} {to_y}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_stands_behind_those_that_it_needs_and_on_a_place_of_its_own() {
        let needs = [vec![], vec![0], vec![0], vec![1, 2], vec![0, 3], vec![]];
        let undoes = [None, None, None, None, None, Some(3)];
        let places = places(&needs, &undoes);
        for (no, needs) in needs.iter().enumerate() {
            assert!(needs.iter().chain(&undoes[no]).all(|need| places[*need].0 < places[no].0));
        }
        let distinct: std::collections::BTreeSet<_> = places.iter().collect();
        assert_eq!(distinct.len(), places.len());
        assert_eq!(places[0], (0, 0));
        assert_eq!(places[5], (3, 1));
    }
}
