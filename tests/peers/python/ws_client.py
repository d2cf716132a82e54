"""A wss JSON-RPC client over `websockets` that keeps its own log of what it saw.

Prints `ready`, waits for a line on standard input, sends --requests over --connections, then
prints a summary as JSON. Log and measurements as in ws_server.py.
"""

import argparse
import asyncio
import base64
import json
import ssl
import statistics
import sys
import time

import websockets.asyncio.client
import websockets.sync.client

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--sync", action="store_true")
parser.add_argument("--plain", action="store_true", help="ws:// instead of wss://")
parser.add_argument("--compression", choices=["deflate"], default=None)
parser.add_argument("--connections", type=int, default=1)
parser.add_argument("--requests", type=int, default=10, help="in all")
parser.add_argument("--size", type=int, default=20, help="bytes echoed by each request")
parser.add_argument("--pause", type=float, default=0, help="seconds the server takes")
parser.add_argument("--fail-every", type=int, default=0)
parser.add_argument("--notify-every", type=int, default=0)
parser.add_argument("--stay", action="store_true", help="connected until standard input ends")
parser.add_argument("--binary", type=int, default=0, help="bytes of one binary message at the end")
options = parser.parse_args()

scheme = "ws" if options.plain else "wss"
# How long the other side may take is for the test to say: the machine may be busy.
SETTINGS = {
    "compression": options.compression,
    "max_size": None,
    "open_timeout": None,
    "ping_interval": None,
}
url = f"{scheme}://127.0.0.1:{options.port}/rpc?token=secret"
log = open(options.log, "w")
turnaround_ns = []
answered = 0


def record(connection, direction, message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    log.write(f"{connection} {direction} {kind} {base64.b64encode(data).decode()}\n")


def script(connection):
    """What one connection says: (message, whether an answer is waited for)."""
    for number in range(options.requests // options.connections):
        method = "echo"
        if options.fail_every and number % options.fail_every == 0:
            method = "fail"
        params = {"echo": "x" * options.size, "connection": connection}
        if options.pause:
            params["pause"] = options.pause
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        yield json.dumps(request), True
        if options.notify_every and number % options.notify_every == 0:
            yield json.dumps({"jsonrpc": "2.0", "method": "told", "params": {}}), False
    if options.binary:
        yield bytes(options.binary), False


def measured(began):
    global answered
    answered += 1
    turnaround_ns.append(time.monotonic_ns() - began)


async def talk_async(connection, context):
    async with websockets.asyncio.client.connect(url, ssl=context, **SETTINGS) as websocket:
        for message, wait in script(connection):
            began = time.monotonic_ns()
            await websocket.send(message)
            record(connection, "sent", message)
            if wait:
                reply = await websocket.recv()
                measured(began)
                record(connection, "received", reply)
        if options.stay:
            await stay


def talk_sync(connection, context):
    with websockets.sync.client.connect(url, ssl=context, **SETTINGS) as websocket:
        for message, wait in script(connection):
            began = time.monotonic_ns()
            websocket.send(message)
            record(connection, "sent", message)
            if wait:
                reply = websocket.recv()
                measured(began)
                record(connection, "received", reply)


async def talk_all(context):
    global stay
    if options.stay:
        stay = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    await asyncio.gather(*(talk_async(c, context) for c in range(options.connections)))


context = None
if not options.plain:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
print("ready", flush=True)
sys.stdin.readline()
if options.sync:
    for connection in range(options.connections):
        talk_sync(connection, context)
else:
    asyncio.run(talk_all(context))
log.close()
median = statistics.median(turnaround_ns) if turnaround_ns else 0
print(json.dumps({"answered": answered, "median_ns": median}), flush=True)
sys.stdin.read()
