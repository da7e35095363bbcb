//! Sessions are opened and renewed here, so that agents need no way to the decision point.

use http::{HeaderValue, Method};
use lictor_pep_core::session::SESSIONS_PATH;

use crate::decide::{Fake, allow, deny};
use crate::provider::json;
use crate::rig::{Answer, Rig, answered, outcomes};

/// Opens sessions, and renews the one whose handle is `first`.
async fn rig() -> Rig {
    let opens = |call: &lictor_proto::call::Call| {
        let named = call.session.as_ref().map(|session| session.handle.as_str());
        let handle = match named {
            None => "first",
            Some("first") => "second",
            Some(_) => return Ok(deny(call, "session_unknown", "open a new one")),
        };
        let mut answer = allow(call);
        answer.hints.session_handle = Some(handle.to_owned());
        Ok(answer)
    };
    Rig::start(Fake::new(opens), json(&answered("hi"))).await
}

async fn open(rig: &Rig, handles: &[&str]) -> Answer {
    let mut request = rig.request(Method::POST, SESSIONS_PATH, "");
    for handle in handles {
        let value = HeaderValue::from_bytes(handle.as_bytes()).unwrap();
        request.headers_mut().append("lictor-session", value);
    }
    rig.send(request).await
}

#[tokio::test]
async fn a_session_is_opened_and_renewed_by_its_handle() {
    let rig = rig().await;
    for (handles, expected) in [([].as_slice(), "first"), (&["first"], "second")] {
        let opened = open(&rig, handles).await;
        assert_eq!(opened.headers["lictor-session"], expected);
        assert_eq!(opened.json()["session"], expected);
        let asked = rig.decide.calls().pop().unwrap();
        let named = asked.session.map(|session| session.handle);
        assert_eq!(asked.action.name, "session/open");
        assert_eq!(named.as_deref(), handles.first().copied());
    }
    let records = rig.stop().await;
    assert_eq!(outcomes(&records), ["allowed", "forwarded", "allowed", "forwarded"]);
}

#[tokio::test]
async fn what_is_no_good_handle_opens_nothing() {
    let rig = rig().await;
    for wrong in [["over"].as_slice(), &["\u{e9}"], &["first", "first"], &["first", "other"]] {
        let refused = open(&rig, wrong).await;
        let told = (refused.status.as_u16(), refused.code());
        assert_eq!(told, (403, "session_unknown".to_owned()), "{wrong:?}");
        assert!(!refused.headers.contains_key("lictor-session"), "{wrong:?}");
        assert!(rig.decide.calls().pop().unwrap().session.is_some(), "{wrong:?}");
    }
}
