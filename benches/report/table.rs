//! The Markdown table.

/// Rows of one table.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Adds a row: what was measured, what it was, against what, and what is aimed at.
    pub(crate) fn row(&mut self, what: &str, figure: &str, against: &str, aim: &str) {
        eprintln!("{what}: {figure} ({against})");
        self.rows
            .push([what, figure, against, aim].map(str::to_owned));
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::from("| measure | result | against | aim |\n|---|---|---|---|\n");
        for row in &self.rows {
            text.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        text
    }
}
