//! The text that all decision points share.

use super::*;
use crate::state::Shared;
use crate::state::sliced::Sliced;
use crate::state::sliced::slices::Slicing;

/// A store of one process shares nothing and says so.
pub(super) async fn a_shared_text_is_replaced_by_whoever_knows_it(state: Arc<dyn State>) {
    let Some(none) = state.shared_text("").await.unwrap() else {
        assert_eq!(state.put_shared_text("", "one").await.unwrap(), None);
        assert_eq!(state.shared_text("").await.unwrap(), None);
        return;
    };
    assert_eq!(none, Shared::default());
    let wrong = state.put_shared_text("nothing is there", "one").await.unwrap();
    assert_eq!(wrong, None);
    let one = state.put_shared_text("", "one").await.unwrap().unwrap();
    assert_eq!(state.put_shared_text("", "two").await.unwrap(), None, "somebody was faster");
    let read = async |known: &str| state.shared_text(known).await.unwrap().unwrap();
    assert_eq!(read("").await, Shared { mark: one.clone(), text: Some("one".into()) });
    assert_eq!(read("old").await, Shared { mark: one.clone(), text: Some("one".into()) });
    assert_eq!(read(&one).await, Shared { mark: one.clone(), text: None });
    let two = state.put_shared_text(&one, "two").await.unwrap().unwrap();
    assert_ne!(one, two);
    assert_eq!(read(&one).await, Shared { mark: two.clone(), text: Some("two".into()) });
    assert_eq!(state.put_shared_text(&one, "three").await.unwrap(), None);
    let again = state.put_shared_text(&two, "one").await.unwrap();
    assert_eq!(again.unwrap(), one, "the same content has the same mark");
}

pub(super) async fn a_floor_only_rises(state: Arc<dyn State>) {
    let raise = async |tenant: &str, version| state.raise_floor(tenant, version).await.unwrap();
    let Some(none) = raise("a", 0).await else {
        assert_eq!(raise("a", 7).await, None);
        return;
    };
    assert_eq!(none, 0);
    assert_eq!(raise("a", 7).await, Some(7));
    assert_eq!(raise("a", 6).await, Some(7));
    assert_eq!(raise("a", 0).await, Some(7));
    assert_eq!(raise("b", 0).await, Some(0), "another tenant's is its own");
    let most = (1 << 53) - 1;
    assert_eq!(raise("a", most).await, Some(most));
    assert_eq!(raise("a", most - 1).await, Some(most), "exact up to the highest version");
}

pub(super) async fn of_many_who_replace_a_shared_text_at_once_one_does(state: Arc<dyn State>) {
    if state.shared_text("").await.unwrap().is_none() {
        assert_eq!(state.put_shared_text("", "one").await.unwrap(), None);
        return;
    }
    let puts = (0..50).map(|n| {
        let state = Arc::clone(&state);
        tokio::spawn(async move { state.put_shared_text("", &format!("text {n}")).await.unwrap() })
    });
    let mut marks = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        marks.extend(put.await.unwrap());
    }
    assert_eq!(marks.len(), 1);
    assert_eq!(state.shared_text("").await.unwrap().unwrap().mark, marks[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_slices_shares_as_the_store_does() {
    let sliced = async || {
        let slicing = Slicing { divisor: 10, life_ms: 1_000 };
        Arc::new(Sliced::new(servers::plain().await, slicing)) as Arc<dyn State>
    };
    a_shared_text_is_replaced_by_whoever_knows_it(sliced().await).await;
    let state = sliced().await;
    state.put_shared_text("", "one").await.unwrap().unwrap();
    of_many_who_replace_a_shared_text_at_once_one_does(sliced().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shared_text_is_that_of_every_decision_point() {
    let states = servers::several(2).await;
    let [one, two] = states.as_slice() else { panic!("two") };
    let (one, two): (&dyn State, &dyn State) = (one, two);
    let mark = one.put_shared_text("", "text").await.unwrap().unwrap();
    let read = two.shared_text("").await.unwrap().unwrap();
    assert_eq!(read, Shared { mark, text: Some("text".into()) });
}
