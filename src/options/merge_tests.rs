//! Checks the merge that the table of the options describes.

use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::{Inherited, Options, Relation};
use crate::consistency::Consistency;
use crate::policy::idempotency::IdempotencyKey;

use Relation::{LedAway, Operation, Rewritten, Same};

/// Returns the options of a call below after it has inherited.
fn merged(inner: Options, outer: &Options, relation: Relation) -> Options {
    let mut inner = inner;
    inner.inherit_from(outer, relation);
    inner
}

const ALL: [Relation; 4] = [Same, Rewritten, LedAway, Operation];
const BELOW: [Relation; 3] = [Same, Rewritten, LedAway];

#[test]
fn switches_that_restrain_hold_in_every_call_below() {
    type Switch = (fn(Options) -> Options, fn(&Options) -> bool);
    let switches: [Switch; 3] = [
        (|options| options.retry(false), |options| options.no_retry),
        (
            |options| options.follow_redirects(false),
            |options| options.no_redirects,
        ),
        (
            |options| options.generate_key(false),
            |options| options.no_key,
        ),
    ];
    for (set, is_set) in switches {
        for relation in ALL {
            for (inner, outer) in [(false, false), (true, false), (false, true), (true, true)] {
                let make = |on: bool| {
                    if on {
                        set(Options::new())
                    } else {
                        Options::new()
                    }
                };
                let merged = merged(make(inner), &make(outer), relation);
                assert_eq!(is_set(&merged), inner || outer, "{relation:?}");
            }
        }
    }
}

#[test]
fn fewer_attempts_hold_and_config_is_never_exceeded() {
    // (own, outer, configured) → the maximum number of attempts
    for (own, outer, configured, most) in [
        (None, None, 3, 3),
        (Some(5), None, 3, 5),
        (None, Some(1), 3, 1),
        (None, Some(2), 3, 2),
        (None, Some(5), 3, 3),
        (Some(5), Some(2), 3, 2),
        (Some(1), Some(4), 3, 1),
    ] {
        let make = |most: Option<u32>| match most {
            Some(most) => Options::new().attempts(most),
            None => Options::new(),
        };
        for relation in ALL {
            let merged = merged(make(own), &make(outer), relation);
            let told = format!("{own:?} {outer:?} {configured} {relation:?}");
            assert_eq!(merged.most_attempts(configured), most, "{told}");
            // A third stack inherits it, too.
            let third = self::merged(Options::new(), &merged, relation);
            assert!(third.most_attempts(9) <= merged.most_attempts(9), "{told}");
        }
    }
}

#[test]
fn statuses_are_those_in_every_list() {
    let [a, b, c] = [500, 502, 503].map(|code| StatusCode::from_u16(code).unwrap());
    let listed = |options: &Options, configured: &[StatusCode]| {
        [a, b, c].map(|status| options.lists(configured, status))
    };
    let (ab, bc) = (
        Options::new().retry_statuses([a, b]),
        Options::new().retry_statuses([b, c]),
    );
    assert_eq!(
        listed(&ab, &[c]),
        [true, true, false],
        "own word, in place of the config"
    );
    for relation in BELOW {
        let both = merged(ab.clone(), &bc, relation);
        assert_eq!(listed(&both, &[a, b, c]), [false, true, false]);
        let config = merged(Options::new(), &bc, relation);
        assert_eq!(listed(&config, &[a, b]), [false, true, false]);
        let third = merged(Options::new(), &merged(bc.clone(), &ab, relation), relation);
        assert_eq!(listed(&third, &[a, b, c]), [false, true, false]);
        let none = merged(Options::new(), &Options::new().retry_statuses([]), relation);
        assert_eq!(listed(&none, &[a, b, c]), [false; 3]);
    }
    let inside = merged(ab, &bc, Operation);
    assert_eq!(listed(&inside, &[c]), [true, true, false]);
}

