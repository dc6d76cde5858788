//! Malformed lines of the system's files: they are ignored, with one warning for each file.

use std::path::Path;

/// The lines of one file that were ignored.
#[derive(Debug, Default)]
pub(crate) struct Malformed {
    lines: usize,
    first: usize,
}

impl Malformed {
    /// Adds a line, by its number from 0.
    pub(crate) fn add(&mut self, line: usize) {
        if self.lines == 0 {
            self.first = line + 1;
        }
        self.lines += 1;
    }

    /// Logs one warning, if there are any.
    pub(crate) fn report(&self, file: &Path) {
        let Self { lines, first } = *self;
        if lines > 0 {
            let file = file.display();
            tracing::warn!(%file, lines, first, "malformed lines are ignored");
        }
    }
}
