"""WebSockets over HTTP/2 (RFC 8441): a hypercorn server, and a client made of `h2` and `wsproto`.

Both keep a log of what they said, as ws_server.py and ws_client.py do. The client opens all its
WebSockets on one connection, one stream each, asks on all of them at once, and fetches ordinary
pages in between if it is told to. Its times are those between its calls of TLS.
"""

import argparse
import asyncio
import base64
import itertools
import json
import socket
import ssl
import statistics
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--log", required=True)
parser.add_argument("--port", type=int)
parser.add_argument("--streams", type=int, default=5)
parser.add_argument("--requests", type=int, default=20, help="on each stream")
parser.add_argument("--size", type=int, default=10, help="bytes in each request")
parser.add_argument("--pages", type=int, default=0, help="ordinary requests between")
parser.add_argument("--deflate", action="store_true")
options = parser.parse_args()

log = open(options.log, "w")
times_ns = []


def record(connection, direction, message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    log.write(f"{connection} {direction} {kind} {base64.b64encode(data).decode()}\n")


def summary(count):
    log.close()
    median = statistics.median(times_ns) if times_ns else 0
    print(json.dumps({"requests": count, "median_ns": median}), flush=True)


# The server

connections = itertools.count()


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await converse(scope, receive, send)
    elif scope["type"] == "http":
        start = {"type": "http.response.start", "status": 200, "headers": [(b"x-page", b"1")]}
        await send(start)
        await send({"type": "http.response.body", "body": b"p" * 2000})


async def converse(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    connection = next(connections)
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            return
        began = time.monotonic_ns()
        message = event.get("text") or event.get("bytes")
        record(connection, "received", message)
        request = json.loads(message)
        reply = {"jsonrpc": "2.0", "id": request["id"], "result": request["params"]["echo"]}
        reply = json.dumps(reply)
        await send({"type": "websocket.send", "text": reply})
        record(connection, "sent", reply)
        times_ns.append(time.monotonic_ns() - began)


async def serve():
    from hypercorn.asyncio import serve as hypercorn
    from hypercorn.config import Config

    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.certfile, config.keyfile = options.certificate, options.key
    config.websocket_max_message_size = 64 << 20
    config.loglevel = "ERROR"
    print(listener.getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: ended.set())
    try:
        await hypercorn(application, config, shutdown_trigger=ended.wait)
    except ssl.SSLError as error:
        # Firefox goes on writing when it is told that the server leaves.
        if error.reason != "APPLICATION_DATA_AFTER_CLOSE_NOTIFY":
            raise


# The client


class Client:
    """One connection."""

    def __init__(self):
        import h2.config
        import h2.connection

        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", options.port))
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.h2.initiate_connection()
        self.queues = {}
        self.talks = {}
        self.heard = 0
        self.flush()
        while not self.h2.remote_settings.enable_connect_protocol:
            self.read()

    def flush(self):
        """Writes what flow control allows."""
        for stream, queue in self.queues.items():
            while queue:
                window = self.h2.local_flow_control_window(stream)
                size = min(window, self.h2.max_outbound_frame_size, len(queue))
                if size == 0:
                    break
                self.h2.send_data(stream, bytes(queue[:size]))
                del queue[:size]
        data = self.h2.data_to_send()
        if data:
            now = time.monotonic_ns()
            for talk in self.talks.values():
                talk.began = talk.began or now
            self.socket.sendall(data)

    def read(self):
        import h2.events

        data = self.socket.recv(65536)
        self.heard = time.monotonic_ns()
        assert data, "the server has left"
        for event in self.h2.receive_data(data):
            talk = self.talks.get(getattr(event, "stream_id", None))
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            if talk:
                talk.event(event)
        self.flush()

    def open(self, headers):
        stream = self.h2.get_next_available_stream_id()
        self.queues[stream] = bytearray()
        self.h2.send_headers(stream, headers, end_stream=headers[0][1] == "GET")
        return stream

    def page(self):
        self.open([
            (":method", "GET"), (":scheme", "https"), (":path", "/page"),
            (":authority", "localhost"), ("cookie", "secret=1"),
        ])


class Talk:
    """One WebSocket on one stream."""

    def __init__(self, client):
        headers = [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"),
            (":path", "/chat?token=secret"), (":authority", "localhost"),
            ("sec-websocket-version", "13"),
        ]
        if options.deflate:
            headers.append(("sec-websocket-extensions", "permessage-deflate"))
        self.client = client
        self.stream = client.open(headers)
        client.talks[self.stream] = self
        self.websocket = None
        self.asked = 0
        self.began = 0
        self.text = ""
        self.is_over = False

    def event(self, event):
        import h2.events

        if isinstance(event, h2.events.ResponseReceived):
            self.begin(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived) and self.websocket:
            self.websocket.receive_data(event.data)
            self.hear()
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.is_over = True

    def begin(self, headers):
        from wsproto.connection import Connection, ConnectionType
        from wsproto.extensions import PerMessageDeflate

        assert headers[":status"] == "200", headers
        extensions = []
        if options.deflate:
            extensions.append(PerMessageDeflate())
            extensions[0].finalize(headers["sec-websocket-extensions"])
        self.websocket = Connection(ConnectionType.CLIENT, extensions)
        self.ask()

    def say(self, event):
        self.client.queues[self.stream] += self.websocket.send(event)

    def ask(self):
        from wsproto.events import CloseConnection, TextMessage

        if self.asked == options.requests:
            return self.say(CloseConnection(code=1000))
        self.asked += 1
        request = {
            "jsonrpc": "2.0", "id": self.asked, "method": "echo",
            "params": {"echo": "x" * options.size, "stream": self.stream},
        }
        message = json.dumps(request)
        record(self.stream, "sent", message)
        self.began = 0
        self.say(TextMessage(data=message))

    def hear(self):
        from wsproto.events import CloseConnection, TextMessage

        for event in self.websocket.events():
            if isinstance(event, CloseConnection):
                # No END_STREAM: hypercorn 0.18 has let go of the stream and would fail.
                self.is_over = True
            elif isinstance(event, TextMessage):
                self.text += event.data
                if event.message_finished:
                    times_ns.append(self.client.heard - self.began)
                    record(self.stream, "received", self.text)
                    self.text = ""
                    self.ask()


def talk():
    client = Client()
    talks = [Talk(client) for _ in range(options.streams)]
    pages = 0
    client.flush()
    while not all(talk.is_over for talk in talks):
        if pages < options.pages:
            client.page()
            pages += 1
        client.read()
    client.flush()
    return client


if options.role == "server":
    asyncio.run(serve())
    summary(len(times_ns))
else:
    print("ready", flush=True)
    sys.stdin.readline()
    connection = talk()
    summary(len(times_ns))
    sys.stdin.read()