#[test]
fn word_on_keys_is_a_no_everywhere_and_a_yes_for_the_same_request() {
    // (inner, outer) → (same request, any other)
    for (inner, outer, same, other) in [
        (None, None, None, None),
        (None, Some(true), Some(true), None),
        (None, Some(false), Some(false), Some(false)),
        (Some(true), Some(false), Some(false), Some(false)),
        (Some(false), Some(true), Some(false), Some(false)),
        (Some(true), None, Some(true), Some(true)),
    ] {
        let make = |word| Options {
            honors_idempotency_keys: word,
            ..Options::new()
        };
        for relation in ALL {
            let expected = if relation == Same { same } else { other };
            let word = merged(make(inner), &make(outer), relation).honors_idempotency_keys;
            assert_eq!(word, expected, "{inner:?} {outer:?} {relation:?}");
        }
    }
}

#[test]
fn refusal_of_stale_responses_holds_everywhere_and_a_window_for_the_same_request() {
    let stale = |secs| Consistency::StaleFor(Duration::from_secs(secs));
    let refuse = Consistency::Refuse;
    // (inner, outer) → (same request, any other)
    for (inner, outer, same, other) in [
        (None, None, None, None),
        (None, Some(refuse), Some(refuse), Some(refuse)),
        (Some(stale(9)), Some(refuse), Some(refuse), Some(refuse)),
        (Some(refuse), Some(stale(9)), Some(refuse), Some(refuse)),
        (None, Some(stale(9)), Some(stale(9)), None),
        (
            Some(stale(9)),
            Some(stale(5)),
            Some(stale(5)),
            Some(stale(9)),
        ),
        (
            Some(stale(5)),
            Some(stale(9)),
            Some(stale(5)),
            Some(stale(5)),
        ),
    ] {
        let make = |consistency| Options {
            consistency,
            ..Options::new()
        };
        for relation in ALL {
            let expected = if relation == Same { same } else { other };
            let merged = merged(make(inner), &make(outer), relation).consistency;
            assert_eq!(merged, expected, "{inner:?} {outer:?} {relation:?}");
        }
    }
}

#[test]
fn streaming_passes_to_the_same_request_only() {
    for relation in ALL {
        let below = merged(Options::new(), &Options::new().streaming(true), relation);
        assert_eq!(below.streaming, relation == Same, "{relation:?}");
        let own = merged(Options::new().streaming(true), &Options::new(), relation);
        assert!(own.streaming, "{relation:?}");
    }
}

#[test]
fn bound_of_a_body_is_the_smaller_one_and_asking_for_it_passes_to_stacks_below() {
    // (inner, outer) → (in a stack below, in an operation)
    for (inner, outer, below, inside) in [
        (None, None, None, None),
        (None, Some(9), Some(9), None),
        (Some(5), None, Some(5), Some(5)),
        (Some(5), Some(9), Some(5), Some(5)),
        (Some(9), Some(5), Some(5), Some(5)),
    ] {
        let make = |most| Options {
            whole_body: most,
            ..Options::new()
        };
        for relation in ALL {
            let expected = if relation == Operation { inside } else { below };
            let bound = merged(make(inner), &make(outer), relation).whole_body;
            assert_eq!(bound, expected, "{inner:?} {outer:?} {relation:?}");
        }
    }
}

