//! Decides which key a request gets, and whether the key permits a retry: pure.

use http::Method;

use super::IdempotencyKey;

/// The facts about a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRequest<'a> {
    pub(super) method: &'a Method,
    /// Whether the request has the header already, and whether its value can be a key: a single value that is not
    /// empty.
    pub(super) brought: bool,
    pub(super) sound: bool,
    /// The key that the caller gave for this request.
    pub(super) key: Option<&'a IdempotencyKey>,
    /// Whether keys are generated.
    pub(super) make: bool,
    /// Whether the server honors keys, as declared for this request, otherwise for the destination or the client.
    pub(super) honors: Option<bool>,
}

/// The source of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyDecision<'a> {
    /// There is no key.
    None,
    /// The request has it already.
    Brought,
    /// The caller gave it.
    Given(&'a IdempotencyKey),
    /// The policy generates it.
    Made,
}

/// | the request | gets |
/// |---|---|
/// | has a key given for it | that key |
/// | has the header | the value of the header |
/// | is a POST or a PATCH | a fresh key, if keys are generated |
/// | is anything else | no key: it is idempotent by its method |
pub(super) fn wanted<'a>(asked: &KeyRequest<'a>) -> KeyDecision<'a> {
    match asked.key {
        Some(key) => KeyDecision::Given(key),
        None if asked.brought => KeyDecision::Brought,
        None if asked.make && needs_key(asked.method) => KeyDecision::Made,
        None => KeyDecision::None,
    }
}

/// Returns whether the key permits a retry of a request that may have taken effect. A key that the policy generated
/// permits it only if the server is declared to honor keys.
pub(super) fn vouched(asked: &KeyRequest<'_>, wanted: KeyDecision<'_>) -> bool {
    match wanted {
        KeyDecision::None => false,
        KeyDecision::Brought => asked.sound && asked.honors.unwrap_or(true),
        KeyDecision::Given(key) => asked.honors.unwrap_or(!key.is_made_up),
        KeyDecision::Made => asked.honors.unwrap_or(false),
    }
}

/// The decision for a request whose call has a key already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarlierKey {
    /// Whether the key of the call is put on the request.
    pub(super) is_put: bool,
    /// Whether the key permits a retry.
    pub(super) is_vouched: bool,
}

/// The mark of a key proves nothing: the request has to carry the key. If a layer between two stacks changed the
/// header, it is left as it is. `replaces` says that this stack set the header itself.
pub(super) fn kept(asked: &KeyRequest<'_>, replaces: bool, was_vouched: bool) -> EarlierKey {
    let is_put = replaces || !asked.brought;
    EarlierKey {
        is_put,
        is_vouched: (is_put || asked.sound) && asked.honors.unwrap_or(was_vouched),
    }
}

/// Returns whether the method is POST or PATCH: the two common methods that are not idempotent (RFC 9110, RFC 5789).
pub(super) fn needs_key(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PATCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method) -> KeyRequest<'_> {
        KeyRequest {
            method,
            brought: false,
            sound: true,
            key: None,
            make: true,
            honors: None,
        }
    }

    #[test]
    fn idempotent_methods_get_no_key() {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
            assert_eq!(wanted(&asked(&method)), KeyDecision::None, "{method}");
        }
        for method in [Method::POST, Method::PATCH] {
            assert_eq!(wanted(&asked(&method)), KeyDecision::Made, "{method}");
        }
    }

    #[test]
    fn key_that_the_caller_brought_is_kept() {
        let mut asked = asked(&Method::POST);
        asked.brought = true;
        assert_eq!(wanted(&asked), KeyDecision::Brought);
        let key = IdempotencyKey::new("mine").unwrap();
        asked.key = Some(&key);
        assert_eq!(wanted(&asked), KeyDecision::Given(&key));
    }

    #[test]
    fn key_is_a_licence_only_if_somebody_vouches_for_it() {
        let key = IdempotencyKey::new("mine").unwrap();
        let all = [
            KeyDecision::Brought,
            KeyDecision::Given(&key),
            KeyDecision::Made,
            KeyDecision::None,
        ];
        for (honors, licences) in [
            (None, [true, true, false, false]),
            (Some(true), [true, true, true, false]),
            (Some(false), [false; 4]),
        ] {
            let mut asked = asked(&Method::POST);
            asked.honors = honors;
            assert_eq!(
                all.map(|wanted| vouched(&asked, wanted)),
                licences,
                "{honors:?}"
            );
        }
    }

    #[test]
    fn key_of_the_call_is_put_wherever_the_request_lacks_it() {
        for (brought, replaces, is_put) in [
            (false, false, true),
            (false, true, true),
            (true, false, false),
            (true, true, true),
        ] {
            let mut asked = asked(&Method::POST);
            asked.brought = brought;
            assert_eq!(
                kept(&asked, replaces, true).is_put,
                is_put,
                "{brought} {replaces}"
            );
        }
    }

    #[test]
    fn key_of_the_call_keeps_its_word_until_there_is_another() {
        for (honors, sound, was, is) in [
            (None, true, true, true),
            (None, true, false, false),
            (Some(false), true, true, false),
            (Some(true), true, false, true),
            (Some(true), false, true, false),
        ] {
            let mut asked = asked(&Method::POST);
            (asked.brought, asked.sound, asked.honors) = (true, sound, honors);
            assert_eq!(kept(&asked, false, was).is_vouched, is, "{asked:?}");
        }
    }

    #[test]
    fn no_key_is_made_where_that_is_switched_off() {
        let mut asked = asked(&Method::POST);
        asked.make = false;
        assert_eq!(wanted(&asked), KeyDecision::None);
    }
}
