//! Bars over the pieces of a period, as figures of an SVG.

use rust_decimal::{Decimal, prelude::ToPrimitive as _};

use crate::text::fixed;

/// The drawing's own units; it is as wide as the page, and text in it is readable at 640 px and above.
pub(super) const WIDTH: f64 = 960.0;
pub(super) const HEIGHT: f64 = 240.0;
/// Where the bars stand.
const LEFT: f64 = 48.0;
const RIGHT: f64 = WIDTH - 8.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 28.0;
/// The highest bar, in the unit of a chart.
const HIGHEST: u64 = 1_000_000_000_000_000;

/// Bars over the pieces of a period.
pub(super) struct Chart {
    pub(super) title: String,
    /// What the bars are in, such as `kWh`.
    pub(super) unit: &'static str,
    pub(super) bars: Vec<Bar>,
    pub(super) ticks: Vec<Tick>,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

/// One bar, with its figure beside what is drawn of it.
pub(super) struct Bar {
    /// The day or the month.
    pub(super) label: String,
    /// The end of the label, which is enough below a bar.
    pub(super) short: String,
    /// With its digits, for the table behind the chart.
    pub(super) figure: String,
    pub(super) sessions: usize,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) middle: f64,
}

/// A line with a number at its left.
pub(super) struct Tick {
    pub(super) label: String,
    pub(super) y: f64,
}

impl Chart {
    /// A bar for each of `pieces`: its label, its figure and how many sessions are in it. Figures below zero have no
    /// height, and stand in the table.
    pub(super) fn new(
        title: String,
        unit: &'static str,
        digits: u32,
        pieces: &[(String, Decimal, usize)],
    ) -> Self {
        // No higher than what can be reckoned with; the table has the figures as they are.
        let drawn = |figure: Decimal| figure.clamp(Decimal::ZERO, Decimal::from(HIGHEST));
        let most = pieces.iter().map(|(_, figure, _)| drawn(*figure)).max().unwrap_or_default();
        let step = step(most);
        let lines = (most / step).ceil().max(Decimal::ONE);
        let top = lines * step;
        let height_of = |figure: Decimal| {
            let share = (drawn(figure) / top).to_f64().unwrap_or_default();
            share * (BOTTOM - TOP)
        };
        let slot = (RIGHT - LEFT) / pieces.len().max(1) as f64;
        let bars = pieces.iter().enumerate().map(|(index, (label, figure, sessions))| {
            let height = height_of(*figure);
            let width = (slot * 0.7).min(40.0);
            let x = LEFT + slot * index as f64 + (slot - width) / 2.0;
            Bar {
                short: label.rsplit('-').next().unwrap_or_default().trim_start_matches('0').to_owned(),
                label: label.clone(),
                figure: fixed(*figure, digits),
                sessions: *sessions,
                x,
                y: BOTTOM - height,
                width,
                height,
                middle: x + width / 2.0,
            }
        });
        let lines = lines.to_u32().unwrap_or(1);
        let ticks = (0..=lines).map(|line| {
            let figure = step * Decimal::from(line);
            Tick { label: figure.normalize().to_string(), y: BOTTOM - height_of(figure) }
        });
        Self {
            title,
            unit,
            bars: bars.collect(),
            ticks: ticks.collect(),
            left: LEFT,
            right: RIGHT,
            bottom: BOTTOM,
            width: WIDTH,
            height: HEIGHT,
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that four or five of it reach `most`.
fn step(most: Decimal) -> Decimal {
    let least = most / Decimal::from(5);
    let mut power = Decimal::new(1, 6);
    // 10 to the 24th is beyond the highest bar.
    for _ in 0..30 {
        for factor in [1, 2, 5] {
            let step = power * Decimal::from(factor);
            if step >= least {
                return step;
            }
        }
        power = power.checked_mul(Decimal::TEN).unwrap_or(power);
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(figures: &[&str]) -> Chart {
        let piece = |(index, figure): (usize, &&str)| {
            (format!("2026-10-{:02}", index + 1), figure.parse().unwrap(), 1)
        };
        let pieces: Vec<_> = figures.iter().enumerate().map(piece).collect();
        Chart::new("Energy".into(), "kWh", 3, &pieces)
    }

    #[test]
    fn bars_are_as_high_as_their_share_and_stay_inside() {
        let chart = chart(&["10", "5", "0", "-3"]);
        let heights: Vec<_> = chart.bars.iter().map(|bar| bar.height).collect();
        assert!((heights[0] - 2.0 * heights[1]).abs() < 1e-9, "{heights:?}");
        assert_eq!((heights[2].to_string(), heights[3].to_string()), ("0".into(), "0".into()));
        for bar in &chart.bars {
            assert!(bar.x >= LEFT && bar.x + bar.width <= RIGHT && bar.y >= TOP - 1e-9, "{}", bar.label);
        }
        assert_eq!(chart.bars[0].short, "1");
    }

    #[test]
    fn lines_are_round_numbers_and_reach_the_highest_bar() {
        for (most, last) in [("10", "10"), ("11", "15"), ("0.3", "0.3"), ("437.5", "500"), ("0", "0.000001")]
        {
            let chart = chart(&[most]);
            assert_eq!(chart.ticks.last().unwrap().label, last, "{most}");
            assert!((2..=6).contains(&chart.ticks.len()), "{most}: {}", chart.ticks.len());
        }
    }

    #[test]
    fn the_largest_figures_end() {
        let chart = chart(&["79228162514264337593543950335"]);
        assert!((chart.bars[0].height - (BOTTOM - TOP)).abs() < 1e-6);
        assert_eq!(chart.bars[0].figure, "79228162514264337593543950335.000");
    }
}
