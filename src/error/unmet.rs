//! Before a request is sent: whether its demands were carried out.

use http::Request;

use super::Error;
use crate::call::Call;
use crate::hop::{Diagnosis, Hop, Kind};
use crate::options::{Options, Unmet, Wire};

impl Unmet {
    /// The refusal: nothing was sent.
    pub(crate) fn refuse(self) -> Error {
        Error::new(Diagnosis::unsent(Hop::Encode, Kind::Invalid)).caused_by(self)
    }
}

/// Refuses a request of which a demand is open, where it is about to be sent.
#[cfg(feature = "client")]
pub(crate) fn refuse_unmet<B>(request: &Request<B>) -> Option<Error> {
    if let Some(call) = Call::of(request.extensions()) {
        return call.refuse_unmet(request, call.is_in_attempt());
    }
    let options = request.extensions().get::<Options>()?;
    options.unmet(&Wire::default()).map(Unmet::refuse)
}

impl Call {
    /// The same, for a request of this call; an attempt receives its body, if that was asked for.
    pub(crate) fn refuse_unmet<B>(&self, request: &Request<B>, is_attempt: bool) -> Option<Error> {
        let unmet = if request.extensions().get::<Options>().is_some() {
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
            })
        };
        unmet.map(|unmet| unmet.refuse().of(self))
    }
}
