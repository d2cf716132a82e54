use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame as Oracle, FrameHeader};
use websocket_sans_io::{FrameInfo, WebsocketFrameDecoder, WebsocketFrameEvent};

use super::*;

fn opcode() -> impl Strategy<Value = OpCode> {
    prop_oneof![
        Just(OpCode::Data(Data::Text)),
        Just(OpCode::Data(Data::Binary)),
        Just(OpCode::Control(Control::Ping)),
        Just(OpCode::Control(Control::Pong)),
    ]
}

/// Frame lines of what a second implementation sees in `stream`.
fn frames_of(stream: &[u8]) -> Vec<String> {
    let mut decoder = WebsocketFrameDecoder::new();
    let mut stream = stream.to_vec();
    let mut rest = &mut stream[..];
    let mut lines = Vec::new();
    loop {
        let result = decoder.add_data(rest).unwrap();
        match result.event {
            Some(WebsocketFrameEvent::End { frame_info, .. }) => {
                lines.push(frame_line(&frame_info))
            }
            None if result.consumed_bytes == 0 => return lines,
            _ => {}
        }
        rest = &mut rest[result.consumed_bytes..];
    }
}

fn frame_line(info: &FrameInfo) -> String {
    let opcode = format!("{:?}", info.opcode).to_lowercase();
    format!("> {opcode}{} {}", if info.fin { "" } else { "+" }, info.payload_length)
}

proptest! {
    #[test]
    fn what_tungstenite_encodes_decodes_to_the_same(
        messages in proptest::collection::vec(
            (opcode(), "[ -~]{0,300}", any::<[u8; 4]>()),
            1..20,
        ),
        size in 1_usize..500,
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (opcode, text, mask) in messages {
            let text = match opcode {
                OpCode::Control(_) => text[..text.len().min(125)].to_owned(),
                OpCode::Data(_) => text,
            };
            let header = FrameHeader { opcode, mask: Some(mask), ..FrameHeader::default() };
            let frame = Oracle::from_payload(header, text.clone().into_bytes().into());
            frame.format(&mut stream).unwrap();
            let kind = opcode.to_string().to_lowercase();
            expected.push(format!("> {kind} {}", text.len()));
            if let OpCode::Data(_) = opcode {
                expected.push(format!(
                    "> {kind} message of 1 frames, {0} wire, {0} bytes: {1}",
                    text.len(),
                    text.escape_default()
                ));
            }
        }
        let mut tape = Tape::client();
        tape.pass_in(Sent, &stream, size);
        prop_assert_eq!(tape.said(), expected);
        tape.close();
        tape.retire();
    }

    #[test]
    fn websocket_sans_io_sees_the_same_frames(
        frames in proptest::collection::vec(
            (0_u8..3, any::<bool>(), proptest::collection::vec(any::<u8>(), 0..300)),
            1..20,
        ),
        size in 1_usize..500,
    ) {
        let mut stream = Vec::new();
        for (opcode, fin, payload) in frames {
            stream.extend(masked(opcode | if fin { FIN } else { 0 }, &payload));
        }
        let mut tape = Tape::client();
        tape.pass_in(Sent, &stream, size);
        let said = tape.said();
        let frames: Vec<_> = said
            .into_iter()
            .filter(|line| !line.contains("message") && !line.contains("error"))
            .collect();
        prop_assert_eq!(frames, frames_of(&stream));
        tape.close();
        tape.retire();
    }
}
