//! Questions whose answers must not be lost.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::runtime::Handle;

/// A question that is asked to its end: by whoever waits for the answer, or, if he leaves before that, by a task that drops
/// the answer. A lease in it is given back then, and does not have to run out.
pub(super) struct Whole<F: Future<Output: Send + 'static> + Send + 'static> {
    /// None: there was an answer.
    asking: Option<Pin<Box<F>>>,
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Whole<F> {
    pub(super) fn new(asking: F) -> Whole<F> {
        Whole {
            asking: Some(Box::pin(asking)),
        }
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Future for Whole<F> {
    type Output = F::Output;

    /// # Panics
    /// If there was an answer before.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // One that panics is not asked to its end.
        let mut asking = self.asking.take().expect("nobody asks an answer again");
        let answer = asking.as_mut().poll(context);
        if answer.is_pending() {
            self.asking = Some(asking);
        }
        answer
    }
}

impl<F: Future<Output: Send + 'static> + Send + 'static> Drop for Whole<F> {
    fn drop(&mut self) {
        if let (Some(asking), Ok(runtime)) = (self.asking.take(), Handle::try_current()) {
            runtime.spawn(asking);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[tokio::test]
    async fn what_is_asked_has_its_answer_though_nobody_waits() {
        let (answer, asking) = oneshot::channel();
        let (told, mut heard) = mpsc::unbounded_channel();
        let mut whole = Whole::new(async move {
            let answer: Result<u32, _> = asking.await;
            told.send(answer.unwrap()).unwrap();
        });
        tokio::select! {
            biased;
            () = &mut whole => panic!("nobody has answered"),
            () = std::future::ready(()) => {}
        }
        drop(whole);
        answer.send(7).unwrap();
        assert_eq!(heard.recv().await, Some(7));
    }

    #[tokio::test]
    async fn an_answer_that_was_waited_for_needs_no_task() {
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let mut whole = Whole::new(std::future::ready(7));
        assert_eq!((&mut whole).await, 7);
        drop(whole);
        assert_eq!(tasks(), before);
    }
}
