//! The configured list: it must be there and fresh, and what is refused changes nothing.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use futures::poll;
use lictor_policy_lib::revocation::{List, SIGNER_CLOCK_AHEAD_MAX_MS, sign};
use lictor_proto::call::{Call, Phase};
use lictor_proto::revocation::Kind;

use super::super::CONFIGURED;
use super::super::config::RevocationsConfig;
use super::super::operate::OperateError;
use super::{NOW_MS, Site, call, in_session, issuer, kill, opened, operator, pep, told};
use crate::decide::Pdp;

#[tokio::test]
async fn a_configured_list_must_be_there_and_fresh() {
    let site = Site::new();
    let running = site.try_start(Some(site.configured())).await.unwrap();
    let pdp = running.pdp();
    assert_eq!(told(pdp, call()).await, "revocation_stale");
    site.list(1, &[]);
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, call()).await, "allow");
    site.wait(59_999);
    assert_eq!(told(pdp, call()).await, "allow");
    site.wait(1);
    for phase in [Phase::Request, Phase::List, Phase::Response] {
        assert_eq!(told(pdp, Call { phase, ..call() }).await, "revocation_stale");
    }
    site.list(2, &["other"]);
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, call()).await, "allow");
    std::fs::remove_file(site.root().join("list.jws")).unwrap();
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, call()).await, "allow", "the last good one holds until it expires");
    running.stop("test").await;
    let running = site.try_start(Some(site.configured())).await.unwrap();
    assert_eq!(told(running.pdp(), call()).await, "allow", "it was kept");
    site.list(1, &[]);
    running.pdp().keep_revocations().await;
    assert_eq!(lists_refused(running.pdp()), "revocations_version", "and so was its version");
    running.stop("test").await;
}

#[tokio::test]
async fn a_list_that_is_too_old_is_stale_before_it_expires() {
    let site = Site::new();
    let config = RevocationsConfig { max_age_s: Some(10), ..site.configured() };
    site.list(1, &[]);
    let running = site.try_start(Some(config)).await.unwrap();
    site.wait(9_999);
    assert_eq!(told(running.pdp(), call()).await, "allow");
    site.wait(1);
    assert_eq!(told(running.pdp(), call()).await, "revocation_stale");
    running.stop("test").await;
}

fn lists_refused(pdp: &Arc<Pdp>) -> String {
    let lists = pdp.revocation_lists();
    let list = lists.iter().find(|list| list.name == CONFIGURED).unwrap();
    list.refused.as_ref().map(|refusal| refusal.id.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_refused_list_leaves_the_old_one_live() {
    let site = Site::new();
    site.list(5, &["bot"]);
    let running = site.try_start(Some(site.configured())).await.unwrap();
    let pdp = running.pdp();
    let good = std::fs::read_to_string(site.root().join("list.jws")).unwrap();
    let mut stranger = List::empty(NOW_MS, NOW_MS + 60_000);
    stranger.version = 6;
    let foreign = sign(&stranger, &SigningKey::from_bytes(&[3; 32]));
    let expired = List { expires_ms: NOW_MS, issued_at_ms: NOW_MS - 1, ..stranger.clone() };
    let reused = List { version: 5, ..stranger.clone() };
    for (text, id) in [
        (good.replace("ey", "eZ"), "revocations_malformed"),
        (foreign, "revocations_key_unknown"),
        (sign(&List { version: 4, ..stranger }, &issuer()), "revocations_version"),
        (sign(&reused, &issuer()), "revocations_version"),
        (sign(&expired, &issuer()), "revocations_expired"),
    ] {
        site.put(&text);
        pdp.keep_revocations().await;
        assert_eq!(lists_refused(pdp), id);
        assert_eq!(told(pdp, call()).await, "agent_revoked", "{id}");
    }
    let metrics = crate::metrics::metrics_text(pdp);
    assert!(metrics.contains("lictor_revocations_version{list=\"configured\"} 5\n"), "{metrics}");
    assert!(metrics.contains("lictor_revocations_refused{list=\"configured\"} 1\n"), "{metrics}");
    site.put(&good);
    pdp.keep_revocations().await;
    assert_eq!(lists_refused(pdp), "");
    running.stop("test").await;
    let refused: Vec<_> =
        site.records().iter().filter_map(|r| r.str_at("/reason").map(str::to_owned)).collect();
    assert_eq!(refused.len(), 5, "{refused:?}");
}

#[tokio::test]
async fn the_configured_list_closes_sessions_too_and_is_not_taken_back_here() {
    let site = Site::new();
    site.list(1, &[]);
    let running = site.try_start(Some(site.configured())).await.unwrap();
    let pdp = running.pdp();
    let old = opened(pdp).await;
    site.list(2, &["bot"]);
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, in_session(&old)).await, "agent_revoked");
    let refused = pdp.unkill(&operator(), Kind::Agent, "bot", "please").await.unwrap_err();
    assert!(matches!(refused, OperateError::NotRevoked { listed: true, .. }), "{refused}");
    kill(pdp, Kind::Agent, "bot").await;
    let unkilled = pdp.unkill(&operator(), Kind::Agent, "bot", "please").await.unwrap();
    assert!(unkilled.still_listed);
    site.list(3, &[]);
    pdp.keep_revocations().await;
    assert_eq!(told(pdp, in_session(&old)).await, "session_unknown");
    assert_eq!(told(pdp, call()).await, "allow");
    running.stop("test").await;
}

