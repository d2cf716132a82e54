"""A wss server and its clients in one process pair, with frames made by hand, so that both know to
the byte what passed through their TLS library; with --plain, through their sockets.

`server` prints its port, serves --connections, and prints for each the plaintext bytes that it has
sent and received. `client` waits for a line, floods the server, and ends; with --meet it says when all
connections are open, and waits for another line before anything but handshakes passes.
"""

import argparse
import base64
import hashlib
import json
import os
import random
import socket
import ssl
import struct
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--log")
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--connections", type=int, default=50)
parser.add_argument("--frames", type=int, default=200, help="by each connection")
parser.add_argument("--largest", type=int, default=200_000, help="payload bytes of a frame")
parser.add_argument("--plain", action="store_true", help="without TLS")
parser.add_argument("--at-once", type=int, default=0, help="bytes sent in one call, 0 = a frame")
parser.add_argument("--fragments", action="store_true", help="three a message, with pings between")
parser.add_argument("--cut", action="store_true", help="calls end anywhere, mostly after a few bytes")
parser.add_argument("--meet", action="store_true", help="open all connections first")
options = parser.parse_args()

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(payload, mask, first=0x82):
    bit = 0x80 if mask else 0
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", first, bit | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, bit | 126, length)
    else:
        head = struct.pack("!BBQ", first, bit | 127, length)
    # A mask of zeros is a legal mask, and leaves the payload as it is.
    return head + (bytes(4) if mask else b"") + payload


def payloads(seed):
    source = random.Random(str(seed))
    for _ in range(options.frames):
        size = int(options.largest ** source.random())
        block = source.randbytes(min(size, 64))
        # Random bytes begin like JSON now and then. Cut by a small window, such a message counts as not read.
        yield (b"\0" + block[1:]) * (size // 64 + 1)


def stream(seed, mask):
    """All that one side says: its frames, and a close frame with code 1000."""
    for payload in payloads(seed):
        if options.fragments:
            third = len(payload) // 3
            yield frame(payload[:third], mask, 0x02)
            yield frame(b"between", mask, 0x89)
            yield frame(payload[third : 2 * third], mask, 0x00)
            yield frame(b"", mask, 0x89)
            yield frame(payload[2 * third :], mask, 0x80)
        else:
            yield frame(payload, mask)
    yield b"\x88" + (b"\x82\0\0\0\0" if mask else b"\x02") + b"\x03\xe8"


BEGIN = frame(b"begin", True, 0x89)
# The connections of a client and its main thread: when all are open, and when all may begin.
met, begin = (threading.Barrier(options.connections + 1) for _ in range(2))


class Counted:
    """A socket that counts the plaintext."""

    def __init__(self, tls):
        self.tls, self.sent, self.received = tls, 0, 0

    def send(self, data):
        self.tls.sendall(data)
        self.sent += len(data)

    def receive(self, size=65536):
        data = self.tls.recv(size)
        self.received += len(data)
        return data

    def head(self):
        """Takes no byte of what is behind it."""
        if options.plain:
            while (end := self.tls.recv(65536, socket.MSG_PEEK).find(b"\r\n\r\n")) < 0:
                pass
            return self.receive(end + 4).decode()
        head = b""
        while b"\r\n\r\n" not in head:
            head += self.receive(1)
        return head.decode()

    def flood_in_pieces(self, seed, mask):
        source = random.Random(f"{seed} cut")
        pending = b"".join(stream(seed, mask))
        while pending:
            size = source.randint(1, 20) if source.random() < 0.7 else source.randint(1, 6000)
            self.send(pending[:size])
            pending = pending[size:]

    def flood(self, seed, mask):
        if options.cut:
            return self.flood_in_pieces(seed, mask)
        pending = b""
        for piece in stream(seed, mask):
            pending += piece
            if len(pending) >= options.at_once:
                self.send(pending)
                pending = b""
        if pending:
            self.send(pending)

    def drain(self, seed, mask):
        left = sum(map(len, stream(seed, mask)))
        source = random.Random(f"{seed} read")
        while left:
            size = source.randint(1, 3000) if options.cut else 65536
            left -= len(self.receive(min(left, size)))


def serve(tls, totals):
    peer = Counted(tls)
    head = peer.head()
    seed = head.split()[1].lstrip("/")
    key = next(l.split(": ")[1] for l in head.split("\r\n") if l.startswith("Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    left = len(BEGIN) if options.meet else 0
    while left:
        left -= len(peer.receive(left))
    peer.flood(seed, mask=False)
    peer.drain(seed, mask=True)
    tls.close()
    totals.append([peer.sent, peer.received])


def server():
    context = None
    if not options.plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", options.port), backlog=options.connections)
    print(listener.getsockname()[1], flush=True)
    totals, threads = [], []
    for _ in range(options.connections):
        tls = listener.accept()[0]
        if context:
            tls = context.wrap_socket(tls, server_side=True)
        thread = threading.Thread(target=serve, args=(tls, totals))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    print(json.dumps(sorted(totals)), flush=True)
    sys.stdin.read()


def talk(context, seed):
    socket_ = socket.create_connection(("127.0.0.1", options.port))
    peer = Counted(context.wrap_socket(socket_) if context else socket_)
    key = base64.b64encode(os.urandom(16)).decode()
    peer.send(
        f"GET /{seed} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    peer.head()
    if options.meet:
        met.wait()
        begin.wait()
        peer.send(BEGIN)
    peer.drain(seed, mask=False)
    peer.flood(seed, mask=True)


def client():
    context = None
    if not options.plain:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    print("ready", flush=True)
    sys.stdin.readline()
    threads = [threading.Thread(target=talk, args=(context, i)) for i in range(options.connections)]
    for thread in threads:
        thread.start()
    if options.meet:
        met.wait()
        print("met", flush=True)
        sys.stdin.readline()
        begin.wait()
    for thread in threads:
        thread.join()
    print("done", flush=True)


server() if options.role == "server" else client()
