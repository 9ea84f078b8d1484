//! How many commands a session sends on before it waits for their replies.
//!
//! Nobody knows how long a reply will be, and a session that asks for many long ones at once would have the process
//! hold them all. So a session never sends many, and starts with few and gets more as its replies prove short, as TCP's slow start does
//! (RFC 5681).

use larder_proto::limits::BATCH_BYTES;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window(usize);

const COMMANDS_AT_FIRST: usize = 16;
const COMMANDS_MAX: usize = 64;

/// Replies of one batch longer than this, in bytes, shrink the window.
const REPLIES_BYTES_MAX: usize = 4 * BATCH_BYTES;

impl Default for Window {
    fn default() -> Window {
        Window(COMMANDS_AT_FIRST)
    }
}

impl Window {
    /// Whether this many commands are to be settled before more are sent.
    pub(crate) fn is_full(self, commands: usize) -> bool {
        commands >= self.0
    }

    /// Learns how long the replies to a batch of commands were.
    pub(crate) fn learn(&mut self, commands: usize, reply_bytes: usize) {
        if reply_bytes > REPLIES_BYTES_MAX {
            self.0 = (commands * REPLIES_BYTES_MAX / reply_bytes).max(1);
        } else if self.is_full(commands) && reply_bytes < BATCH_BYTES {
            self.0 = (self.0 * 2).min(COMMANDS_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_replies_widen_the_window_and_long_ones_narrow_it() {
        let mut window = Window::default();
        for _ in 0..10 {
            window.learn(COMMANDS_MAX, 10_000);
        }
        assert!(window.is_full(COMMANDS_MAX) && !window.is_full(COMMANDS_MAX - 1));
        window.learn(64, 64 * 1024 * 1024);
        assert!(window.is_full(1));
        window.learn(1, 10_000_000);
        assert!(window.is_full(1) && !window.is_full(0));
    }

    #[test]
    fn few_commands_say_nothing_of_many() {
        let mut window = Window::default();
        window.learn(3, 10);
        assert!(window.is_full(COMMANDS_AT_FIRST));
    }
}
