//! The latest of values that are replaced while they are used.

use std::sync::Arc;

/// Lets something that was made by `first` follow the latest value. Values may be replaced meanwhile: it goes on until
/// none came in between, so that an older value never holds over a newer one.
pub(crate) fn follow_latest<T>(
    first: Arc<T>,
    load: impl Fn() -> Arc<T>,
    mut follow: impl FnMut(&T),
) {
    let mut followed = first;
    loop {
        let latest = load();
        if Arc::ptr_eq(&latest, &followed) {
            return;
        }
        follow(&latest);
        followed = latest;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn value_that_is_replaced_while_an_older_one_is_followed_holds() {
        for replacements in 0..4 {
            let values: Vec<_> = (0..=replacements).map(Arc::new).collect();
            // The first came before the first look.
            let (current, holds) = (Cell::new(replacements.min(1)), Cell::new(0));
            let load = || Arc::clone(&values[current.get()]);
            follow_latest(Arc::clone(&values[0]), load, |value| {
                if current.get() < replacements {
                    current.set(current.get() + 1);
                    // The thread that replaces it lets all follow, too.
                    holds.set(current.get());
                }
                holds.set(*value);
            });
            assert_eq!(holds.get(), replacements);
        }
    }
}
