//! Several questions of one message.

use futures::FutureExt as _;
use futures::stream::{FuturesOrdered, StreamExt as _};
use tokio::task::yield_now;

use super::stream::POLLS_A_TURN;

/// Decides all, in their order, and lets others have the worker every few.
pub(super) async fn decide_all<F: Future>(questions: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut deciding = FuturesOrdered::new();
    let mut answers = Vec::with_capacity(questions.size_hint().0);
    for (number, question) in questions.enumerate() {
        if number > 0 && number % POLLS_A_TURN == 0 {
            yield_now().await;
        }
        deciding.push_back(question);
        // What needs no waiting is done at once.
        while let Some(Some(answer)) = deciding.next().now_or_never() {
            answers.push(answer);
        }
    }
    while let Some(answer) = deciding.next().await {
        answers.push(answer);
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn answers_keep_the_order_of_their_questions_whichever_waits() {
        let last = Notify::new();
        let last = &last;
        let questions = (0..40).map(|number| async move {
            match number {
                7 => last.notified().await,
                39 => last.notify_one(),
                _ => {}
            }
            number
        });
        assert_eq!(decide_all(questions).await, (0..40).collect::<Vec<_>>());
        assert_eq!(decide_all(std::iter::empty::<std::future::Ready<()>>()).await, []);
    }

    #[tokio::test]
    async fn others_get_their_turn_in_between() {
        let done = Arc::new(AtomicUsize::new(0));
        let seen = tokio::spawn({
            let done = Arc::clone(&done);
            async move { done.load(Ordering::Relaxed) }
        });
        let count = || async { done.fetch_add(1, Ordering::Relaxed) };
        decide_all((0..1_000).map(|_| count())).await;
        assert_eq!(seen.await.unwrap(), POLLS_A_TURN);
    }
}
