"""A wss JSON-RPC server over `websockets` that keeps its own log of what it saw.

Prints its port, serves until standard input ends, then prints a summary as JSON. Every message is
logged to --log as `connection direction type base64`, and the service time of every request is
measured here, so that wstap's numbers can be held against it.
"""

import argparse
import asyncio
import base64
import json
import ssl
import statistics
import sys
import threading
import time

import websockets.asyncio.server
import websockets.sync.server

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--sync", action="store_true", help="threads and blocking sockets")
parser.add_argument("--plain", action="store_true", help="ws:// instead of wss://")
parser.add_argument("--compression", choices=["deflate"], default=None)
parser.add_argument("--late-after", type=int, help="answers, from which on ids stand last")
options = parser.parse_args()

# How long the other side may take is for the test to say: the machine may be busy.
SETTINGS = {
    "compression": options.compression,
    "max_size": None,
    "open_timeout": None,
    "ping_interval": None,
}
log = open(options.log, "w")
lock = threading.Lock()
service_ns = []
requests = 0


def record(connection, direction, message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    with lock:
        log.write(f"{connection} {direction} {kind} {base64.b64encode(data).decode()}\n")


def answer(message):
    """The reply to a request and the pause before it; None for what is no request."""
    global requests
    try:
        request = json.loads(message)
    except ValueError:
        return None, 0
    if "method" not in request or "id" not in request:
        return None, 0
    requests += 1
    pause = request.get("params", {}).get("pause", 0)
    reply = {"jsonrpc": "2.0", "id": request["id"]}
    if request["method"] == "fail":
        reply["error"] = {"code": -32000, "message": "as asked"}
    else:
        reply["result"] = request.get("params", {}).get("echo")
    if options.late_after is not None and requests > options.late_after:
        reply["id"] = reply.pop("id")
    return json.dumps(reply), pause


async def handle_async(websocket):
    async for message in websocket:
        began = time.monotonic_ns()
        record(websocket.id, "received", message)
        reply, pause = answer(message)
        if reply is None:
            continue
        if pause:
            await asyncio.sleep(pause)
        await websocket.send(reply)
        service_ns.append(time.monotonic_ns() - began)
        record(websocket.id, "sent", reply)


def handle_sync(websocket):
    for message in websocket:
        began = time.monotonic_ns()
        record(websocket.id, "received", message)
        reply, pause = answer(message)
        if reply is None:
            continue
        if pause:
            time.sleep(pause)
        websocket.send(reply)
        service_ns.append(time.monotonic_ns() - began)
        record(websocket.id, "sent", reply)


def summary():
    log.close()
    median = statistics.median(service_ns) if service_ns else 0
    print(json.dumps({"requests": requests, "median_ns": median}), flush=True)


async def serve_async(context):
    stop = asyncio.get_running_loop().create_future()
    serve = websockets.asyncio.server.serve
    async with serve(handle_async, "127.0.0.1", 0, ssl=context, **SETTINGS) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        loop.run_in_executor(None, sys.stdin.read).add_done_callback(
            lambda _: stop.done() or stop.set_result(None)
        )
        await stop
    summary()


def serve_sync(context):
    serve = websockets.sync.server.serve
    with serve(handle_sync, "127.0.0.1", 0, ssl=context, **SETTINGS) as server:
        print(server.socket.getsockname()[1], flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown())).start()
        server.serve_forever()
    summary()


context = None
if not options.plain:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
if options.sync:
    if context:
        # A client's thread would take up tickets while another one writes, and OpenSSL allows only one of
        # them at a time: once, a request got lost by that.
        context.num_tickets = 0
    serve_sync(context)
else:
    asyncio.run(serve_async(context))
