use super::*;

#[test]
fn error_fits_into_one_word() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
}

#[test]
fn sentence_names_hop_kind_limit_and_effect() {
    let mut diagnosis = Diagnosis::new(Hop::Tls, Kind::Timeout, Effect::None);
    diagnosis.timeout_kind = Some(TimeoutKind::Tls);
    assert_eq!(
        Error::new(diagnosis).to_string(),
        "call failed at tls (hop 3 of 7): timeout, tls timeout; no effect"
    );
}
