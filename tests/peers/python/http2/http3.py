"""A WebSocket over HTTP/3 (RFC 9220): `aioquic` on both sides, over QUIC. wstap does not see it."""

import argparse
import asyncio
import json
import ssl
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--log", required=True)
parser.add_argument("--port", type=int)
parser.add_argument("--requests", type=int, default=20)
options = parser.parse_args()
open(options.log, "w").close()
answered = 0


class Peer(QuicConnectionProtocol):
    """One end of a connection with one WebSocket."""

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)
        self.websocket = None
        self.heard = asyncio.Event()

    def quic_event_received(self, event):
        for it in self.http.handle_event(event):
            if isinstance(it, HeadersReceived):
                self.begin(it)
            elif isinstance(it, DataReceived) and self.websocket:
                self.hear(it)

    def begin(self, event):
        server = options.role == "server"
        if server:
            self.http.send_headers(event.stream_id, [(b":status", b"200")])
            self.transmit()
        self.websocket = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
        self.heard.set()

    def hear(self, event):
        global answered
        self.websocket.receive_data(event.data)
        for message in self.websocket.events():
            if not isinstance(message, TextMessage):
                continue
            answered += 1
            self.heard.set()
            if options.role == "server":
                request = json.loads(message.data)
                self.say(event.stream_id, {"jsonrpc": "2.0", "id": request["id"], "result": 1})

    def say(self, stream, message):
        data = self.websocket.send(TextMessage(data=json.dumps(message)))
        self.http.send_data(stream, data, False)
        self.transmit()


async def line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def listen():
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["h3"])
    configuration.load_cert_chain(options.certificate, options.key)
    server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Peer)
    print(server._transport.get_extra_info("sockname")[1], flush=True)
    await line()


async def talk():
    print("ready", flush=True)
    await line()
    configuration = QuicConfiguration(alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE)
    there = connect("127.0.0.1", options.port, configuration=configuration, create_protocol=Peer)
    async with there as peer:
        stream = peer._quic.get_next_available_stream_id()
        request = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "https"}
        request |= {":path": "/chat", ":authority": "localhost"}
        fields = [(name.encode(), value.encode()) for name, value in request.items()]
        peer.http.send_headers(stream, fields)
        peer.transmit()
        await peer.heard.wait()
        for number in range(options.requests):
            peer.heard.clear()
            peer.say(stream, {"jsonrpc": "2.0", "id": number, "method": "echo"})
            await peer.heard.wait()
        print(json.dumps({"requests": answered, "median_ns": 0}), flush=True)
        await line()


asyncio.run(listen() if options.role == "server" else talk())
if options.role == "server":
    print(json.dumps({"requests": answered, "median_ns": 0}), flush=True)
