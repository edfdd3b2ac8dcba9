//! Tables that read well in a terminal and as Markdown, and the numbers in them.

use std::fmt;

use super::child::Used;

/// The first column is of words, the others of figures.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(headers: [&str; N]) -> Self {
        Self { rows: vec![headers.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let length = |text: &String| text.chars().count();
        let width =
            |column| self.rows.iter().filter_map(|row| row.get(column)).map(length).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            write!(f, "|")?;
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                if column == 0 { write!(f, " {cell:<width$} |")? } else { write!(f, " {cell:>width$} |")? }
            }
            writeln!(f)?;
            if number == 0 {
                write!(f, "|")?;
                for (column, width) in widths.iter().enumerate() {
                    write!(
                        f,
                        " {}{} |",
                        "-".repeat(width.saturating_sub(1).max(2)),
                        if column == 0 { "-" } else { ":" }
                    )?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

/// The middle of several runs, and how far apart they were.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Middle {
    /// Of at least one number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut numbers: Vec<f64> = numbers.into_iter().collect();
        numbers.sort_by(f64::total_cmp);
        let at = |place: usize| numbers.get(place).copied().unwrap_or(f64::NAN);
        let half = numbers.len() / 2;
        let median = if numbers.len().is_multiple_of(2) && half > 0 {
            f64::midpoint(at(half - 1), at(half))
        } else {
            at(half)
        };
        Self { median, least: at(0), most: at(numbers.len().saturating_sub(1)) }
    }

    /// `12.3 (12.1–12.9)`, or the number alone if there was one run.
    pub(crate) fn with_spread(self) -> String {
        if self.least.total_cmp(&self.most).is_eq() {
            return figure(self.median);
        }
        format!("{} ({}–{})", figure(self.median), figure(self.least), figure(self.most))
    }
}

/// With as many digits as say something.
pub(crate) fn figure(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// Microseconds on the clock and of processors for each of `sessions`, and the memory in MiB.
pub(crate) struct Each {
    pub(crate) wall: Middle,
    pub(crate) processor: Middle,
    pub(crate) memory: Middle,
}

impl Each {
    pub(crate) fn of(runs: &[Used], sessions: u64) -> Self {
        let each = |seconds: f64| seconds * 1e6 / sessions.max(1) as f64;
        Self {
            wall: Middle::of(runs.iter().map(|used| each(used.wall.as_secs_f64()))),
            processor: Middle::of(runs.iter().map(|used| each(used.processor.as_secs_f64()))),
            memory: Middle::of(runs.iter().map(|used| mebibytes(used.memory))),
        }
    }
}

pub(crate) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// A goal, and whether it was reached.
pub(crate) fn verdict(what: &str, is: f64, goal: f64, at_most: bool) -> Vec<String> {
    let met = if at_most { is <= goal } else { is >= goal };
    let sign = if at_most { "≤" } else { "≥" };
    vec![
        what.to_owned(),
        format!("{sign} {}", figure(goal)),
        figure(is),
        if met { "met" } else { "**not met**" }.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_between_the_two_in_the_middle() {
        assert_eq!(Middle::of([3.0, 1.0, 2.0]), Middle { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Middle::of([4.0, 1.0]), Middle { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Middle::of([7.0]).with_spread(), "7.00");
        assert_eq!(Middle::of([12.34, 100.4, 7.0]).with_spread(), "12.3 (7.00–100)");
    }

    #[test]
    fn a_table_is_markdown() {
        let mut table = Table::new(["who", "µs"]);
        table.row(["we".to_owned(), "12.3".to_owned()]);
        assert_eq!(table.to_string(), "| who |   µs |\n| --- | ---: |\n| we  | 12.3 |\n");
    }

    #[test]
    fn a_goal_that_is_missed_stands_out() {
        assert_eq!(verdict("memory", 41.0, 40.0, true)[3], "**not met**");
        assert_eq!(verdict("memory", 40.0, 40.0, true)[3], "met");
        assert_eq!(verdict("times as fast", 3.9, 4.0, false)[3], "**not met**");
    }
}
