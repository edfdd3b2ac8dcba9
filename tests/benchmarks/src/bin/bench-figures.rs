//! Says what the sessions in a file add up to, whoever has written it, so that all can be compared.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use rusqlite::{Connection, OpenFlags};
use workspace_benchmarks::Figures;

/// Prints one line of JSON.
#[derive(Parser)]
struct Arguments {
    /// Who has written the file.
    #[arg(long)]
    layout: Layout,
    /// The file.
    store: PathBuf,
}

/// How sessions lie in the file.
#[derive(Clone, Copy, ValueEnum)]
enum Layout {
    /// As our store keeps them.
    Ours,
    /// The fields of the provider as columns, instants in seconds since 1970.
    Seconds,
    /// The same with instants as text.
    Text,
}

fn main() -> Result<()> {
    let Arguments { layout, store } = Arguments::parse();
    let connection = Connection::open_with_flags(&store, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("{} cannot be opened", store.display()))?;
    let (energy, cost, start) = match layout {
        Layout::Ours => ("energy_mwh", "cost", "start_us / 1000000"),
        Layout::Seconds => ("energy_charged_kwh * 1e6", "actual_cost_eur", "plug_in_time"),
        Layout::Text => {
            ("energy_charged_kwh * 1e6", "actual_cost_eur", "CAST(strftime('%s', plug_in_time) AS INTEGER)")
        }
    };
    let sql = format!(
        "SELECT count(*), coalesce(sum(CAST(round({energy}) AS INTEGER)), 0),
                coalesce(sum(CAST(round(CAST({cost} AS REAL) * 100) AS INTEGER)), 0),
                coalesce(min({start}), 0), coalesce(max({start}), 0)
         FROM sessions"
    );
    let figures = connection.query_row(&sql, [], |row| {
        Ok(Figures {
            sessions: row.get::<_, i64>(0)?.cast_unsigned(),
            energy_mwh: row.get(1)?,
            cost_cents: row.get(2)?,
            first: row.get(3)?,
            last: row.get(4)?,
        })
    });
    println!("{}", serde_json::to_string(&figures.context("the sessions cannot be added up")?)?);
    Ok(())
}
