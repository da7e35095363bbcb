//! Generated calls with every member.

use lictor_proto::call::{
    Action, Call, Content, Context, Credential, CredentialKind, Origin, Party, Phase, Question,
    Resource, ResourceKind, SessionRef, Usage,
};
use lictor_proto::json::Open;
use proptest::prelude::*;

fn open() -> impl Strategy<Value = Open> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<u64>().prop_map(|n| n.to_string()),
        Just("127.50".to_owned()),
        ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let member = ("[a-zA-Zé\"]{1,4}", leaf);
    proptest::collection::btree_map("[a-zA-Zé\"]{1,4}", member, 0..5).prop_map(|map| {
        let members: Vec<String> = map
            .into_iter()
            .map(|(key, (_, value))| format!("{}:{value}", serde_json::to_string(&key).unwrap()))
            .collect();
        Open::parse(format!("{{{}}}", members.join(" , ")).as_bytes()).unwrap()
    })
}

fn party() -> impl Strategy<Value = Party> {
    ("[a-z]{1,6}", ".{0,12}", open()).prop_map(|(kind, id, claims)| Party { kind, id, claims })
}

fn pick<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = T> + use<T> {
    proptest::sample::select(values.to_vec())
}

fn content() -> impl Strategy<Value = Content> {
    let origins = [Origin::System, Origin::User, Origin::ToolResult, Origin::ToolDefinition];
    (pick(&origins), ".{0,6}", ".{0,20}").prop_map(|(origin, pointer, text)| Content {
        origin,
        pointer,
        media: "text/plain".to_owned(),
        text,
    })
}

fn context() -> impl Strategy<Value = Context> {
    (open(), ".{0,6}", ".{0,6}", ".{0,6}").prop_map(|(args, source_ip, trace_id, protocol)| {
        Context { args, source_ip, trace_id, protocol }
    })
}

fn credential() -> impl Strategy<Value = Credential> {
    let kinds = [CredentialKind::Jwt, CredentialKind::ApiKey, CredentialKind::Peer];
    (pick(&kinds), ".{0,8}", ".{0,8}").prop_map(|(kind, id, issuer)| Credential {
        kind,
        id,
        issuer,
    })
}

fn resource() -> impl Strategy<Value = Resource> {
    let kinds = [ResourceKind::Tool, ResourceKind::Model, ResourceKind::Memory];
    (pick(&kinds), ".{0,8}").prop_map(|(kind, id)| Resource { kind, id })
}

/// Any call that the wire can carry.
pub(crate) fn call() -> impl Strategy<Value = Call> {
    let who = (
        proptest::option::of(party()),
        proptest::option::of(party()),
        proptest::collection::vec(party(), 0..3),
        proptest::option::of(credential()),
    );
    let what = (
        pick(&[Phase::Request, Phase::List, Phase::Response]),
        ".{1,12}",
        proptest::option::of(resource()),
        context(),
        proptest::collection::vec(content(), 0..3),
    );
    let rest = (
        "[a-z]{1,8}",
        proptest::option::of("[a-z0-9]{1,8}"),
        any::<bool>(),
        proptest::option::of("[a-z0-9]{1,8}"),
        (any::<u64>(), any::<u64>(), any::<u64>()),
    );
    (".{0,12}", who, what, rest).prop_map(|(call_id, who, what, rest)| Call {
        call_id,
        phase: what.0,
        tenant: rest.0,
        questions: vec![Question::Quota, Question::Authz],
        subject: who.0,
        agent: who.1,
        delegation: who.2,
        action: Action { name: what.1 },
        credential: who.3,
        request_call_id: rest.1,
        executed: rest.2,
        resource: what.2,
        context: what.3,
        content: what.4,
        session: rest.3.map(|handle| SessionRef { handle }),
        usage: Usage {
            input_tokens: rest.4.0,
            max_output_tokens: rest.4.1,
            cost_usd_micros: rest.4.2,
        },
    })
}
