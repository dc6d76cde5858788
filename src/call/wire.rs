//! The last check before a request is sent: whether its demands were met.

use http::Request;

use super::Call;
use crate::options::{Options, Unmet, Wire};

/// Returns the first demand of a request that no layer has met, when it is about to be sent.
#[cfg(feature = "client")]
pub(crate) fn unmet<B>(request: &Request<B>) -> Option<Unmet> {
    if let Some(call) = Call::of(request.extensions()) {
        return call.unmet(request, call.is_in_attempt());
    }
    let options = request.extensions().get::<Options>()?;
    options.unmet(&Wire::default())
}

impl Call {
    /// Does the same for a request of this call. An attempt receives the whole body, if that is demanded.
    pub(crate) fn unmet<B>(&self, request: &Request<B>, is_attempt: bool) -> Option<Unmet> {
        if request.extensions().get::<Options>().is_some() {
            Some(Unmet::Late)
        } else {
            let carries = |name| {
                let mut values = request.headers().get_all(name).iter();
                values.next().is_some_and(|value| !value.is_empty()) && values.next().is_none()
            };
            self.options().unmet(&Wire {
                key: self.key().map(|mark| carries(&mark.name)),
                is_led_away: self.is_led_away(),
                is_call: true,
                is_attempt,
                keeps_responses: self.keeps_responses(),
            })
        }
    }
}
