//! All streams to one decision point, each on a connection of its own: as many as it announces, which
//! is one for each of its cores. One comes first; once it says how many there are to be, the others.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::dial::Dial;
use super::stream::{Keeper, Link, Told, Up};
use super::token::TokenSource;

type Keepers = Arc<ArcSwap<Vec<Arc<Keeper>>>>;

/// Keeps streams open for as long as it lives.
pub(crate) struct Lines {
    keepers: Keepers,
    task: JoinHandle<()>,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lines {
    /// Begins with one; `changes` is told of every change of a link.
    pub(crate) fn start(
        dial: Dial,
        token: TokenSource,
        changes: watch::Sender<u64>,
        start: Instant,
    ) -> Self {
        let (streams, announced) = watch::channel(1);
        let told = Told { changes, streams, start };
        let keep = move || Arc::new(Keeper::start(dial.clone(), token.clone(), told.clone()));
        let keepers = Keepers::new(ArcSwap::from_pointee(vec![keep()]));
        let task = tokio::spawn(widen(Arc::clone(&keepers), announced, keep));
        Self { keepers, task }
    }

    /// How it stands: the stream with least in flight, where one is open.
    pub(crate) fn link(&self) -> Link {
        best(self.keepers.load().iter().map(|keeper| keeper.link()))
    }

    /// How it stands for whoever lost a stream at `lost`: those that were open then may have been
    /// lost with it, so they are asked only once a new one cannot be had.
    pub(crate) fn link_after(&self, lost: Instant) -> Link {
        after(self.keepers.load().iter().map(|keeper| keeper.link()).collect(), lost)
    }

    /// How many streams are open.
    pub(crate) fn open(&self) -> usize {
        let keepers = self.keepers.load();
        keepers.iter().filter(|keeper| matches!(keeper.link(), Link::Up(_))).count()
    }

    /// Tries again soon, where the next try is further away.
    pub(crate) fn wake(&self) {
        self.keepers.load().iter().for_each(|keeper| keeper.wake());
    }
}

/// Opens more streams as they are announced. Fewer are never asked for: those that are open would
/// lose their calls.
async fn widen(
    keepers: Keepers,
    mut announced: watch::Receiver<usize>,
    keep: impl Fn() -> Arc<Keeper>,
) {
    while announced.changed().await.is_ok() {
        let wanted = *announced.borrow_and_update();
        let mut all = Vec::clone(&keepers.load());
        while all.len() < wanted {
            all.push(keep());
        }
        keepers.store(Arc::new(all));
    }
}

/// The open one with least in flight, or else one that is being made.
fn best(links: impl Iterator<Item = Link>) -> Link {
    links.reduce(better).unwrap_or(Link::Connecting)
}

fn better(one: Link, other: Link) -> Link {
    match (&one, &other) {
        (Link::Up(a), Link::Up(b)) if b.in_flight() < a.in_flight() => other,
        (Link::Up(_), _) => one,
        (_, Link::Up(_)) | (Link::Down(_), Link::Connecting) => other,
        _ => one,
    }
}

fn after(links: Vec<Link>, lost: Instant) -> Link {
    let newer = |up: &Arc<Up>| up.opened() > lost;
    let fresh = links.iter().filter(|link| matches!(link, Link::Up(up) if newer(up)));
    if let Some(link) = fresh.cloned().reduce(better) {
        return link;
    }
    let down = links.iter().any(|link| matches!(link, Link::Down(_)));
    let making = links.iter().any(|link| matches!(link, Link::Connecting));
    if making || !down { Link::Connecting } else { best(links.into_iter()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn in_flight(link: &Link) -> Option<usize> {
        match link {
            Link::Up(up) => Some(up.in_flight()),
            Link::Connecting | Link::Down(_) => None,
        }
    }

    fn down() -> Link {
        Link::Down("x".to_owned())
    }

    #[tokio::test]
    async fn the_open_one_with_least_in_flight_is_asked() {
        let now = Instant::now();
        let up = |count| Link::made_up(now, count);
        let of = |links: Vec<Link>| in_flight(&best(links.into_iter()));
        assert_eq!(of(vec![up(3), up(1), up(2)]), Some(1));
        assert_eq!(of(vec![Link::Connecting, up(3), down()]), Some(3));
        assert_eq!(of(vec![down(), Link::Connecting, up(3)]), Some(3));
        assert!(matches!(best(vec![down(), Link::Connecting].into_iter()), Link::Connecting));
        assert!(matches!(best(vec![Link::Connecting, down()].into_iter()), Link::Connecting));
        assert!(matches!(best(vec![down(), down()].into_iter()), Link::Down(_)));
    }

    #[tokio::test]
    async fn after_a_loss_a_newer_one_is_waited_for_and_an_older_one_comes_last() {
        let lost = Instant::now();
        let old = || Link::made_up(lost, 1);
        let new = |count| Link::made_up(lost + Duration::from_millis(1), count);
        let of = |links: Vec<Link>| after(links, lost);
        assert_eq!(in_flight(&of(vec![old(), new(3), new(2)])), Some(2));
        assert_eq!(in_flight(&of(vec![new(3), Link::Connecting, down()])), Some(3));
        assert!(matches!(of(vec![old(), old()]), Link::Connecting), "not seen to be lost yet");
        assert!(matches!(of(vec![old(), Link::Connecting]), Link::Connecting));
        assert_eq!(in_flight(&of(vec![down(), old()])), Some(1), "the other one is still there");
        assert!(matches!(of(vec![down(), down()]), Link::Down(_)));
    }
}
