//! Columns for a terminal.

/// `rows` under `heads`, each column as wide as its widest cell; a column is flush right when all its cells start with a
/// digit.
pub(crate) fn render(heads: &[&str], rows: &[Vec<String>]) -> String {
    let columns: Vec<Column> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| Column::of(head, rows.iter().filter_map(|row| row.get(at))))
        .collect();
    let heads: Vec<String> = heads.iter().map(|&head| head.to_owned()).collect();
    let rule: Vec<String> = columns.iter().map(|column| "-".repeat(column.width)).collect();
    [heads, rule].iter().chain(rows).map(|row| line(&columns, row)).collect()
}

struct Column {
    width: usize,
    numbers: bool,
}

impl Column {
    fn of<'a>(head: &str, cells: impl Iterator<Item = &'a String> + Clone) -> Self {
        let width = cells.clone().map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.chars().count());
        let mut cells = cells.filter(|cell| !cell.is_empty()).peekable();
        Self {
            width,
            numbers: cells.peek().is_some() && cells.all(|cell| cell.starts_with(|c: char| c.is_ascii_digit())),
        }
    }
}

fn line(columns: &[Column], row: &[String]) -> String {
    let cells = columns.iter().zip(row).map(|(column, cell)| {
        let width = column.width;
        if column.numbers { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    });
    format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let rows = vec![vec!["fmt".to_owned(), "1.5 s".to_owned()], vec!["clippy".to_owned(), "152.0 s".to_owned()]];
        assert_eq!(
            render(&["check", "time"], &rows),
            "check      time\n------  -------\nfmt       1.5 s\nclippy  152.0 s\n"
        );
    }
}
