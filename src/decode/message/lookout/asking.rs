//! How a direction asks for its window, and goes on with it.

use super::{ASKS_MAX, Sample};
use crate::decode::context::Context;
use crate::decode::message::assembly::{Assembly, Piece};
use crate::decode::message::compression::Compression;
use crate::decode::message::shared::Shared;
use crate::observation::{Fidelity, Table, What, WindowResult};

impl Assembly {
    /// The kernel side must copy compressed messages whole.
    pub(in crate::decode) fn needs_whole(&self) -> bool {
        self.compression.has_context() || self.lookout.is_waiting()
    }

    /// Goes on with the window that was looked for, if it has been proven. A message begins.
    pub(in crate::decode::message) fn take_window(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
    ) {
        let Some(ticket) = &self.lookout.ticket else { return };
        let Some(inflater) = context.resources.windows.take(ticket) else { return };
        self.lookout.end(context.resources);
        let (lease, evicted) = context.resources.inflaters.lend_ready(inflater);
        if evicted {
            context.emit(What::Evicted(Table::Inflaters));
        }
        self.compression = Compression::Takeover(Some(lease));
        self.tell_window(WindowResult::Proven, context);
        context.tell(shared.set_fidelity(self.direction, Fidelity::Full));
    }

    /// A message has passed: hands it to those who look for the window, and begins to wait if one is
    /// lacking. If it is compressed and passed in one piece, this is `whole`.
    pub(in crate::decode::message) fn look_for_window(
        &mut self,
        whole: Option<Piece<'_>>,
        context: &mut Context<'_>,
    ) {
        if let Some(ticket) = &self.lookout.ticket {
            let windows = &mut context.resources.windows;
            let refused = match self.sample.take() {
                Sample::Off => None,
                Sample::Whole(payload) => windows.message(ticket, payload, context.stamp),
                Sample::Torn => {
                    windows.hole(ticket);
                    None
                }
            };
            if let Some(reason) = refused {
                self.lookout.end(context.resources);
                self.lookout.asks = ASKS_MAX;
                self.tell_window(reason, context);
            }
            return;
        }
        if self.compression.lacks_window() && self.lookout.asks < ASKS_MAX {
            self.ask_for_window(whole, context);
        }
    }

    #[cold]
    fn ask_for_window(&mut self, whole: Option<Piece<'_>>, context: &mut Context<'_>) {
        let (tgid, now_ns) = (context.conn.tgid, context.stamp.at_ns);
        let is_again = self.lookout.asks > 0;
        let joined = context.resources.windows.join(tgid, self.direction, is_again, now_ns);
        match joined {
            Ok(ticket) => {
                if let Some(payload) = whole.and_then(|it| Sample::of(it.bytes, it.mask)) {
                    // Nobody has waited in vain yet.
                    let _ = context.resources.windows.message(&ticket, payload, context.stamp);
                }
                self.lookout.ticket = Some(ticket);
                self.lookout.asks += 1;
                self.tell_window(WindowResult::Asked, context);
            }
            Err(reason) => {
                self.lookout.asks = ASKS_MAX;
                if let Some(reason) = reason {
                    self.tell_window(reason, context);
                }
            }
        }
    }

    #[cold]
    fn tell_window(&self, result: WindowResult, context: &mut Context<'_>) {
        context.emit(What::Window { direction: self.direction, result });
    }
}
