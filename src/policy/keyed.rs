//! The user's own key of circuits and budgets.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::callback::Panicked;
use crate::destination::Destination;

/// The user's function from a request to the destination whose circuit and budget it uses, behind `catch_unwind`.
pub(crate) type Key = Arc<dyn Fn(&Method, &Uri, &HeaderMap) -> Keying + Send + Sync>;
type Keying = Result<Option<Destination>, Panicked>;
