//! One commit and its settlement by one connection, beside one and two bare scripts.

use std::sync::Arc;

use lictor_pdp::state::approval::Binding;
use lictor_pdp::state::redis::connection::{Connection, Patience};
use lictor_pdp::state::redis::{Clock, Redis};
use lictor_pdp::state::{Commit, Committed, SessionKey, State as _};
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::limits::{LimitKind, LimitRequest, OnError, Unit, Window};
use lictor_proto::call::Usage;
use lictor_proto::decide::{Detail, Outcome, Settle};
use lictor_proto::decision::{Effect, Reason};
use lictor_tests::redis::Server;
use redis::Script;
use redis::aio::ConnectionManager;

use crate::{Case, case};

/// Sessions that calls belong to, in turn.
const SESSIONS: u64 = 100;

/// Operations are round trips: a commit with its settlement is two.
pub(crate) fn cases(server: &Server) -> Vec<Case> {
    let client = redis::Client::open(server.url()).unwrap();
    let plain = ConnectionManager::new_lazy_with_config(client, Default::default()).unwrap();
    let script = Arc::new(Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])"));
    let connection = Connection::single(&server.url(), None, Patience::default()).unwrap();
    let store = Arc::new(Redis::new(connection, "bench:", Clock::Store));
    let bare = move |n: u64| {
        let (script, mut connection) = (Arc::clone(&script), plain.clone());
        async move {
            for _ in 0..2 {
                let mut call = script.prepare_invoke();
                call.key(format!("count:{}", n % SESSIONS)).arg(1);
                let _: i64 = call.invoke_async(&mut connection).await.unwrap();
            }
        }
    };
    let with = |limits: usize, watched: bool| {
        let store = Arc::clone(&store);
        move |n: u64| {
            let store = Arc::clone(&store);
            async move {
                let committed = store.commit(commit(n, limits, watched), 0).await.unwrap();
                assert!(matches!(committed, Committed::Stored(_)));
                let settle = Settle {
                    call_id: format!("call-{n}"),
                    outcome: Outcome::Done,
                    usage: Usage::default(),
                    detail: Detail::default(),
                };
                store.settle("default", "pep", &settle, 0).await.unwrap();
            }
        }
    };
    vec![
        case("a script with INCRBY, twice", bare),
        case("commit and settle, one budget", with(1, false)),
        case("commit and settle, three budgets", with(3, false)),
        case("the same, one budget, session watched", with(1, true)),
        case("the same, three budgets, session watched", with(3, true)),
    ]
}

fn commit(n: u64, limits: usize, watched: bool) -> Commit {
    let session = format!("session-{}", n % SESSIONS);
    let limits = (0..limits).map(|number| LimitRequest {
        id: format!("limit-{number}"),
        kind: LimitKind::Budget,
        key: format!("user-{}", n % SESSIONS),
        max: 1 << 50,
        burst: 1 << 50,
        window: Window::Sliding { ms: 3_600_000 },
        unit: Unit::Calls,
        cost: 1,
        on_error: OnError::Deny,
        refund_on_failure: false,
        prices: None,
    });
    let verdict = Verdict::denied(Reason::new("", ""));
    let verdict = Verdict { effect: Effect::Allow, limits: limits.collect(), ..verdict };
    Commit {
        session: SessionKey { tenant: "default".into(), id: session.clone(), implicit: true },
        implicit: None,
        version: None,
        call_id: format!("call-{n}"),
        request_digest: "sha256:0".into(),
        decision_id: format!("decision-{n}"),
        peer: "pep".into(),
        verdict: Arc::new(Verdict { reasons: Vec::new(), ..verdict }),
        resource: "tickets/search".into(),
        cost_usd_micros: 0,
        prices: None,
        binding: Binding {
            tenant: "default".into(),
            session,
            subject: "user:alice".into(),
            agent: "bot".into(),
            delegation: Vec::new(),
            action: "tools/call".into(),
            resource: "tool:tickets/search".into(),
            args_digest: "sha256:1".into(),
            content_digest: String::new(),
            tool_digest: String::new(),
            bundle_digest: String::new(),
        },
        opens: None,
        permits: true,
        watched,
    }
}
