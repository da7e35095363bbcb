//! An enforcement point asks only for what it is registered for, however it asks, and what it was
//! refused is on record.

use lictor_proto::pb;
use prost::Message as _;
use serde_json::{Value, json};

use crate::caller::{Caller, Came};
use crate::point::{OPERATOR, Point};

const REFUSED: &str = "pep_not_registered_for";

fn call(id: &str, tenant: &str, tool: &str) -> Value {
    json!({
        "call_id": id, "tenant": tenant, "action": { "name": "tools/call" },
        "subject": { "type": "user", "id": "alice" }, "agent": { "type": "agent", "id": "bot" },
        "resource": { "type": "tool", "id": tool },
    })
}

/// An id that sorts by time, as every call has.
fn id() -> String {
    lictor_pdp::clock::new_id(1)
}

async fn decided(caller: &mut Caller, call: &Value) -> Value {
    let answer = caller.rest("POST", "/v1/decide", &call.to_string()).await;
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn what_a_peer_is_not_registered_for_is_denied_and_recorded() {
    let point = Point::with_everybody().await;
    let bearer = format!("Bearer {}", point.token("pep-1.token"));
    let mut named = Caller::tls(&point, None, Some(&bearer)).await;
    let (own, tool, tenant) = (id(), id(), id());
    let allowed = decided(&mut named, &call(&own, "default", "bank/read")).await;
    assert_eq!(allowed["effect"], "allow", "{allowed}");
    for (id, tenant, name) in [(&tool, "default", "bank/pay"), (&tenant, "elsewhere", "bank/read")]
    {
        let denied = decided(&mut named, &call(id, tenant, name)).await;
        assert_eq!(
            (&denied["effect"], &denied["reasons"][0]["id"]),
            (&"deny".into(), &REFUSED.into())
        );
    }
    let bearer = format!("Bearer {}", point.token("state/pep.token"));
    let mut any = Caller::tls(&point, None, Some(&bearer)).await;
    let other = decided(&mut any, &call(&id(), "default", "bank/pay")).await;
    assert_eq!(other["effect"], "allow", "{other}");
    let records = point.recorded(&[&own, &tool, &tenant]).await;
    let said = |n: usize| {
        let record = records[n].first().unwrap_or_else(|| panic!("{n} is not on record"));
        (record.str_at("/effect").unwrap(), record.str_at("/reasons/0/id"))
    };
    assert_eq!(said(0).0, "allow");
    assert_eq!((said(1), said(2)), (("deny", Some(REFUSED)), ("deny", Some(REFUSED))));
}

/// Until `token` lets its bearer in.
async fn counts(point: &Point, token: &str) {
    let bearer = format!("Bearer {token}");
    let mut caller = Caller::tls(point, None, Some(&bearer)).await;
    while caller.rest("GET", "/v1/status", "").await.came() != Came::In {}
}

#[tokio::test]
async fn a_stream_does_not_outlive_the_token_that_it_was_opened_with() {
    let point = Point::with_everybody().await;
    let bearer = format!("Bearer {}", point.token("pep-1.token"));
    let path = "/lictor.v1.DecisionService/DecideStream";
    let asked = pb::DecideRequest::default().encode_to_vec();
    let mut caller = Caller::tls(&point, None, Some(&bearer)).await;
    let mut stream = caller.stream(path).await;
    let answer = stream.ask(&asked).await;
    assert!(answer.is_some_and(|answer| answer.ends_with(b"the request holds no call")));
    // The one before the last counts for a while, so it is replaced twice.
    for token in ["b", "c"] {
        let token = token.repeat(40);
        std::fs::write(point.path("pep-1.token"), &token).unwrap();
        counts(&point, &token).await;
    }
    assert_eq!(caller.grpc(path, &asked).await.came(), Came::Out);
    assert_eq!(stream.ask(&asked).await, None, "the stream is over");
    point.stop().await;
}

#[tokio::test]
async fn the_catalog_of_another_tenant_is_not_shown() {
    let point = Point::with_everybody().await;
    let bearer = format!("Bearer {}", point.token("pep-1.token"));
    let mut named = Caller::tls(&point, None, Some(&bearer)).await;
    let path = "/lictor.v1.CatalogService/GetCatalog";
    let ask = |tenant: &str| pb::GetCatalogRequest { tenant: tenant.to_owned() }.encode_to_vec();
    let own = named.grpc(path, &ask("")).await;
    assert!(own.text().contains("bank/read"), "{own:?}");
    let other = named.grpc(path, &ask("elsewhere")).await;
    assert_eq!(other.reason(), Some(REFUSED), "{other:?}");
    point.stop().await;
}

#[tokio::test]
async fn whoever_is_revoked_does_not_look_at_approvals_either() {
    let point = Point::with_everybody().await;
    let bearer = format!("Bearer {}", point.approver);
    let mut bob = Caller::tls(&point, None, Some(&bearer)).await;
    assert_eq!(bob.rest("GET", "/v1/approvals", "").await.came(), Came::In);
    let mut operator = Caller::tls(&point, Some(OPERATOR), None).await;
    let kill = pb::KillRequest {
        kind: "user".to_owned(),
        id: "bob".to_owned(),
        reason: "left".to_owned(),
        ..pb::KillRequest::default()
    };
    let path = "/lictor.v1.RevocationService/Kill";
    let killed = operator.grpc(path, &kill.encode_to_vec()).await;
    assert_eq!(killed.grpc_status().unwrap_or("0"), "0", "{killed:?}");
    assert_eq!(bob.rest("GET", "/v1/approvals", "").await.came(), Came::Out);
    point.stop().await;
}
