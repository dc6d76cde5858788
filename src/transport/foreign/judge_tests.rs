use super::*;
use crate::hop::Effect;

#[test]
fn destination_is_read_from_the_forms_of_hyper_util_and_reqwest() {
    let text = "https://api.test:8443/v1?key=secret";
    let uri = Seen::of_uri(&Uri::from_static(text));
    let url = Seen::of_url(&text.parse().unwrap());
    for seen in [uri, url] {
        let seen = seen.unwrap();
        assert_eq!((&*seen.dial.shown(), seen.port), ("api.test", Some(8443)));
        assert!(seen.is_canonical && seen.is_judged);
    }
    assert!(Seen::of_uri(&Uri::from_static("/v1")).is_none());
    assert!(Seen::of_url(&"data:text".parse().unwrap()).is_none());
}

#[test]
fn filter_judges_the_address_that_a_host_of_any_spelling_means() {
    let filter = AddressFilter::public_only();
    for (uri, refused) in [
        ("http://api.test/", false),
        ("http://API.test:8080/", false),
        ("http://api.test./", false),
        ("https://5.6.7.8/", false),
        ("https://[2a00::5]/", false),
        ("http://127.0.0.1/", true),
        ("http://[::1]/", true),
        ("http://[::ffff:127.0.0.1]/", true),
        ("http://127.1/", true),
        ("http://0x7f.1/", true),
        ("http://0177.0.0.1/", true),
        ("http://2130706433/", true),
        // A public address, but it is not known how the connector reads it.
        ("http://84281096/", true),
        ("http://0x05060708/", true),
        ("http://5.6.7.8./", true),
        ("foo://127.0.0.1/", true),
        ("foo://5.6.7.8:80/", true),
        ("unix://2f746d702f61/", true),
        ("ws://api.test/", true),
    ] {
        let target: Uri = uri.parse().unwrap();
        let judged = judge(&filter, Seen::of_uri(&target).as_ref());
        assert_eq!(judged.is_err(), refused, "{uri}: {judged:?}");
        if let Err(error) = judged {
            let told = (error.hop(), error.kind(), error.effect());
            assert_eq!(told, (Some(Hop::Dns), Kind::Filtered, Effect::None));
        }
    }
    assert!(judge(&filter, None).is_err());
}
