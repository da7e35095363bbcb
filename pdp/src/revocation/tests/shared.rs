//! Several whole decision points on one store.

use super::*;
use crate::revocation::own::TAKEN_BACK_FILE;
use crate::revocation::share::ADOPTED_RECORDS_MAX;
use crate::state::servers::Server;

/// Two decision points with folders of their own, and the store that they share.
struct Pair {
    server: Server,
    one: Site,
    two: Site,
}

impl Pair {
    fn new() -> Self {
        // As long as a busy machine may take.
        Self::with_patience(20_000)
    }

    fn with_patience(answer_timeout_ms: u64) -> Self {
        let server = Server::alone();
        let mut store = StateConfig::redis(&[&server.url]);
        store.redis.as_mut().unwrap().answer_timeout_ms = answer_timeout_ms;
        let site = || Site { store: store.clone(), ..Site::new() };
        Self { one: site(), two: site(), server }
    }
}

/// Waits until the store answers.
async fn reach(pdp: &Pdp) {
    for _ in 0..100_000 {
        if pdp.state.shared_text("").await.is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the store does not answer");
}

fn killed(pdp: &Pdp) -> Vec<String> {
    let lists = pdp.revocation_lists();
    let list = lists[0].list.as_ref().unwrap().list();
    list.entries.iter().map(|entry| entry.id.clone()).collect()
}

fn version(pdp: &Pdp) -> u64 {
    pdp.revocation_lists()[0].list.as_ref().unwrap().list().version
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_one_denies_at_the_other_and_so_does_taking_it_back() {
    let pair = Pair::new();
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let (a, b) = (one.pdp(), two.pdp());
    let session = opened(b).await;
    assert_eq!(told(b, in_session(&session)).await, "allow");
    let peer = pep();
    let known = b.revocations(&peer, 0).await.unwrap().version;
    let mut waiting = Box::pin(b.revocations(&peer, known));
    assert!(poll!(waiting.as_mut()).is_pending());
    let told_at_one = kill(a, Kind::Agent, "bot").await;
    b.keep_revocations().await;
    assert_eq!(waiting.await.unwrap().entries.len(), 1, "enforcement points hear of it");
    assert_eq!(version(b), told_at_one.version);
    assert_eq!(told(b, in_session(&session)).await, "agent_revoked");
    unkill(b, Kind::Agent, "bot").await;
    assert_eq!(told(b, call()).await, "allow");
    assert_eq!(told(b, in_session(&session)).await, "session_unknown", "it was voided");
    a.keep_revocations().await;
    assert_eq!(told(a, call()).await, "allow");
    // It stays so, however often anybody looks.
    for pdp in [a, b, a, b] {
        pdp.keep_revocations().await;
        assert_eq!(told(pdp, call()).await, "allow");
    }
    one.stop("test").await;
    two.stop("test").await;
    let outcomes = |site: &Site| -> Vec<_> {
        let records = site.records();
        let text = |record: &Record, at: &str| record.str_at(at).unwrap().to_owned();
        records
            .iter()
            .map(|r| (text(r, "/outcome"), text(r, "/operator"), text(r, "/reason")))
            .collect()
    };
    let record =
        |outcome: &str, why: &str| (outcome.to_owned(), "carol".to_owned(), why.to_owned());
    let (stolen, found) = ("stolen laptop", "found again");
    assert_eq!(outcomes(&pair.one), [record("killed", stolen), record("adopted_unkill", found)]);
    assert_eq!(outcomes(&pair.two), [record("adopted", stolen), record("unkilled", found)]);
    assert_eq!(pair.one.records()[0].body["shared"], true);
    assert_eq!(pair.two.records()[0].body["revoked"]["id"], "bot");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_background_looks_by_itself() {
    let pair = Pair::new();
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let mut version = two.pdp().revocations.version.subscribe();
    kill(one.pdp(), Kind::Agent, "bot").await;
    // Nobody but the task of the second decision point looks there.
    version.changed().await.unwrap();
    assert_eq!(told(two.pdp(), call()).await, "agent_revoked");
    one.stop("test").await;
    two.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_kills_at_both_at_once_none_is_lost() {
    let pair = Pair::new();
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let names: Vec<String> = (0..20).map(|n| format!("agent-{n:02}")).collect();
    let kills = names.iter().enumerate().map(|(n, id)| {
        let pdp = Arc::clone([one.pdp(), two.pdp()][n % 2]);
        let id = id.clone();
        tokio::spawn(async move { kill(&pdp, Kind::Agent, &id).await })
    });
    for kill in kills.collect::<Vec<_>>() {
        kill.await.unwrap();
    }
    for pdp in [one.pdp(), two.pdp()] {
        pdp.keep_revocations().await;
        assert_eq!(killed(pdp), names);
    }
    let unkills = names.iter().enumerate().map(|(n, id)| {
        let pdp = Arc::clone([one.pdp(), two.pdp()][(n + 1) % 2]);
        let id = id.clone();
        tokio::spawn(async move { unkill(&pdp, Kind::Agent, &id).await })
    });
    for unkill in unkills.collect::<Vec<_>>() {
        unkill.await.unwrap();
    }
    for pdp in [one.pdp(), two.pdp()] {
        pdp.keep_revocations().await;
        assert_eq!(killed(pdp), Vec::<String>::new());
    }
    one.stop("test").await;
    two.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_began_again_unkills_nothing_and_is_filled_again() {
    let mut pair = Pair::new();
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let (a, b) = (one.pdp(), two.pdp());
    kill(a, Kind::Agent, "bot").await;
    kill(a, Kind::Agent, "other").await;
    b.keep_revocations().await;
    unkill(b, Kind::Agent, "other").await;
    let before = version(b);
    // The first has not heard of it when the store is lost; what was taken back is not brought
    // back by what it still knows.
    pair.server.kill();
    pair.server.restart();
    reach(a).await;
    reach(b).await;
    for pdp in [a, b, a, b] {
        pdp.keep_revocations().await;
        assert_eq!(told(pdp, call()).await, "agent_revoked");
    }
    assert_eq!((killed(a), killed(b)), (vec!["bot".to_owned()], vec!["bot".to_owned()]));
    assert!(version(b) >= before, "no version falls");
    one.stop("test").await;
    two.stop("test").await;
    // One that was never there hears of it from the store.
    let third = Site { store: pair.one.store.clone(), ..Site::new() };
    let running = third.start().await;
    assert_eq!(told(running.pdp(), call()).await, "agent_revoked");
    assert!(version(running.pdp()) >= before);
    running.stop("test").await;
    assert_eq!(third.records().len(), 1);
    // Nor does a start with an empty store, or with a list of its own that is gone.
    pair.server.kill();
    pair.server.restart();
    std::fs::remove_file(pair.two.root().join("state").join(OWN_FILE)).unwrap();
    assert!(pair.two.root().join("state").join(TAKEN_BACK_FILE).exists());
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    for running in [&one, &two] {
        reach(running.pdp()).await;
        running.pdp().keep_revocations().await;
        assert_eq!(killed(running.pdp()), ["bot"]);
    }
    one.stop("test").await;
    two.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_a_kill_holds_here_and_is_shared_later_and_nothing_is_taken_back() {
    let mut pair = Pair::with_patience(2_000);
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let (a, b) = (one.pdp(), two.pdp());
    reach(a).await;
    kill(a, Kind::Tool, "s/t").await;
    pair.server.kill();
    let killed_here = a.kill(&operator(), Kind::Agent, "bot", "stolen laptop", None).await;
    let error = killed_here.unwrap_err();
    assert!(matches!(error, OperateError::Unshared { .. }), "{error}");
    assert!(error.to_string().contains("others do not know it yet"), "{error}");
    assert_eq!(error.id(), "state_unavailable");
    assert_eq!(told(a, call_of("bot", "s/ask")).await, "agent_revoked");
    let refused = a.unkill(&operator(), Kind::Tool, "s/t", "found again").await.unwrap_err();
    assert!(refused.to_string().starts_with("it is still revoked"), "{refused}");
    a.keep_revocations().await;
    assert_eq!(killed(a), ["bot", "s/t"]);
    pair.server.restart();
    for pdp in [a, b] {
        reach(pdp).await;
    }
    // Whatever is not through yet is tried again by the next look.
    for _ in 0..100 {
        a.keep_revocations().await;
        b.keep_revocations().await;
        if killed(b) == ["bot", "s/t"] {
            break;
        }
    }
    assert_eq!(killed(b), ["bot", "s/t"]);
    assert_eq!(told(b, call_of("bot", "s/ask")).await, "agent_revoked");
    one.stop("test").await;
    two.stop("test").await;
    let outcomes: Vec<_> =
        pair.one.records().iter().map(|r| r.str_at("/outcome").unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["killed", "killed", "shared"]);
    assert_eq!(pair.one.records()[1].body["shared"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_that_others_did_not_hear_of_wins_over_an_earlier_one_that_was_taken_back() {
    let mut pair = Pair::with_patience(2_000);
    let (one, two) = (pair.one.start().await, pair.two.start().await);
    let (a, b) = (one.pdp(), two.pdp());
    reach(a).await;
    // The second's clock is an hour ahead.
    pair.two.wait(3_600_000);
    kill(b, Kind::Agent, "bot").await;
    unkill(b, Kind::Agent, "bot").await;
    pair.server.kill();
    assert!(a.kill(&operator(), Kind::Agent, "bot", "again", None).await.is_err());
    pair.server.restart();
    reach(b).await;
    // What was taken back is in the store before the first comes.
    b.keep_revocations().await;
    for _ in 0..100 {
        reach(a).await;
        a.keep_revocations().await;
        b.keep_revocations().await;
        if killed(b) == ["bot"] {
            break;
        }
    }
    assert_eq!((killed(a), killed(b)), (vec!["bot".to_owned()], vec!["bot".to_owned()]));
    one.stop("test").await;
    two.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_is_no_list_of_ours_changes_nothing() {
    let pair = Pair::new();
    let running = pair.one.start().await;
    let pdp = running.pdp();
    kill(pdp, Kind::Agent, "bot").await;
    let mark = pdp.state.shared_text("").await.unwrap().unwrap().mark;
    let put = pdp.state.put_shared_text(&mark, "{\"version\":99,\"changes\":[{}]}").await;
    let bad = put.unwrap().unwrap();
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, call()).await, "agent_revoked");
    let killed_here = pdp.kill(&operator(), Kind::Tool, "s/t", "stolen laptop", None).await;
    assert!(matches!(killed_here, Err(OperateError::Unshared { .. })));
    let refused = pdp.unkill(&operator(), Kind::Agent, "bot", "found again").await;
    assert!(matches!(refused, Err(OperateError::Unshared { .. })));
    assert_eq!(killed(pdp), ["bot", "s/t"]);
    assert_eq!(
        pdp.state.shared_text("").await.unwrap().unwrap().mark,
        bad,
        "it is not written over"
    );
    running.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_at_the_latest_time_is_not_said_to_be_taken_back() {
    let pair = Pair::new();
    let running = pair.one.start().await;
    let pdp = running.pdp();
    let change = r#"{"kind":"agent","id":"bot","killed":true,"at_ms":253402207200000}"#;
    let text = format!(r#"{{"version":1,"changes":[{change}]}}"#);
    pdp.state.put_shared_text("", &text).await.unwrap().unwrap();
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, call()).await, "agent_revoked");
    let refused = pdp.unkill(&operator(), Kind::Agent, "bot", "found again").await.unwrap_err();
    assert!(refused.to_string().contains("the latest time"), "{refused}");
    assert_eq!(told(pdp, call()).await, "agent_revoked");
    running.stop("test").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_are_adopted_the_number_is_recorded() {
    for (count, records) in [
        (ADOPTED_RECORDS_MAX, ADOPTED_RECORDS_MAX),
        (ADOPTED_RECORDS_MAX + 2, ADOPTED_RECORDS_MAX + 1),
    ] {
        let pair = Pair::new();
        let running = pair.one.start().await;
        let pdp = running.pdp();
        let change = |n| format!(r#"{{"kind":"tool","id":"s/{n}","killed":true,"at_ms":1}}"#);
        let changes: Vec<String> = (0..count).map(change).collect();
        let text = format!(r#"{{"version":1,"changes":[{}]}}"#, changes.join(","));
        pdp.state.put_shared_text("", &text).await.unwrap().unwrap();
        pdp.keep_revocations().await;
        assert_eq!(killed(pdp).len(), count);
        running.stop("test").await;
        let written = pair.one.records();
        assert_eq!(written.len(), records);
        let more = written.last().unwrap().body["more"].as_u64();
        assert_eq!(more, (records < count).then_some(2));
    }
}
