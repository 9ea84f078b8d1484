//! What a run of a session's commands does on the keys of this process.

use larder_proto::{
    command::Command,
    resp::{Args, Output},
};

use crate::backend::{Access, Backend, Revoked};

/// One run's dealings with the backend. A run belongs to one reign: whatever it executed is released, or not, together.
#[derive(Debug, Default)]
pub(crate) struct InPlace {
    /// Under which to execute; 0: nothing more is executed here in this run.
    ///
    /// It becomes 0 at the first command that finds its slot closed. Were later ones still executed here, and the slot
    /// opened meanwhile, they would overtake the one that was sent the long way.
    reign: u64,
    /// Under which something was executed; 0: nothing was.
    held: u64,
    /// The log position that must be acknowledged before the replies may leave.
    position: u64,
}

impl InPlace {
    /// A run begins. The last one's replies have been released.
    pub(crate) fn begin(&mut self, backend: &dyn Backend) {
        *self = InPlace {
            reign: backend.reign(),
            ..InPlace::default()
        };
    }

    /// Whether commands can be executed.
    pub(crate) fn is_open(&self) -> bool {
        self.reign != 0
    }

    /// Executes a command whose slot this node is the primary of. False: it was not executed, and has to go where
    /// those for other nodes go.
    pub(crate) fn execute(
        &mut self,
        backend: &dyn Backend,
        command: &'static Command,
        args: Args<'_>,
        now_ms: u64,
        out: &mut Output,
    ) -> bool {
        if self.reign == 0 {
            return false;
        }
        match backend.execute(command, args, now_ms, Access::Primary, out) {
            Ok(position) => {
                self.held = self.reign;
                self.position = self.position.max(position);
                true
            }
            Err(_) => {
                self.reign = 0;
                false
            }
        }
    }

    /// Waits until the replies to what was executed may leave.
    pub(crate) async fn release(&mut self, backend: &dyn Backend) -> Result<(), Revoked> {
        let (held, position) = (std::mem::take(&mut self.held), self.position);
        if held == 0 || backend.released(position, held) {
            return Ok(());
        }
        backend.release(position, held).await
    }
}
