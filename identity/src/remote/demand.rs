//! How requests that miss a key reach the one task that fetches keys, and wait for it together.

use std::future::ready;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

/// Most requests that wait at once for the keys of one issuer; more are refused without waiting, so
/// that made-up key names cannot occupy everything there is.
pub(crate) const WAITING_MAX: usize = 1024;

/// Between the requests that want newer keys and the task that fetches them.
pub(crate) struct Demand {
    wanted: Notify,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// A task is there to fetch.
    open: bool,
    /// It is fetching.
    in_flight: bool,
    /// Fetches that came to an end, well or not.
    ended: u64,
    /// Shortest time from one demanded fetch to the next.
    interval: Duration,
    /// The next fetch on demand does not begin before.
    demanded_from: Option<Instant>,
}

impl Default for Demand {
    fn default() -> Self {
        Self { wanted: Notify::new(), state: watch::Sender::new(State::default()) }
    }
}

impl Demand {
    // === the side of requests ===

    /// Waits until a fetch that runs or is demanded here has ended, at most until `deadline`.
    /// `false`: none has, or none may begin before then.
    pub(crate) async fn wait(&self, deadline: Instant) -> bool {
        // Only who waits subscribes.
        if self.state.receiver_count() >= WAITING_MAX {
            return false;
        }
        let mut states = self.state.subscribe();
        let seen = *states.borrow_and_update();
        if !seen.open {
            return false;
        }
        if !seen.in_flight {
            if seen.demanded_from.is_some_and(|from| from >= deadline) {
                return false;
            }
            self.wanted.notify_one();
        }
        let ended = states.wait_for(|state| state.ended != seen.ended || !state.open);
        matches!(timeout_at(deadline, ended).await, Ok(Ok(state)) if state.ended != seen.ended)
    }

    /// Waits until the first fetch has ended, at most until `deadline`.
    pub(crate) async fn first(&self, deadline: Instant) {
        let mut states = self.state.subscribe();
        let ended = states.wait_for(|state| state.ended > 0 || !state.open);
        // A late first fetch is not an error here: who asks before it is told so.
        drop(timeout_at(deadline, ended).await);
    }

    // === the side of the task ===

    /// A task is there from now on; demanded fetches begin at least `interval` apart.
    pub(crate) fn open(&self, interval: Duration) {
        self.state.send_modify(|state| {
            state.open = true;
            state.interval = interval;
        });
    }

    /// The task is gone.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| state.open = false);
    }

    /// Waits for the time `scheduled`, or until a fetch is demanded and may begin.
    pub(crate) async fn turn(&self, scheduled: Instant) {
        let demanded = async {
            self.wanted.notified().await;
            let from = self.state.borrow().demanded_from;
            if let Some(from) = from {
                sleep_until(from).await;
            }
        };
        let by_demand = tokio::select! {
            biased;
            () = sleep_until(scheduled) => false,
            () = demanded => true,
        };
        // The fetch that begins now serves everyone who has asked so far.
        tokio::select! {
            biased;
            () = self.wanted.notified() => {}
            () = ready(()) => {}
        }
        self.state.send_modify(|state| {
            state.in_flight = true;
            if by_demand {
                state.demanded_from = Some(Instant::now() + state.interval);
            }
        });
    }

    /// The fetch has ended.
    pub(crate) fn ended(&self) {
        self.state.send_modify(|state| {
            state.in_flight = false;
            state.ended += 1;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_where_nobody_fetches() {
        let demand = Demand::default();
        assert!(!demand.wait(Instant::now() + Duration::from_secs(2)).await);
        demand.open(Duration::from_secs(5));
        demand.close();
        assert!(!demand.wait(Instant::now() + Duration::from_secs(2)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gives_up_at_its_deadline() {
        let demand = Demand::default();
        demand.open(Duration::from_secs(5));
        let deadline = Instant::now() + Duration::from_secs(2);
        assert!(!demand.wait(deadline).await);
        assert_eq!(Instant::now(), deadline);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait_at_once() {
        let demand = Demand::default();
        demand.open(Duration::from_secs(5));
        let begun = Instant::now();
        let deadline = begun + Duration::from_secs(2);
        let waiting: Vec<_> = (1..WAITING_MAX).map(|_| demand.state.subscribe()).collect();
        assert!(!demand.wait(deadline).await);
        assert_eq!(Instant::now(), deadline, "the last place is there");
        let one_more = demand.state.subscribe();
        assert!(!demand.wait(deadline + Duration::from_secs(2)).await);
        assert_eq!(Instant::now(), deadline, "and then there is none");
        drop((waiting, one_more));
    }

    #[tokio::test(start_paused = true)]
    async fn demanded_turns_are_an_interval_apart() {
        let demand = Demand::default();
        demand.open(Duration::from_secs(5));
        let never = Instant::now() + Duration::from_secs(1_000_000);
        let begun = Instant::now();
        demand.wanted.notify_one();
        demand.turn(never).await;
        assert_eq!(Instant::now(), begun);
        demand.ended();
        // Too early to be had before the deadline: nobody is kept waiting for it.
        assert!(!demand.wait(begun + Duration::from_secs(5)).await);
        assert_eq!(Instant::now(), begun);
        demand.wanted.notify_one();
        demand.turn(never).await;
        assert_eq!(Instant::now(), begun + Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_serves_all_who_asked_before_it() {
        let demand = Demand::default();
        demand.open(Duration::ZERO);
        demand.wanted.notify_one();
        demand.turn(Instant::now()).await;
        demand.ended();
        let next = Instant::now() + Duration::from_secs(300);
        demand.turn(next).await;
        assert_eq!(Instant::now(), next, "the demand was answered by the scheduled fetch");
    }
}
