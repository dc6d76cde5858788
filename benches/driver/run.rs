//! Runs one case, without measuring it.

use std::fmt::Debug;

use http::Response;
use http_body::Body;
use tower::Service;

use crate::driver::{Ask, Ruler, calls, runtime};

/// Runs the case with this name.
pub(crate) struct Run<'a> {
    case: &'a str,
    calls: u64,
    /// Whether there is a case with this name.
    pub(crate) has_run: bool,
}

impl<'a> Run<'a> {
    pub(crate) fn new(case: &'a str, calls: u64) -> Self {
        Self {
            case,
            calls,
            has_run: false,
        }
    }
}

impl Ruler for Run<'_> {
    fn measure<S, R>(&mut self, name: &str, request: &Ask, mut service: S)
    where
        S: Service<Ask, Response = Response<R>, Error: Debug>,
        R: Body<Error: Debug>,
    {
        if name == self.case {
            runtime().block_on(calls(&mut service, request, self.calls));
            self.has_run = true;
        }
    }
}
