//! What a runtime must give: tasks, time and chance. And the few ways to wait that every runtime has then.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

pub trait Runtime: 'static {
    /// Runs a task of the present node; it ends with the node.
    fn spawn(task: impl Future<Output = ()> + 'static);
    fn sleep(time: Duration) -> impl Future<Output = ()>;
    /// Since the simulation began; never goes back.
    fn elapsed() -> Duration;
    /// Uniform in `0..n`, from the seed.
    fn below(n: u64) -> u64;
}

/// True `percent` times in a hundred.
pub fn chance<R: Runtime>(percent: u64) -> bool {
    percent > 0 && R::below(100) < percent
}

/// Lets the other tasks go first, once.
pub async fn pause() {
    let mut paused = false;
    poll_fn(|cx| {
        if paused {
            return Poll::Ready(());
        }
        paused = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A while that is as often nothing as it is some turns of the scheduler or some milliseconds.
pub async fn linger<R: Runtime>() {
    match R::below(8) {
        0..4 => {}
        turns @ 4..7 => {
            for _ in 3..turns {
                pause().await;
            }
        }
        _ => R::sleep(Duration::from_micros(R::below(3_000))).await,
    }
}

pub enum First<A, B> {
    Left(A),
    Right(B),
}

/// Whichever ends first; the left one where both do. The other is dropped.
pub async fn race<A, B>(left: impl Future<Output = A>, right: impl Future<Output = B>) -> First<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|cx| {
        if let Poll::Ready(a) = left.as_mut().poll(cx) {
            return Poll::Ready(First::Left(a));
        }
        right.as_mut().poll(cx).map(First::Right)
    })
    .await
}

/// `None` where it takes longer.
pub async fn within<R: Runtime, T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
    match race(work, R::sleep(time)).await {
        First::Left(done) => Some(done),
        First::Right(()) => None,
    }
}
