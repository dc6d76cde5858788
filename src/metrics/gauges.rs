//! Gauges: circuits, budgets, limits and connections, read when the metrics are collected.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::{name, server};
use crate::destination::Destination;
use crate::telemetry::names::{self, MetricName};

/// Reads a part of a stack, as long as it exists.
pub(crate) struct Look<T> {
    /// The address of the part. Clones of a stack share the part, and it is read only once. The weak reference in `read`
    /// keeps another part from getting the address.
    part: usize,
    read: Box<Read<T>>,
}

/// Returns the value of each destination, or `None` if the part is gone.
type Read<T> = dyn Fn() -> Option<Values<T>> + Send + Sync;
type Values<T> = Vec<(Destination, T)>;

impl<T> Look<T> {
    pub(crate) fn at<P: Send + Sync + 'static>(
        part: &Arc<P>,
        read: impl Fn(Arc<P>) -> Values<T> + Send + Sync + 'static,
    ) -> Self {
        let known = Arc::downgrade(part);
        Self {
            part: Arc::as_ptr(part).addr(),
            read: Box::new(move || known.upgrade().map(&read)),
        }
    }
}

/// The parts of stacks that are observed.
pub(crate) struct Looks<T>(Mutex<Vec<Look<T>>>);

/// The values that are read when the metrics are collected.
#[derive(Debug, Default)]
pub(crate) struct Gauges {
    /// By the names in [`STATES`].
    pub(crate) circuits: Looks<&'static str>,
    pub(crate) budgets: Looks<i64>,
    /// In the order of [`CONNECTION_STATES`].
    pub(crate) connections: Looks<[u64; 2]>,
    /// In the order of [`names::CONCURRENCY`].
    pub(crate) limits: Looks<[u64; 3]>,
    /// In the order of [`names::THROTTLE`].
    pub(crate) throttles: Looks<[u64; 2]>,
}

impl Gauges {
    pub(super) fn observe(self: &Arc<Self>, meter: &Meter) {
        // One-hot: every state of each circuit is reported, and exactly one of them is 1.
        let worse = |one, other| {
            if rank(one) < rank(other) { other } else { one }
        };
        gauge(
            meter,
            &names::BREAKER_STATE,
            self,
            move |gauges, observe| {
                for (destination, now) in gauges.circuits.look(worse) {
                    for state in STATES {
                        let about = [name(&destination), KeyValue::new(STATE, state)];
                        observe(i64::from(state == now), &about);
                    }
                }
            },
        );
        gauge(meter, &names::BUDGET_LEFT, self, |gauges, observe| {
            for (destination, left) in gauges.budgets.look(i64::min) {
                observe(left, &[name(&destination)]);
            }
        });
        gauge(meter, &names::OPEN_CONNECTIONS, self, |gauges, observe| {
            for (destination, open) in gauges.connections.look(sum) {
                let uri = destination.as_str().parse().unwrap_or_default();
                for (state, open) in CONNECTION_STATES.into_iter().zip(open) {
                    let mut about = server(&uri);
                    about.push(KeyValue::new("http.connection.state", state));
                    observe(i64::try_from(open).unwrap_or(i64::MAX), &about);
                }
            }
        });
        self.observe_load(meter);
    }

    fn observe_load(self: &Arc<Self>, meter: &Meter) {
        for (at, metric) in names::CONCURRENCY.iter().enumerate() {
            gauge(meter, metric, self, move |gauges, observe| {
                show(gauges.limits.look(sum), at, observe);
            });
        }
        for (at, metric) in names::THROTTLE.iter().enumerate() {
            gauge(meter, metric, self, move |gauges, observe| {
                show(gauges.throttles.look(sum), at, observe);
            });
        }
    }
}

impl<T: Copy> Looks<T> {
    /// Watches a part, unless it is watched already.
    pub(crate) fn watch(&self, look: Look<T>) {
        let mut looks = self.looks();
        if looks.iter().any(|watched| watched.part == look.part) {
            return;
        }
        if looks.len().is_power_of_two() {
            // If no reader collects metrics, removed parts are forgotten here.
            looks.retain(|look| (look.read)().is_some());
        }
        looks.push(look);
    }

    /// Returns the merged values of all parts, and forgets removed parts.
    fn look(&self, merge: impl Fn(T, T) -> T) -> HashMap<Destination, T> {
        let mut all = HashMap::new();
        self.looks().retain(|look| {
            let Some(shown) = (look.read)() else {
                return false;
            };
            for (destination, value) in shown {
                let merged = all
                    .get(&destination)
                    .map_or(value, |other| merge(*other, value));
                all.insert(destination, merged);
            }
            true
        });
        all
    }

    fn looks(&self) -> MutexGuard<'_, Vec<Look<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> fmt::Debug for Looks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looks").finish_non_exhaustive()
    }
}

type Observe<'o> = dyn Fn(i64, &[KeyValue]) + 'o;

fn gauge(
    meter: &Meter,
    metric: &MetricName,
    gauges: &Arc<Gauges>,
    look: impl Fn(&Gauges, &Observe<'_>) + Send + Sync + 'static,
) {
    let gauges = Arc::downgrade(gauges);
    let watch = move |to: &dyn AsyncInstrument<i64>| {
        if let Some(gauges) = gauges.upgrade() {
            look(&gauges, &|value, about| to.observe(value, about));
        }
    };
    if metric.instrument == names::UP_DOWN_COUNTER {
        meter
            .i64_observable_up_down_counter(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.description)
            .with_callback(watch)
            .build();
    } else {
        meter
            .i64_observable_gauge(metric.name)
            .with_unit(metric.unit)
            .with_description(metric.description)
            .with_callback(watch)
            .build();
    }
}

/// Reports one of the counts of each destination.
fn show<const N: usize>(all: HashMap<Destination, [u64; N]>, at: usize, observe: &Observe<'_>) {
    for (destination, counts) in all {
        let count = i64::try_from(counts[at]).unwrap_or(i64::MAX);
        observe(count, &[name(&destination)]);
    }
}

fn sum<const N: usize>(one: [u64; N], other: [u64; N]) -> [u64; N] {
    std::array::from_fn(|at| one[at].saturating_add(other[at]))
}

fn rank(state: &str) -> Option<usize> {
    STATES.iter().position(|known| *known == state)
}

/// The states of a breaker, from best to worst.
const STATES: [&str; 4] = ["closed", "half_open", "open", "isolated"];
const STATE: &str = "sevenhops.breaker.state";
/// The states of an open connection, by OpenTelemetry's names.
const CONNECTION_STATES: [&str; 2] = ["active", "idle"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::breaker::CircuitState;

    #[test]
    fn states_of_a_breaker_are_ranked_from_the_best_to_the_worst() {
        let ranked = [
            CircuitState::Closed,
            CircuitState::HalfOpen,
            CircuitState::Open,
            CircuitState::Isolated,
        ];
        assert_eq!(ranked.map(CircuitState::as_str), STATES);
    }
}