#[tokio::test]
async fn enforcement_points_hear_when_the_list_gets_stale() {
    let site = Site::new();
    site.list(1, &[]);
    let running = site.try_start(Some(site.configured())).await.unwrap();
    let pdp = running.pdp();
    let peer = pep();
    let first = pdp.revocations(&peer, 0).await.unwrap();
    let mut waiting = Box::pin(pdp.revocations(&peer, first.version));
    assert!(poll!(waiting.as_mut()).is_pending());
    site.wait(60_000);
    pdp.keep_revocations().await;
    assert!(waiting.await.unwrap().stale && !first.stale);
    running.stop("test").await;
}

#[tokio::test]
async fn a_list_that_could_not_be_taken_yet_is_tried_again_and_told_once() {
    let site = Site::new();
    site.list(1, &[]);
    let running = site.try_start(Some(site.configured())).await.unwrap();
    let pdp = running.pdp();
    // A signer whose clock is ahead of ours.
    let ahead_ms = SIGNER_CLOCK_AHEAD_MAX_MS + 30_000;
    site.wait(ahead_ms);
    site.list(2, &["bot"]);
    site.wait(-ahead_ms);
    for _ in 0..3 {
        pdp.keep_revocations().await;
        assert_eq!(lists_refused(pdp), "revocations_not_yet_valid");
        assert_eq!(told(pdp, call()).await, "allow");
    }
    site.wait(30_000);
    pdp.keep_revocations().await;
    assert_eq!(
        (lists_refused(pdp), told(pdp, call()).await),
        (String::new(), "agent_revoked".into())
    );
    // What cannot be kept is no list yet, and is one as soon as it can be.
    let kept = site.root().join("state/revocations-configured.jws");
    std::fs::remove_file(&kept).unwrap();
    std::fs::create_dir(&kept).unwrap();
    site.list(3, &["bot", "other"]);
    for _ in 0..3 {
        pdp.keep_revocations().await;
        assert_eq!(lists_refused(pdp), "revocations_not_kept");
    }
    std::fs::remove_dir(&kept).unwrap();
    pdp.keep_revocations().await;
    assert_eq!(lists_refused(pdp), "");
    running.stop("test").await;
    let refused: Vec<_> =
        site.records().iter().filter_map(|r| r.str_at("/reason").map(str::to_owned)).collect();
    assert_eq!(refused, ["revocations_not_yet_valid", "revocations_not_kept"]);
}
