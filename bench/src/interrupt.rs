//! Ctrl-C: the first stops what is running and prints what was measured; the second ends the process.

use tokio::sync::watch;

/// Whether there was a Ctrl-C.
#[derive(Clone, Debug)]
pub struct Interrupt {
    pressed: watch::Receiver<bool>,
}

/// Exit code of a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

impl Interrupt {
    /// Listens from now on. Must be called within a runtime.
    pub fn listen() -> Interrupt {
        let (sender, pressed) = watch::channel(false);
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_err() {
                // No signals here: the system ends the process as it likes.
                return std::future::pending().await;
            }
            sender.send_replace(true);
            let _ = tokio::signal::ctrl_c().await;
            std::process::exit(INTERRUPTED);
        });
        Interrupt { pressed }
    }

    /// Whether there was one.
    pub fn is_pressed(&self) -> bool {
        *self.pressed.borrow()
    }

    /// Waits for one.
    pub async fn wait(&self) {
        let mut pressed = self.pressed.clone();
        if pressed.wait_for(|&pressed| pressed).await.is_err() {
            std::future::pending().await
        }
    }
}
