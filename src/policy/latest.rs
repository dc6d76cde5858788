//! Applies the latest of values that may be replaced while they are applied.

use std::sync::Arc;

/// Applies the latest value to an object that was made with `first`. If the value is replaced meanwhile, the function
/// applies the newer one too, so that an older value never stays in effect.
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
            // The first replacement came before the first `load`.
            let (current, holds) = (Cell::new(replacements.min(1)), Cell::new(0));
            let load = || Arc::clone(&values[current.get()]);
            follow_latest(Arc::clone(&values[0]), load, |value| {
                if current.get() < replacements {
                    current.set(current.get() + 1);
                    // The thread that replaces the value also applies it.
                    holds.set(current.get());
                }
                holds.set(*value);
            });
            assert_eq!(holds.get(), replacements);
        }
    }
}
