"""One end of a conversation that breaks every rule of RFC 6455 whose breach leaves a frame's length known.

Between the broken frames the client asks and the server answers. At the end each prints how many
frames of each opcode its own TLS calls have passed, both ways.
"""

import argparse
import collections
import json
import socket
import ssl
import struct
import sys

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--port", type=int)
parser.add_argument("--log", help="where a peer that keeps a log of its messages writes it")
options = parser.parse_args()

FIN = 0x80
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NAMES = {CONTINUATION: "continuation", TEXT: "text", BINARY: "binary"}
NAMES |= {CLOSE: "close", PING: "ping", PONG: "pong"}
GET = (
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def frame(first, payload, masked, extended=None):
    """A frame whose length takes 0, 2 or 8 more bytes; by itself the fewest."""
    length = len(payload)
    if extended is None:
        extended = 0 if length < 126 else 2 if length < 65536 else 8
    bit = 0x80 if masked else 0
    header = {
        0: lambda: bytes([first, bit | length]),
        2: lambda: bytes([first, bit | 126]) + struct.pack(">H", length),
        8: lambda: bytes([first, bit | 127]) + struct.pack(">Q", length),
    }[extended]()
    if masked:
        key = b"\x37\xfa\x21\x3d"
        header += key
        payload = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return header + payload


def cases(masked):
    """Lists of frames, each with what is broken in it."""
    for rsv in range(1, 8):
        yield [frame(FIN | rsv << 4 | TEXT, b"reserved bits", masked)]
        yield [frame(FIN | rsv << 4 | PING, b"reserved bits", masked)]
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]:
        yield [frame(FIN | opcode, b"", masked)]
        yield [frame(FIN | opcode, b"reserved opcode", masked), frame(opcode, b"x", masked)]
    for size in [126, 200, 65_535, 70_000]:
        yield [frame(FIN | PING, b"p" * size, masked), frame(FIN | PONG, b"p" * size, masked)]
    for size in range(0, 126, 25):
        yield [frame(FIN | PING, b"p" * size, masked), frame(FIN | PONG, b"p" * size, masked)]
    yield [frame(PING, b"in two", masked), frame(PONG, b"", masked)]
    yield [frame(FIN | BINARY, b"short", masked, 2), frame(FIN | BINARY, b"short", masked, 8)]
    yield [frame(FIN | BINARY, b"b" * 300, masked, 8), frame(FIN | PING, b"p", masked, 2)]
    yield [frame(FIN | CONTINUATION, b"of nothing", masked)]
    yield [frame(TEXT, b"one ", masked), frame(FIN | TEXT, b"another", masked)]
    yield [frame(TEXT, b"\xc3", masked), frame(FIN | CONTINUATION, b"\xa9", masked)]
    yield [frame(FIN | TEXT, b"\xff\xfe", masked), frame(FIN | TEXT, b"\xed\xa0\x80", masked)]
    yield [frame(FIN | TEXT, b"the wrong side", not masked)]


def closes(masked):
    for payload in [b"x", b"\x03\xed", b"\x03\xe8\xff", b"\x03\xe8" + b"r" * 200, b"\x03\xe8"]:
        yield frame(FIN | CLOSE, payload, masked)
    yield frame(FIN | TEXT, b"behind the close", masked)


def conversation(masked, says):
    """What one side writes, a list for each call."""
    calls = []
    for number, broken in enumerate(cases(masked), 1):
        text = frame(FIN | TEXT, json.dumps(says(number)).encode(), masked)
        # Now and then all in one call.
        calls += [b"".join([text, *broken])] if number % 3 == 0 else [text, *broken]
    return calls + list(closes(masked))


ASKED = conversation(True, lambda n: {"jsonrpc": "2.0", "id": n, "method": "ask"})
ANSWERED = conversation(False, lambda n: {"jsonrpc": "2.0", "id": n, "result": n})


def count(stream):
    """The frames of a stream, by opcode."""
    found, at = collections.Counter(), 0
    while at < len(stream):
        length, start = stream[at + 1] & 0x7F, at + 2
        if length == 126:
            length, start = struct.unpack_from(">H", stream, start)[0], start + 2
        elif length == 127:
            length, start = struct.unpack_from(">Q", stream, start)[0], start + 8
        found[NAMES.get(stream[at] & 0x0F, "reserved")] += 1
        at = start + (4 if stream[at + 1] & 0x80 else 0) + length
    return found


def read(connection, enough):
    stream = b""
    while not enough(stream):
        more = connection.recv(16_384)
        if not more:
            sys.exit("the peer has gone")
        stream += more
    return stream


def talk(connection):
    if options.role == "client":
        connection.sendall(GET.encode())
        read(connection, lambda head: head.endswith(b"\r\n\r\n"))
        mine, theirs = ASKED, ANSWERED
    else:
        read(connection, lambda head: head.endswith(b"\r\n\r\n"))
        connection.sendall(SWITCHING.encode())
        mine, theirs = ANSWERED, ASKED
    expected = sum(map(len, theirs))
    received = b""
    if options.role == "server":
        received = read(connection, lambda stream: len(stream) >= expected)
    for call in mine:
        connection.sendall(call)
    if options.role == "client":
        received = read(connection, lambda stream: len(stream) >= expected)
    summary = {"sent": count(b"".join(mine)), "received": count(received)}
    print(json.dumps(summary), flush=True)
    sys.stdin.readline()


if options.role == "server":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    talk(context.wrap_socket(listener.accept()[0], server_side=True))
else:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    print("ready", flush=True)
    sys.stdin.readline()
    with socket.create_connection(("127.0.0.1", options.port)) as plain:
        talk(context.wrap_socket(plain))
