use super::*;
use bytes::Bytes;

#[tokio::test(start_paused = true)]
async fn retry_is_identical_to_what_was_sent_first() {
    let mut request = Request::patch("https://api.test/v1/charges?a=1")
        .version(Version::HTTP_2)
        .header("x-one", "1")
        .header("x-one", "2")
        .body(Full::new(Bytes::from_static(b"amount=100")))
        .unwrap();
    request.extensions_mut().insert(4_711_u32);
    let mut saved = Saved::of(&mut request, 0, &TraitCloner);
    for _ in 0..2 {
        let again = saved.again(&TraitCloner).unwrap();
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
        assert_eq!(again.extensions().get::<u32>(), Some(&4_711));
        assert_eq!(
            again.into_body().into_inner(),
            Some(Bytes::from_static(b"amount=100"))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn returned_body_is_sent_again_once() {
    let mut request = Request::new("once");
    let never = FnCloner::<&str> {
        clone: |_| None,
        empty: None,
    };
    let mut saved = Saved::of(&mut request, 0, &never);
    assert!(!saved.is_replayable());
    assert!(saved.again(&never).is_none());
    let unsent = request.extensions().get::<UnsentBody<&str>>().unwrap();
    unsent.put("once");
    assert!(saved.is_replayable());
    assert_eq!(saved.again(&never).unwrap().into_body(), "once");
    assert!(saved.again(&never).is_none());
}

/// A body that does not know whether it is empty.
struct Unknown;

impl CloneBody for Unknown {
    fn clone_body(&self) -> Option<Self> {
        None
    }

    fn has_content(&self) -> bool {
        unreachable!("the test's own panic")
    }
}

#[test]
fn content_is_seen_and_a_panic_counts_as_content() {
    let full = Full::<Bytes>::from("q");
    assert!(TraitCloner.has_content(&full) && TraitCloner.has_content(&"q".to_owned()));
    let empty = Full::<Bytes>::default();
    assert!(!TraitCloner.has_content(&empty) && !TraitCloner.has_content(&String::new()));
    assert!(!TraitCloner.has_content(&Empty::<Bytes>::new()) && !TraitCloner.has_content(&()));
    assert!(TraitCloner.has_content(&Unknown));
}

#[tokio::test(start_paused = true)]
async fn nested_stacks_share_the_slot_for_a_returned_body() {
    let never = FnCloner::<&str> {
        clone: |_| None,
        empty: None,
    };
    let mut request = Request::new("once");
    let mut outer = Saved::of(&mut request, 0, &never);
    let inner = Saved::of(&mut request, 0, &never);
    inner.unsent.as_ref().unwrap().put("once");
    assert_eq!(outer.again(&never).unwrap().into_body(), "once");
    assert!(!inner.is_replayable());
}
