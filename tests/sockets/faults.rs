//! Tests every fault of the table, on real loopback sockets, on every connection type to which it applies. Checks the
//! hop, the kind, the effect, and the number of requests that the server counted.

#[cfg(test)]
#[path = "../../examples/seven_hops/cases.rs"]
mod cases;
#[cfg(test)]
#[path = "../../examples/seven_hops/policies.rs"]
mod guards;
#[cfg(test)]
#[path = "../../examples/seven_hops/run.rs"]
mod run;
#[cfg(test)]
#[path = "../../examples/seven_hops/tape.rs"]
mod tape;
#[cfg(test)]
#[path = "../../examples/seven_hops/world.rs"]
mod world;

use std::error::Error as StdError;

use self::run::{Report, plain_reqwest, run};
use self::world::{CANARY, World};

/// Runs all cases of a fault, and expects each to pass.
async fn check(fault: &str) {
    let world = World::new().await.unwrap();
    let mut checked = 0;
    for case in cases::all().into_iter().filter(|case| case.fault == fault) {
        let report = run(&case, &world).await.unwrap();
        let told = tell(&report);
        let connection = case.connection.as_str();
        assert!(
            report.right,
            "{fault}, {}, {connection}:\n{told}",
            case.story
        );
        assert!(!told.contains(CANARY), "{fault} tells a secret:\n{told}");
        checked += 1;
    }
    for case in guards::all().into_iter().filter(|case| case.fault == fault) {
        let guarded = case.run(&world).await.unwrap();
        let told = tell(&guarded.report);
        let (story, wrong) = (case.story, &guarded.wrong);
        assert!(guarded.report.right, "{fault}, {story}: {wrong:?}\n{told}");
        assert!(!told.contains(CANARY), "{fault} tells a secret:\n{told}");
        checked += 1;
    }
    assert!(checked > 0, "{fault} is not in the table");
}

/// Returns the text of a failure in all its forms.
fn tell(report: &Report) -> String {
    let mut told = format!(
        "expected, got {:?}, {:?}\n",
        report.named(),
        report.requests
    );
    if let Some(error) = &report.error {
        told.push_str(&format!("{error}\n{error:?}\n{error:#?}\n"));
        let mut cause = error.source();
        while let Some(error) = cause {
            told.push_str(&format!("{error}\n"));
            cause = error.source();
        }
    }
    if let Some(timeline) = &report.timeline {
        told.push_str(&format!("{timeline}\n{timeline:?}\n"));
        assert!(
            timeline
                .to_string()
                .lines()
                .all(|line| line.chars().count() <= 80)
        );
    }
    told
}

macro_rules! faults {
    ($($test:ident: $fault:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            check($fault).await;
        }
    )*

    #[test]
    fn every_fault_of_the_table_has_its_test() {
        let tested = [$($fault),*];
        let cases = cases::all().into_iter().map(|case| case.fault);
        let policies = guards::all().into_iter().map(|case| case.fault);
        for fault in cases.chain(policies) {
            assert!(tested.contains(&fault), "{fault}");
        }
    }};
}

faults! {
    f1_nxdomain_is_dns_not_found: "F1",
    f2_servfail_is_dns_server_failure: "F2",
    f3_silent_dns_is_a_timeout_at_the_dns_limit: "F3",
    f4_no_address_is_dns_no_records: "F4",
    f5_closed_port_is_connect_refused: "F5",
    f6_swallowed_syn_is_a_timeout_at_the_connect_limit: "F6",
    f7_silence_instead_of_tls_is_a_timeout_at_the_tls_limit: "F7",
    f8_plain_http_on_the_tls_port_is_a_protocol_error: "F8",
    f9_unknown_issuer_is_named: "F9",
    f10a_wrong_name_is_named: "F10a",
    f10b_expired_certificate_is_named: "F10b",
    f11_fatal_alert_is_named: "F11",
    f12_server_that_stops_reading_is_a_timeout_at_the_send_limit: "F12",
    f13_reset_while_the_body_goes_out_is_send: "F13",
    f13b_reset_after_the_body_is_server_closed: "F13b",
    f14_silence_after_the_request_is_a_timeout_of_the_server: "F14",
    f15_close_without_a_byte_is_server_closed: "F15",
    f15b_fresh_connection_that_closes_had_no_effect: "F15b",
    f16b_request_behind_the_stream_limit_had_no_effect: "F16b",
    f17_garbage_is_a_protocol_error_of_the_server: "F17",
    f18_stalling_body_is_a_timeout_at_the_body_idle_limit: "F18",
    f19_short_body_is_incomplete: "F19",
    f20_refused_stream_had_no_effect: "F20",
    f21_goaway_below_our_stream_had_no_effect: "F21",
    f22_goaway_at_our_stream_leaves_the_effect_open: "F22",
    f23_reset_stream_leaves_the_effect_open: "F23",
    f24a_gateway_statuses_are_the_gateways: "F24a",
    f24b_server_statuses_are_the_servers: "F24b",
    f24c_throttling_had_no_effect: "F24c",
    f24d_unauthorized_had_no_effect: "F24d",
    f24e_early_413_is_an_answer: "F24e",
    f25_open_breaker_refuses_and_keeps_its_cause: "F25",
    f27_empty_budget_leaves_the_last_real_failure: "F27",
    f28_hint_beyond_the_deadline_ends_the_call_at_once: "F28",
    f29_deadline_in_the_second_handshake_is_tls: "F29",
    f30_dropped_call_is_nobodys_failure: "F30",
    f31_proxy_that_refuses_is_connect: "F31",
    f32_honored_key_says_what_a_conflict_is: "F32",
    f33_unexpected_body_is_decode: "F33",
    f34_unwritable_request_is_encode: "F34",
}

#[tokio::test]
async fn plain_reqwest_says_timeout_and_nothing_of_tls() {
    let world = World::new().await.unwrap();
    let case = cases::all().into_iter().find(|case| case.fault == "F7");
    let said = plain_reqwest(&case.unwrap(), &world).await.unwrap();
    assert!(
        said.contains("is_timeout") && !said.contains("tls"),
        "{said}"
    );
}
