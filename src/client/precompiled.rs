//! A future that is compiled once.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

pin_project! {
    /// A future whose `poll` is compiled with this crate.
    ///
    /// The compiler leaves the body of an `async` block to the crate that polls it. So each crate that awaits a call
    /// would compile the whole driver again. A pointer to the function prevents that, and costs less than a box.
    pub(super) struct Precompiled<F: Future> {
        #[pin]
        future: F,
        poll: fn(Pin<&mut F>, &mut Context<'_>) -> Poll<F::Output>,
    }
}

impl<F: Future> Precompiled<F> {
    /// Takes the pointer. The caller must be a function without type parameters that is not inlined.
    #[inline(always)]
    pub(super) fn new(future: F) -> Self {
        let poll = F::poll;
        Self { future, poll }
    }
}

impl<F: Future> Future for Precompiled<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        (this.poll)(this.future, cx)
    }
}
