//! The label of each value that an observation carries, as in metrics and JSON.

use super::{
    EndSign, Fidelity, GapReason, MessageKind, MessageType, Opcode, Origin, OrphanReason, Outcome,
    ProtocolError, Role, Table, Unchecked, WindowMiss,
};

/// Gives an enum its label values: `as_str` for one, `ALL` to make every series exist at 0.
macro_rules! labels {
    ($($type:ident { $($variant:ident => $label:literal),+ $(,)? })+) => { $(
        impl $type {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label value, as in metrics and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
        }
    )+ };
}

labels! {
    Role { Client => "client", Server => "server", Unknown => "unknown" }
    Fidelity { Full => "full", NoContent => "no_content", Unsynced => "unsynced" }
    Origin { Local => "local", Remote => "remote" }
    Opcode {
        Continuation => "continuation", Text => "text", Binary => "binary",
        Close => "close", Ping => "ping", Pong => "pong", Reserved => "reserved",
    }
    MessageType { Text => "text", Binary => "binary" }
    Outcome {
        Matched => "matched", Error => "error", Expired => "expired", Evicted => "evicted",
        Aborted => "aborted", Gap => "gap", Duplicate => "duplicate",
        Cancelled => "cancelled", Detached => "detached",
    }
    OrphanReason {
        PreAttach => "pre_attach", AfterGap => "after_gap", Late => "late", Unknown => "unknown",
    }
    MessageKind { Request => "request", Response => "response", Notification => "notification" }
    ProtocolError {
        RsvUnexpected => "rsv_unexpected", OpcodeReserved => "opcode_reserved",
        ControlFragmented => "control_fragmented", ControlTooLong => "control_too_long",
        ContinuationWithoutStart => "continuation_without_start",
        StartInsideFragment => "start_inside_fragment", MaskMissing => "mask_missing",
        MaskUnexpected => "mask_unexpected", LengthNotMinimal => "length_not_minimal",
        LengthMsb => "length_msb", CloseLen1 => "close_len_1",
        CloseCodeInvalid => "close_code_invalid", Utf8Text => "utf8_text",
        Utf8Close => "utf8_close", DataAfterClose => "data_after_close",
        InflateError => "inflate_error", InflateLimit => "inflate_limit",
        MessageTooBig => "message_too_big", AcceptMismatch => "accept_mismatch",
        AcceptMissing => "accept_missing", UpgradeHeaderInvalid => "upgrade_header_invalid",
        HeadMalformed => "head_malformed", ExtensionNotOffered => "extension_not_offered",
        ExtensionRepeated => "extension_repeated",
        SubprotocolNotOffered => "subprotocol_not_offered", EofMidFrame => "eof_mid_frame",
        Resync => "resync", PoisonedContext => "poisoned_context",
        HandshakeInvalid => "handshake_invalid", HandshakeTooLong => "handshake_too_long",
        HeadsUnreadable => "heads_unreadable",
    }
    GapReason {
        RingFull => "ring_full", CopyFailed => "copy_failed", CallTooLarge => "call_too_large",
    }
    EndSign {
        HandleReused => "handle_reused", ProcessEnded => "process_ended", Silent => "silent",
    }
    WindowMiss {
        Content => "content", Comparison => "comparison", Opaque => "opaque", LongId => "long_id",
    }
    Table {
        Connections => "connections", Inflaters => "inflaters", Pending => "pending",
        Streams => "streams", Unrecognised => "unrecognised",
    }
    Unchecked {
        AfterGap => "after_gap", TooManyChannels => "too_many_channels", Unreadable => "unreadable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::BYTES_LOST;

    #[test]
    fn a_gap_and_the_loss_that_left_it_have_the_same_reason() {
        let gaps: Vec<&str> = GapReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(gaps, BYTES_LOST);
    }
}