#[test]
fn key_passes_with_its_request_and_two_keys_are_told() {
    let key = |name: &str| IdempotencyKey::new(name).unwrap();
    let given = |name: &str| Options::new().idempotency_key(key(name));
    for relation in ALL {
        let passes = matches!(relation, Same | Rewritten);
        let below = merged(Options::new(), &given("a"), relation);
        assert_eq!(below.key, passes.then(|| key("a")), "{relation:?}");
        let twice = merged(given("a"), &given("a"), relation);
        assert!(!twice.inherited.keys_differ);
        let differ = merged(given("b"), &given("a"), relation);
        assert_eq!(differ.inherited.keys_differ, passes, "{relation:?}");
        let third = merged(Options::new(), &differ, relation);
        assert_eq!(third.inherited.keys_differ, passes, "{relation:?}");
        let own = merged(given("b"), &Options::new(), relation);
        assert_eq!(own.key, Some(key("b")), "{relation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn earlier_deadline_holds_and_a_duration_does_not_begin_anew() {
    let now = crate::clock::now();
    let until = |end: Option<Instant>, most| Options {
        inherited: Inherited {
            deadline: end,
            most,
            ..Inherited::default()
        },
        ..Options::new()
    };
    let (soon, later) = (now + Duration::from_secs(1), now + Duration::from_secs(9));
    for relation in ALL {
        for (inner, outer, earlier) in [
            (None, Some(soon), Some(soon)),
            (Some(later), Some(soon), Some(soon)),
            (Some(soon), Some(later), Some(soon)),
            (Some(soon), None, Some(soon)),
        ] {
            let below = merged(until(inner, None), &until(outer, Some(3)), relation);
            assert_eq!(below.inherited.deadline, earlier, "{relation:?}");
            assert_eq!(below.inherited.most, Some(3), "{relation:?}");
        }
        let outer = Options::new().deadline(Duration::from_secs(1));
        assert_eq!(merged(Options::new(), &outer, relation).deadline, None);
    }
}

#[tokio::test(start_paused = true)]
async fn restraints_of_two_incoming_requests_add_up_in_any_order() {
    let headers = |millis: &str, attempt: &str| {
        let lines = [
            ("sevenhops-timeout-ms", millis),
            ("sevenhops-attempt", attempt),
        ];
        let line = |(name, value): (&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        lines.into_iter().map(line).collect::<http::HeaderMap>()
    };
    let (strict, mild) = (headers("100", "1;max=3"), headers("900", "1;max=1"));
    let soon = crate::clock::now() + Duration::from_millis(100);
    for [first, second] in [[&strict, &mild], [&mild, &strict]] {
        let options = Options::new().inherit(first).inherit(second);
        assert_eq!(options.inherited.deadline, Some(soon));
        assert_eq!(options.inherited.most, Some(3));
    }
    let nothing = http::HeaderMap::new();
    let options = Options::new().inherit(&strict).inherit(&nothing);
    assert_eq!(options.inherited.deadline, Some(soon));
}

#[test]
fn affinity_passes_to_every_stack_below_that_has_none() {
    let (outer, own) = (Options::new().affinity("a"), Options::new().affinity("b"));
    for relation in ALL {
        let below = merged(Options::new(), &outer, relation);
        let expected = outer.affinity.filter(|_| relation != Operation);
        assert_eq!(below.affinity, expected, "{relation:?}");
        let below = merged(own.clone(), &outer, relation);
        assert_eq!(below.affinity, own.affinity, "{relation:?}");
    }
}

#[test]
fn route_passes_on_to_the_same_request_that_has_none() {
    let outer = Options::new().route("/{id}");
    for relation in ALL {
        let below = merged(Options::new(), &outer, relation);
        let expected = (relation == Same).then_some("/{id}");
        assert_eq!(below.route.as_deref(), expected);
        let below = merged(Options::new().route("/own"), &outer, relation);
        assert_eq!(below.route.as_deref(), Some("/own"));
    }
}

#[test]
fn priority_passes_on_to_the_same_request_that_has_none() {
    use super::Priority::{Critical, Low};
    let outer = Options::new().priority(Critical);
    for relation in ALL {
        let below = merged(Options::new(), &outer, relation).priority;
        assert_eq!(
            below,
            (relation == Same).then_some(Critical),
            "{relation:?}"
        );
        let own = merged(Options::new().priority(Low), &outer, relation).priority;
        assert_eq!(own, Some(Low), "{relation:?}");
    }
}
