//! The threads that serve: each has a runtime of its own, and a connection stays on the one it was given to.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// Single-threaded runtimes, one a thread. On the path of a command nothing crosses from one to another.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<Worker>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Dropped to end the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Workers {
    /// Starts this many threads.
    pub fn start(count: usize) -> io::Result<Workers> {
        Workers::named("worker", count)
    }

    /// Starts this many threads, whose names are this one and a number.
    pub fn named(name: &str, count: usize) -> io::Result<Workers> {
        let threads = (0..count.max(1))
            .map(|number| Worker::start(format!("{name}-{number}")))
            .collect::<io::Result<_>>()?;
        Ok(Workers {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// The next thread's runtime, in turn.
    pub fn next(&self) -> &Handle {
        &self.threads[self.next.fetch_add(1, Relaxed) % self.threads.len()].handle
    }

    /// A thread's runtime.
    ///
    /// # Panics
    /// If there are not that many threads.
    pub fn handle(&self, thread: usize) -> &Handle {
        &self.threads[thread].handle
    }

    /// The first thread's runtime: for what is needed once.
    pub fn first(&self) -> &Handle {
        &self.threads[0].handle
    }
}

impl Worker {
    fn start(name: String) -> io::Result<Worker> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })?;
        Ok(Worker {
            handle,
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Workers {
    /// Ends the threads. What still runs on them is dropped.
    fn drop(&mut self) {
        self.threads
            .iter_mut()
            .for_each(|worker| drop(worker.stop.take()));
        for worker in &mut self.threads {
            let thread = worker.thread.take();
            if let Some(thread) =
                thread.filter(|thread| thread.thread().id() != thread::current().id())
            {
                let _ = thread.join();
            }
        }
    }
}
