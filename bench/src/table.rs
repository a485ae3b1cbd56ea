//! Rows as a Markdown table, so that it can be pasted into one.

use std::fmt::Write as _;

/// The first row is the header; a row that is shorter than it ends early.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        line(&mut text, row, &widths);
        if index == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            line(&mut text, &rule, &widths);
        }
    }
    text
}

fn line(text: &mut String, cells: &[String], widths: &[usize]) {
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(text, "| {cell:width$} ");
    }
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_as_wide_as_its_widest_cell() {
        let rows = [["", "etcd"], ["get", "1 ± 1"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(markdown(&rows), "|     | etcd  |\n| --- | ----- |\n| get | 1 ± 1 |\n");
    }
}
