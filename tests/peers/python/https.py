"""HTTPS, or HTTP, with keep-alive, on which a connection may be upgraded at last.

`server` prints its port and serves until standard input ends. `client` waits for a line before each
step: --requests ordinary requests, as many again, then an upgrade and ten JSON-RPC requests, all on
one connection; it prints the name of each step when it is done. The line `exec` makes it another
program instead, which waits for the end of standard input.
"""

import argparse
import base64
import hashlib
import json
import os
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
parser.add_argument("--requests", type=int, default=100)
parser.add_argument("--plain", action="store_true", help="http:// instead of https://")
options = parser.parse_args()

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BODY = b"x" * 10_000


def read_until(tls, end):
    data = b""
    while end not in data:
        data += tls.recv(65536)
    return data


def text_frame(text, mask):
    data = text.encode()
    head = struct.pack("!BBH", 0x81, (0x80 if mask else 0) | 126, len(data))
    return head + (bytes(4) if mask else b"") + data


def padded(value):
    """Long enough for the 16-bit length that text_frame writes."""
    return json.dumps(value) + " " * 200


def serve(tls):
    while True:
        head = read_until(tls, b"\r\n\r\n").decode()
        if "Sec-WebSocket-Key" in head:
            break
        if not head:
            return
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
    key = next(l.split(": ")[1] for l in head.split("\r\n") if l.startswith("Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
    tls.sendall(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        data = tls.recv(65536)
        if not data:
            return
        number = json.loads(data[8:])["id"]
        tls.sendall(text_frame(padded({"jsonrpc": "2.0", "id": number, "result": 1}), False))


def server():
    context = None
    if not options.plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certificate, options.key)
    listener = socket.create_server(("127.0.0.1", options.port))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        tls = listener.accept()[0]
        if context:
            tls = context.wrap_socket(tls, server_side=True)
        threading.Thread(target=serve, args=(tls,), daemon=True).start()


def plain(tls):
    for _ in range(options.requests):
        tls.sendall(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
        left = len(BODY) + len(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        while left:
            left -= len(tls.recv(left))


def upgraded(tls):
    key = base64.b64encode(os.urandom(16)).decode()
    tls.sendall(
        "GET /rpc HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    read_until(tls, b"\r\n\r\n")
    for number in range(10):
        request = {"jsonrpc": "2.0", "id": number, "method": "late"}
        tls.sendall(text_frame(padded(request), True))
        tls.recv(65536)


def client():
    context = None
    if not options.plain:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    print("ready", flush=True)
    tls = None
    for name, step in [("warm", plain), ("plain", plain), ("upgraded", upgraded)]:
        if sys.stdin.readline() == "exec\n":
            os.execv(sys.executable, [sys.executable, "-c", "import sys; sys.stdin.read()"])
        if tls is None:
            tls = socket.create_connection(("127.0.0.1", options.port))
            tls = context.wrap_socket(tls) if context else tls
        step(tls)
        print(name, flush=True)
    sys.stdin.read()


server() if options.role == "server" else client()
