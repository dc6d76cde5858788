//! Retry, hints, back-off, breaker and attempt timeout in their place in the stack, over services that are not
//! ours, on a clock that stands still.

#[cfg(test)]
mod mock;

#[cfg(test)]
#[path = "policies"]
mod policies {
    mod attempts;
    mod budgets;
    mod circuits;
    mod classifying;
    mod hints;
    mod presets;
    mod retries;
    mod served;
}
