//! The printed table: medians over the rounds of the ratios to the raw echo.

use comfy_table::{ContentArrangement, Table, presets::ASCII_MARKDOWN};

use super::load::Measured;

/// Measurements with replies of one size: rounds per contestant, the raw echo's first.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) reply_bytes: usize,
    pub(super) rounds: Vec<Vec<Measured>>,
}

/// One row per contestant: throughput and CPU time, as ratios to the raw echo and as numbers.
pub(super) fn ratios(names: &[&str], columns: &[Column]) -> String {
    let heads = columns.iter().flat_map(|column| {
        let size = size(column.reply_bytes);
        [format!("{size}: requests/s against raw echo"), "CPU against raw echo".to_owned()]
    });
    let mut table = empty(std::iter::once("server".to_owned()).chain(heads).collect());
    for (place, name) in names.iter().enumerate() {
        let cells = columns.iter().flat_map(|column| {
            let (rounds, echo) = (&column.rounds[place], &column.rounds[0]);
            let cell = |figure: fn(&Measured) -> f64, digits: usize, unit: &str| {
                let ratios = rounds.iter().zip(echo).map(|(ours, echo)| figure(ours) / figure(echo)).collect();
                let figures = rounds.iter().map(figure).collect();
                format!("{:.2} ({:.digits$}{unit})", median(ratios), median(figures))
            };
            [cell(|m| m.requests_per_second, 0, "/s"), cell(|m| m.cpu_us, 1, " us")]
        });
        table.add_row(std::iter::once((*name).to_owned()).chain(cells));
    }
    table.to_string()
}

/// This build against the other one; each ratio is taken within a round.
pub(super) fn this_against_other(columns: &[Column]) -> String {
    let lines = columns.iter().map(|column| {
        let [_echo, this, other] = column.rounds.as_slice() else { unreachable!("--against has these servers") };
        let ratios = |figure: fn(&Measured) -> f64| {
            spread(this.iter().zip(other).map(|(this, other)| figure(this) / figure(other)).collect(), 3)
        };
        let (requests, cpu) = (ratios(|m| m.requests_per_second), ratios(|m| m.cpu_us));
        format!("{}, this build against the other: requests/s {requests}, CPU {cpu}", size(column.reply_bytes))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The median, and the range.
pub(crate) fn spread(figures: Vec<f64>, digits: usize) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{:.digits$} ({least:.digits$} to {most:.digits$})", median(figures))
}

/// The median.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) }
}

/// A table with this head.
pub(crate) fn empty(head: Vec<String>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}

fn size(bytes: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few KiB")]
    let kib = bytes as f64 / 1024.0;
    format!("{kib:.1} KiB")
}
