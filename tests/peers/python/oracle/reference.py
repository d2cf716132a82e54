"""A second opinion: decodes the plaintext of one wss connection with none of wstap's code.

Reads what `tshark -z follow,tls,raw,N` prints on standard input. Prints, as the server sees them,
`frame direction opcode fin rsv1 masked length` and `message direction type base64`.
Trusts its input: it is a reference for well-formed traffic, not a decoder for any.
"""

import base64
import sys
import zlib

NAMES = {0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}


def streams(text):
    """The bytes of both nodes; the indented lines are the second's."""
    nodes = [bytearray(), bytearray()]
    for line in text.splitlines():
        digits = line.strip()
        if digits and all(digit in "0123456789abcdef" for digit in digits):
            nodes[line.startswith("\t")] += bytes.fromhex(digits)
    server = next(n for n, data in enumerate(nodes) if data.startswith(b"HTTP/1.1 101"))
    heads_and_frames = [bytes(nodes[n]).split(b"\r\n\r\n", 1) for n in (server, 1 - server)]
    deflated = b"permessage-deflate" in heads_and_frames[0][0]
    fresh = b"no_context_takeover" in heads_and_frames[0][0]
    sent, received = (frames for _, frames in heads_and_frames)
    return sent, received, deflated, fresh


def frames(data):
    at = 0
    while at < len(data):
        first, second = data[at], data[at + 1]
        length, at = second & 0x7F, at + 2
        if length >= 126:
            size = 2 if length == 126 else 8
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        mask = bytes(4)
        if second & 0x80:
            mask, at = data[at : at + 4], at + 4
        key = (mask * (length // 4 + 1))[:length]
        payload = (
            int.from_bytes(data[at : at + length], "big") ^ int.from_bytes(key, "big")
        ).to_bytes(length, "big")
        at += length
        assert at <= len(data), "the capture ends within a frame"
        yield first & 0x0F, first >> 7, first >> 6 & 1, second >> 7, payload


def decode(direction, data, deflated, fresh):
    inflater = zlib.decompressobj(-15)
    for opcode, fin, rsv1, masked, payload in frames(data):
        print("frame", direction, NAMES[opcode], fin, rsv1, masked, len(payload))
        if opcode >= 8:
            continue
        if opcode:
            kind, compressed, message = NAMES[opcode], rsv1, b""
        message += payload
        if not fin:
            continue
        if compressed:
            assert deflated
            message = inflater.decompress(message + b"\0\0\xff\xff")
            if fresh:
                inflater = zlib.decompressobj(-15)
        print("message", direction, kind, base64.b64encode(message).decode())


sent, received, deflated, fresh = streams(sys.stdin.read())
decode("sent", sent, deflated, fresh)
decode("received", received, deflated, fresh)
