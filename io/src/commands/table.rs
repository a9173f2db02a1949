//! Tables for people: columns as wide as what stands in them, headings in capitals, nothing at the ends of lines.

use std::fmt;
use std::io::{self, Write};

pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[&'static str]) -> Table {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        assert!(N == self.headings.len(), "{N} cells under {} headings", self.headings.len());
        self.rows.push(cells.into());
    }

    pub fn print(&self) -> io::Result<()> {
        self.write(&mut io::stdout().lock())
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let headings: Vec<String> = self.headings.iter().map(|heading| heading.to_uppercase()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&headings]).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..headings.len()).map(width).collect();
        for row in [&headings].into_iter().chain(&self.rows) {
            let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// `1,2,3`, or a dash where there is nothing.
pub fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(",") }
}

/// Prints a line. Fails, and does not panic as `println!` does, where whoever reads it has read enough.
pub fn print_line(line: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}

/// Prints one JSON value on a line of its own.
pub fn print_json(value: &serde_json::Value) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["name", "partitions"]);
        table.row(["a".into(), "1".into()]);
        table.row(["größer".into(), list(&[1, 2])]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected = "NAME    PARTITIONS\na       1\ngrößer  1,2\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(list::<i32>(&[]), "-");
    }
}
