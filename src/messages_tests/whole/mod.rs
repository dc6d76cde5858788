//! The document of all sentences, and its comparison with the file.

mod causes;
mod configs;
mod document;
mod errors;
mod events;
mod printed;
mod sources;

use super::of::{self, Sentences};

/// A heading and its sentences.
type Section = (&'static str, Vec<String>);

macro_rules! sections {
    ($($name:ident),+ $(,)?) => {
        /// Returns the sentences of types that only their own module can make.
        fn of_modules() -> Vec<Section> {
            vec![$((stringify!($name), of::$name::sentences())),+]
        }
    };
}

with_names!(sections);
