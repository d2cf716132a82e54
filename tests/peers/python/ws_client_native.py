"""The client of ws_client.py over a TLS library of C: its functions are called through ctypes, and
what they carry is made and read by `websockets` without any input or output of its own.

The library sends and receives by itself, on a blocking socket.
"""

import argparse
import base64
import importlib
import json
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
parser.add_argument("--stack", required=True, help="module of `native`")
options = parser.parse_args()
native = importlib.import_module("native." + options.stack)


class Connection:
    """A TLS connection with a WebSocket in it."""

    def __init__(self):
        self.tls = native.Connection(options.port)
        uri = parse_uri(f"wss://127.0.0.1:{options.port}/rpc?token=secret")
        self.protocol = ClientProtocol(uri, max_size=None)
        self.protocol.send_request(self.protocol.connect())
        self.flush()
        self.receive()

    def flush(self):
        for data in self.protocol.data_to_send():
            while data:
                data = data[self.tls.send(data) :]

    def receive(self):
        """Events of the next record that has any."""
        while True:
            data = self.tls.receive()
            if data:
                self.protocol.receive_data(data)
            else:
                self.protocol.receive_eof()
            self.flush()
            events = self.protocol.events_received()
            if events or not data:
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
        self.tls.close()


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
