"""A feed over wss with known faults, and a client that takes its own time of every message.

`server` prints its port and serves one connection. Each time that the client asks, it sends --messages
on ten channels, --rate a second, each with its channel, its number and the time, and with the faults that
--faults asks for. `client` waits for a line, asks, and when all has come prints what the server says that
it has done, and what it has seen itself.
"""

import argparse
import base64
import hashlib
import json
import random
import socket
import ssl
import struct
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--log")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--messages", type=int, default=20_000, help="in each round")
parser.add_argument("--rate", type=int, default=5_000, help="messages a second")
parser.add_argument("--faults", action="store_true")
options = parser.parse_args()

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHANNELS = 10
# A late message is as old as this, seconds: well inside of a bucket from 0.256 to 0.512.
LATE = 0.35
# A silence lasts for so many seconds: longer than any other message waits.
SILENCE = 3.0


def head(length, mask):
    bit = 0x80 if mask else 0
    if length < 126:
        return struct.pack("!BB", 0x81, bit | length)
    return struct.pack("!BBH", 0x81, bit | 126, length)


class Feed:
    """Numbers of ten channels, and what was done to them."""

    def __init__(self, send):
        self.send = send
        self.last = [0] * CHANNELS
        self.source = random.Random("ticks")
        self.done = dict.fromkeys(
            ["sent", "missing", "repeated", "backward", "resets", "late", "silences", "beats"], 0
        )

    def say(self, **message):
        self.send(json.dumps(message))

    def tick(self, channel, number, age=0.0, **more):
        self.done["sent"] += 1
        self.say(c=f"c{channel}", n=number, t=int((time.time() - age) * 1e6), **more)

    def step(self):
        """One message in its order, or a fault: one in a hundred is."""
        channel = self.source.randrange(CHANNELS)
        fault = self.source.randrange(1000) if options.faults and self.last[channel] > 20 else 999
        number = self.last[channel] + 1
        if fault == 0:
            number += self.source.randrange(1, 50)
            self.done["missing"] += number - self.last[channel] - 1
            self.tick(channel, number)
        elif fault == 1:
            number -= 1
            self.done["repeated"] += 1
            self.tick(channel, number)
        elif fault == 2:
            # The next but one goes first.
            self.tick(channel, number + 1)
            self.tick(channel, number)
            number += 1
            self.done["missing"] += 1
            self.done["backward"] += 1
        elif fault == 3:
            number = 1
            self.done["resets"] += 1
            self.tick(channel, number)
        elif fault == 4:
            number += self.source.randrange(1_000)
            self.done["resets"] += 1
            self.tick(channel, number, snapshot=True)
        elif fault < 9:
            self.done["late"] += 1
            self.tick(channel, number, age=LATE)
        else:
            self.tick(channel, number)
        self.last[channel] = number

    def round(self):
        begun = time.monotonic()
        for count in range(options.messages):
            ahead = begun + count / options.rate - time.monotonic()
            if ahead > 0.001:
                time.sleep(ahead)
            if options.faults and count in (options.messages // 3, options.messages * 2 // 3):
                time.sleep(SILENCE)
                begun += SILENCE
                self.done["silences"] += 1
            if count % 500 == 250:
                self.done["beats"] += 1
                self.say(op="ping")
            self.step()
        self.say(done=self.done)


def server():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", options.port))
    print(listener.getsockname()[1], flush=True)
    peer, _ = listener.accept()
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer = context.wrap_socket(peer, server_side=True)
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(4096)
    key = [line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    key = key[0].split(b":")[1].strip().decode()
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    peer.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )

    def send(text):
        peer.sendall(head(len(text), False) + text.encode())

    feed = Feed(send)
    # Each request is a whole frame of its own.
    while peer.recv(4096):
        feed.round()


class Frames:
    """The messages of the server, with the time at which the call returned that brought their end."""

    def __init__(self, peer):
        self.peer, self.bytes, self.at, self.total = peer, b"", 0.0, 0

    def more(self):
        piece = self.peer.recv(1 << 16)
        self.at = time.time()
        if not piece:
            sys.exit("the server has gone")
        self.bytes += piece
        self.total += len(piece)

    def take(self, count):
        while len(self.bytes) < count:
            self.more()
        taken, self.bytes = self.bytes[:count], self.bytes[count:]
        return taken

    def message(self):
        length = self.take(2)[1]
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        return json.loads(self.take(length))


def client():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    print("ready", flush=True)
    peer = frames = None
    for _ in sys.stdin:
        if peer is None:
            peer = context.wrap_socket(socket.create_connection(("127.0.0.1", options.port)))
            peer.sendall(
                b"GET /ticks HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: " + base64.b64encode(b"ticks" * 3 + b"!") + b"\r\n\r\n"
            )
            frames = Frames(peer)
            answer = b""
            while not answer.endswith(b"\r\n\r\n"):
                answer += frames.take(1)
        # A mask of zeros is a legal mask, and leaves the payload as it is.
        peer.sendall(head(4, True) + bytes(4) + b"more")
        seen, lag = 0, 0.0
        while True:
            message = frames.message()
            if "done" in message:
                break
            if "t" in message:
                seen += 1
                lag += frames.at - message["t"] / 1e6
        summary = {**message["done"], "seen": seen, "lag": lag, "bytes": frames.total}
        print(json.dumps(summary), flush=True)


{"server": server, "client": client}[options.role]()
