//! Everything that the identity crate's table says must not be believed, through the doors of both
//! enforcement points.

use http::HeaderValue;
use lictor_identity::Authenticator;
use lictor_tests::client::Answer;

use crate::doors::{Doors, Time, Which};
use crate::table::{Case, Sent, Site, all, forge, honest_requests};

/// When all this happens, unix seconds.
const NOW_S: i64 = 1_800_000_000;
const AUD: &str = "https://lictor.example/mcp";
/// Fewest attacks that are carried through each door.
const CASES_MIN: usize = 150;

async fn open() -> Doors {
    let folder = tempfile::tempdir().unwrap();
    let config = forge::config(AUD, folder.path());
    let authenticator = || Authenticator::new(config.load().unwrap()).unwrap();
    Doors::open(authenticator(), authenticator(), &Time::at(NOW_S * 1000)).await
}

fn site(doors: &Doors, which: Which) -> Site {
    let (aud, url, method) = (AUD.to_owned(), doors.url(which), "POST".to_owned());
    Site { now_s: NOW_S, aud, url, method }
}

fn headers(sent: &Sent) -> Vec<(&'static str, &str)> {
    let places =
        [("authorization", &sent.authorization), ("dpop", &sent.dpop), ("txn-token", &sent.txn)];
    let of = |(name, values)| {
        let values: &Vec<String> = values;
        values.iter().map(move |value| (name, value.as_str()))
    };
    places.into_iter().flat_map(of).collect()
}

/// Whether it can be sent: nobody has a certificate here, and a header's value is in ASCII.
fn is_sendable(case: &Case) -> bool {
    let fits = |value: &str| HeaderValue::from_str(value).is_ok_and(|v| v.to_str().is_ok());
    !case.sent.stranger && headers(&case.sent).into_iter().all(|(_, value)| fits(value))
}

/// Refused for the case's reason, told how to do better, and nothing of the credential is repeated.
fn refused(answer: &Answer, case: &Case, which: Which) {
    let what = format!("{}, {which:?}: {answer:?}", case.name);
    assert_eq!((answer.status, answer.reasons()), (401, vec![case.id.to_owned()]), "{what}");
    assert!(answer.headers.contains_key("www-authenticate"), "{what}");
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    for (_, value) in headers(&case.sent) {
        let secret = value.rsplit('.').next().filter(|part| part.len() >= 16);
        assert!(secret.is_none_or(|part| !said.contains(part)), "it is repeated: {what}");
    }
}

#[tokio::test]
async fn every_attack_is_refused_at_both_doors_and_who_is_honest_is_served_after() {
    let doors = open().await;
    let mut passed = 0;
    for which in [Which::Tools, Which::Models] {
        let site = site(&doors, which);
        let cases: Vec<Case> = all(&site).into_iter().filter(is_sendable).collect();
        assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
        for case in &cases {
            if case.again {
                let answer = doors.send(which, &headers(&case.sent)).await;
                assert_ne!(answer.status, 401, "the first time, {}: {answer:?}", case.name);
            }
            let before = doors.arrived(which);
            let answer = doors.send(which, &headers(&case.sent)).await;
            refused(&answer, case, which);
            assert_eq!(doors.arrived(which), before, "{} got through", case.name);
        }
        for (name, sent) in honest_requests(&site) {
            let answer = doors.send(which, &headers(&sent)).await;
            assert_ne!(answer.status, 401, "{name}, {which:?}: {answer:?}");
            passed += usize::from(answer.status == 200 && answer.refusal().is_none());
        }
        let last = cases.last().unwrap();
        let answer = doors.send(which, &headers(&last.sent)).await;
        doors.logged(&answer, last.id);
    }
    assert!(passed >= 4, "{passed} honest requests were served");
    doors.close().await;
}
