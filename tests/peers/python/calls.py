"""A plain ws server and its client that pass their bytes through every system call there is for it,
without TLS anywhere in the process.

`server` prints its port and serves one connection after the other. `client` waits for a line, opens
a connection for each pair of calls, and sends messages that the server echoes; with --halves it
waits for another line in the middle of each, and with --again one socket serves for all of them.
Both peek before they receive, scatter what they pass over buffers of odd sizes, and log
`connection direction type base64`.
"""

import argparse
import base64
import ctypes
import hashlib
import itertools
import json
import os
import random
import socket
import struct
import sys

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate", help="is not used")
parser.add_argument("--key", help="is not used")
parser.add_argument("--log", required=True)
parser.add_argument("--port", type=int, default=0)
parser.add_argument("--messages", type=int, default=40, help="on each connection")
parser.add_argument("--largest", type=int, default=100_000, help="payload bytes of a message")
parser.add_argument("--family", choices=["4", "6"], default="4")
parser.add_argument("--halves", action="store_true")
parser.add_argument("--again", action="store_true", help="disconnect a socket and connect it again")
options = parser.parse_args()

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HOST = "127.0.0.1" if options.family == "4" else "::1"
FAMILY = socket.AF_INET if options.family == "4" else socket.AF_INET6
log = open(options.log, "w")
libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("message", Msghdr), ("length", ctypes.c_uint)]


def record(connection, direction, kind, payload):
    log.write(f"{connection} {direction} {kind} {base64.b64encode(payload).decode()}\n")


def pieces(data, source):
    """`data` in pieces of odd sizes, some of them empty."""
    made = []
    while data:
        size = source.choice([0, 1, 2, 3, 7, 100, 5000, 1 << 20])
        made.append(data[:size])
        data = data[size:]
        if len(made) == 1000:
            made.append(data)
            break
    return made


def headers(groups):
    """An array for sendmmsg() or recvmmsg(), and what keeps its memory alive."""
    array, kept = (Mmsghdr * len(groups))(), []
    for header, group in zip(array, groups):
        buffers = [ctypes.create_string_buffer(bytes(part), max(len(part), 1)) for part in group]
        iov = (Iovec * len(group))()
        for vector, buffer, part in zip(iov, buffers, group):
            vector.base, vector.length = ctypes.addressof(buffer), len(part)
        header.message.iov, header.message.iovlen = iov, len(group)
        kept.append((buffers, iov))
    return array, kept


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def sendmmsg(conn, data, source):
    third = len(data) // 3
    parts = [data[:third], data[third : 2 * third], data[2 * third :]]
    array, kept = headers([pieces(part, source) for part in parts if part])
    count = checked(libc.sendmmsg(conn.fileno(), array, len(array), 0))
    return sum(array[i].length for i in range(count))


def recvmmsg(conn, source):
    wait_for_one = 0x10000
    array, kept = headers([[bytes(n) for n in (3, 700)], [bytes(5)], [bytes(1 << 16)]])
    count = checked(libc.recvmmsg(conn.fileno(), array, len(array), wait_for_one, None))
    data = b""
    for header, (buffers, vectors) in zip(array[:count], kept):
        parts = [buffer.raw[: vector.length] for buffer, vector in zip(buffers, vectors)]
        data += b"".join(parts)[: header.length]
    return data


def scattered(conn, receive):
    buffers = [bytearray(n) for n in (1, 13, 0, 2000, 60000)]
    count = receive(buffers)
    return b"".join(map(bytes, buffers))[:count]


SENDERS = {
    "write": lambda conn, data, _: os.write(conn.fileno(), data),
    "writev": lambda conn, data, source: os.writev(conn.fileno(), pieces(data, source)[:1000]),
    "send": lambda conn, data, _: conn.send(data),
    "sendmsg": lambda conn, data, source: conn.sendmsg(pieces(data, source)[:1000]),
    "sendmmsg": sendmmsg,
}
RECEIVERS = {
    "read": lambda conn, _: os.read(conn.fileno(), 5000),
    "readv": lambda conn, _: scattered(conn, lambda buffers: os.readv(conn.fileno(), buffers)),
    "recv": lambda conn, _: conn.recv(70_000),
    "recvmsg": lambda conn, _: scattered(conn, lambda buffers: conn.recvmsg_into(buffers)[0]),
    "recvmmsg": recvmmsg,
}


