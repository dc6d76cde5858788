//! The user's function that groups requests into circuits and budgets.

use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::callback::Panicked;
use crate::destination::Destination;

/// The user's function, behind `catch_unwind`. It maps a request to the destination whose circuit and budget it uses.
pub(crate) type DestinationKey = Arc<dyn Fn(&Method, &Uri, &HeaderMap) -> Keying + Send + Sync>;
type Keying = Result<Option<Destination>, Panicked>;
