"""The client of ws_client.py over GnuTLS: its record functions are called through ctypes, and what
they carry is made and read by `websockets` without any input or output of its own.

GnuTLS sends and receives by itself, on a blocking socket.
"""

import argparse
import base64
import ctypes
import json
import socket
import statistics
import sys
import time

from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--connections", type=int, default=1, help="one after another")
parser.add_argument("--requests", type=int, default=10, help="in all")
parser.add_argument("--size", type=int, default=20, help="bytes echoed by each request")
options = parser.parse_args()

# gnutls/gnutls.h
CLIENT, CREDENTIALS_CERTIFICATE = 2, 1
# The first also after a message that is none of the application's, such as a session ticket.
AGAIN, INTERRUPTED = -28, -52
gnutls = ctypes.CDLL("libgnutls.so.30")
for function in ("gnutls_record_send", "gnutls_record_recv"):
    getattr(gnutls, function).restype = ctypes.c_ssize_t
    getattr(gnutls, function).argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]


def check(result):
    if result < 0:
        sys.exit(f"GnuTLS: error {result}")
    return result


class Connection:
    """A TLS session with a WebSocket in it."""

    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", options.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.session, self.credentials = ctypes.c_void_p(), ctypes.c_void_p()
        check(gnutls.gnutls_init(ctypes.byref(self.session), CLIENT))
        check(gnutls.gnutls_certificate_allocate_credentials(ctypes.byref(self.credentials)))
        check(
            gnutls.gnutls_credentials_set(self.session, CREDENTIALS_CERTIFICATE, self.credentials)
        )
        check(gnutls.gnutls_set_default_priority(self.session))
        gnutls.gnutls_transport_set_int2(
            self.session, self.socket.fileno(), self.socket.fileno()
        )
        check(gnutls.gnutls_handshake(self.session))
        uri = parse_uri(f"wss://127.0.0.1:{options.port}/rpc?token=secret")
        self.protocol = ClientProtocol(uri, max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.buffer = ctypes.create_string_buffer(16384)
        self.flush()
        self.receive()

    def flush(self):
        for data in self.protocol.data_to_send():
            while data:
                data = data[check(gnutls.gnutls_record_send(self.session, data, len(data))) :]

    def receive(self):
        """Events of the next record that has any."""
        while True:
            count = gnutls.gnutls_record_recv(self.session, self.buffer, len(self.buffer))
            if count in (AGAIN, INTERRUPTED):
                continue
            if check(count) == 0:
                self.protocol.receive_eof()
            else:
                self.protocol.receive_data(self.buffer.raw[:count])
            self.flush()
            events = self.protocol.events_received()
            if events or count == 0:
                return events

    def message(self):
        """The next whole message; fragments are put together."""
        data = b""
        while True:
            for event in self.receive():
                data += event.data
                if event.fin and event.opcode in (Opcode.TEXT, Opcode.CONT):
                    return data

    def close(self):
        self.protocol.send_close(1000)
        self.flush()
        self.receive()
        gnutls.gnutls_deinit(self.session)
        gnutls.gnutls_certificate_free_credentials(self.credentials)
        self.socket.close()


def record(connection, direction, message):
    log.write(f"{connection} {direction} text {base64.b64encode(message).decode()}\n")


log = open(options.log, "w")
turnaround_ns = []
print("ready", flush=True)
sys.stdin.readline()
for name in range(options.connections):
    connection = Connection()
    for number in range(options.requests // options.connections):
        params = {"echo": "x" * options.size, "connection": name}
        request = {"jsonrpc": "2.0", "id": number, "method": "echo", "params": params}
        message = json.dumps(request).encode()
        began = time.monotonic_ns()
        connection.protocol.send_text(message)
        connection.flush()
        record(name, "sent", message)
        answer = connection.message()
        turnaround_ns.append(time.monotonic_ns() - began)
        record(name, "received", answer)
    connection.close()
log.close()
median = statistics.median(turnaround_ns) if turnaround_ns else 0
print(json.dumps({"answered": len(turnaround_ns), "median_ns": median}), flush=True)
sys.stdin.read()