class Peer:
    def __init__(self, conn, calls, name, mask):
        self.conn, self.name, self.mask = conn, name, mask
        self.source = random.Random(name)
        self.sender, self.receiver = SENDERS[calls[0]], RECEIVERS[calls[1]]
        self.pending = b""

    def send(self, data):
        while data:
            data = data[self.sender(self.conn, data, self.source) :]

    def receive(self):
        self.conn.recv(10, socket.MSG_PEEK)
        data = self.receiver(self.conn, self.source)
        self.pending += data
        return bool(data)

    def take(self, size):
        while len(self.pending) < size:
            assert self.receive(), "the peer has gone"
        taken, self.pending = self.pending[:size], self.pending[size:]
        return taken

    def head(self):
        while b"\r\n\r\n" not in self.pending:
            assert self.receive(), "the peer has gone"
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        return head.decode()

    def frame(self, first, payload):
        bit, length = (0x80 if self.mask else 0), len(payload)
        if length < 126:
            head = struct.pack("!BB", first, bit | length)
        elif length < 65536:
            head = struct.pack("!BBH", first, bit | 126, length)
        else:
            head = struct.pack("!BBQ", first, bit | 127, length)
        # A mask of zeros is a legal mask, and leaves the payload as it is.
        return head + (bytes(4) if self.mask else b"") + payload

    def say(self, kind, payload):
        self.send(self.frame(0x81 if kind == "text" else 0x82, payload))
        record(self.name, "sent", kind, payload)

    def hear(self):
        """The next message; None for a close frame."""
        first, second = self.take(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self.take(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.take(8))
        if second & 0x80:
            assert self.take(4) == bytes(4)
        payload = self.take(length)
        if first & 0x0F == 8:
            return None
        kind = "text" if first & 0x0F == 1 else "binary"
        record(self.name, "received", kind, payload)
        return kind, payload


def messages(name):
    source = random.Random(f"messages of {name}")
    for number in range(options.messages):
        size = int(options.largest ** source.random())
        if number % 2:
            yield "text", ("x" * size).encode()
        else:
            yield "binary", source.randbytes(size)


def server():
    listener = socket.create_server((HOST, options.port), family=FAMILY)
    print(listener.getsockname()[1], flush=True)
    for name in map(str, range(len(SENDERS) * len(RECEIVERS))):
        conn = listener.accept()[0]
        peer = Peer(conn, ("write", "read"), name, mask=False)
        head = peer.head()
        calls = head.split()[1].strip("/").split("/")
        peer.sender, peer.receiver = SENDERS[calls[0]], RECEIVERS[calls[1]]
        key = next(l.split(": ")[1] for l in head.split("\r\n") if l.startswith("Sec-WebSocket-Key"))
        accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
        )
        while message := peer.hear():
            peer.say(*message)
        peer.send(peer.frame(0x88, b"\x03\xe8"))
        conn.close()
    log.close()
    print(json.dumps({"requests": 0, "median_ns": 0}), flush=True)
    sys.stdin.read()


def disconnect(conn):
    """Takes back what connect() did: the socket is as new, and has the same descriptor and inode."""
    nobody = struct.pack("H14x", socket.AF_UNSPEC)
    assert libc.connect(conn.fileno(), nobody, len(nobody)) == 0, os.strerror(ctypes.get_errno())


def connect(last):
    if not (options.again and last):
        return socket.create_connection((HOST, options.port))
    disconnect(last)
    last.connect((HOST, options.port))
    return last


def client():
    print("ready", flush=True)
    sys.stdin.readline()
    conn = None
    for name, calls in enumerate(itertools.product(SENDERS, RECEIVERS)):
        conn = connect(conn)
        peer = Peer(conn, calls, str(name), mask=True)
        key = base64.b64encode(os.urandom(16)).decode()
        peer.send(
            f"GET /{'/'.join(calls)} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            .encode()
        )
        assert " 101 " in peer.head()
        for number, message in enumerate(messages(name)):
            if options.halves and number == options.messages // 2:
                print("half", flush=True)
                sys.stdin.readline()
            peer.say(*message)
            assert peer.hear() == message
        peer.send(peer.frame(0x88, b"\x03\xe8"))
        assert peer.hear() is None
        if not options.again:
            conn.close()
    log.close()
    print(json.dumps({"answered": 0, "median_ns": 0}), flush=True)
    sys.stdin.read()


server() if options.role == "server" else client()
