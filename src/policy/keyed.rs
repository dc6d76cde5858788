//! By what circuits and budgets are kept, where the user says so.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::callback::Panicked;
use crate::destination::Destination;

/// What the user makes of a request, behind `catch_unwind`: the destination by whose circuit and budget it goes.
pub(crate) type Key = Arc<dyn Fn(&Method, &Uri, &HeaderMap) -> Keying + Send + Sync>;
type Keying = Result<Option<Destination>, Panicked>;
