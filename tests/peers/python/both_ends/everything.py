"""A process in which there is something of all that the dashboard shows: requests and failures, streams, a feed with
faults, heartbeats, refused and ended connections, broken rules. Server and clients are one process; the clients
begin with a line of input, and go on until it ends.
"""

import argparse
import asyncio
import http
import itertools
import json
import logging
import ssl
import sys
import time

import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

parser = argparse.ArgumentParser()
parser.add_argument("--certificate", required=True)
parser.add_argument("--key", required=True)
parser.add_argument("--log", required=True)
options = parser.parse_args()

# Broken rules are meant.
logging.getLogger("websockets").setLevel(logging.CRITICAL)

# Requests of a connection, before it is closed and another is opened.
REQUESTS = 20
# Every so many messages of the feed one of each fault.
FAULTS_EVERY = 20


async def answer_requests(connection):
    async for message in connection:
        request = json.loads(message)
        reply = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "order.cancel":
            reply["error"] = {"code": -1, "message": "no such order"}
        else:
            reply["result"] = True
        await connection.send(json.dumps(reply))
        if request["method"] == "order.place":
            # An answer that nobody has asked for.
            await connection.send(json.dumps({"jsonrpc": "2.0", "id": -1, "result": True}))


async def answer_subscriptions(connection):
    async for message in connection:
        asked = json.loads(message)
        if asked["type"] == "connection_init":
            await connection.send('{"type":"connection_ack"}')
        elif asked["type"] == "ping":
            await connection.send('{"type":"pong"}')
        elif asked["type"] == "subscribe":
            for number in range(4):
                item = {"id": asked["id"], "type": "next", "payload": {"data": {"n": number}}}
                await connection.send(json.dumps(item))
                await asyncio.sleep(0.01)
            await connection.send(json.dumps({"id": asked["id"], "type": "complete"}))


def trades():
    """Times relative to now, in milliseconds, and numbers: with holes, repetitions, and all else."""
    number = 1000
    for count in itertools.count():
        fault = count % FAULTS_EVERY
        number += 2 if fault == 7 else 1
        made = 5000 if fault == 3 else -20
        if fault == 12:
            yield made, number
            yield made, number
        elif fault == 15:
            yield made, number
            yield made, number - 3
        elif fault == 17:
            yield made, "no number"
        else:
            yield made, number


async def feed(connection):
    for made, number in trades():
        made += int(time.time() * 1000)
        trade = {"e": "trade", "E": made, "s": "BTCUSDT", "t": number, "p": "1.00"}
        await connection.send(json.dumps(trade))
        await asyncio.sleep(0.02)


SERVICES = {"/requests": answer_requests, "/streams": answer_subscriptions, "/feed": feed}


async def serve_one(connection):
    await SERVICES[connection.request.path](connection)


def refuse(connection, request):
    if request.path not in SERVICES:
        return connection.respond(http.HTTPStatus.FORBIDDEN, "no\n")


async def ask(url, tls):
    numbers = itertools.count()
    while True:
        async with connect(f"{url}/requests", ssl=tls, ping_interval=0.2) as connection:
            for number in itertools.islice(numbers, REQUESTS):
                method = ["quote.get", "order.place", "order.cancel"][number % 3]
                request = {"jsonrpc": "2.0", "id": number, "method": method}
                await connection.send(json.dumps(request))
                while json.loads(await connection.recv())["id"] != number:
                    pass
                await asyncio.sleep(0.02)


async def subscribe(url, tls):
    name = "graphql-transport-ws"
    async with connect(f"{url}/streams", ssl=tls, subprotocols=[name]) as connection:
        await connection.send('{"type":"connection_init"}')
        await connection.recv()
        for number in itertools.count():
            payload = {"operationName": "Ticks", "query": "subscription Ticks { n }"}
            asked = {"id": str(number), "type": "subscribe", "payload": payload}
            await connection.send(json.dumps(asked))
            while json.loads(await connection.recv())["type"] != "complete":
                pass
            await connection.send('{"type":"ping"}')
            await connection.recv()


async def follow(url, tls):
    async with connect(f"{url}/feed", ssl=tls) as connection:
        async for _ in connection:
            pass


async def be_refused(url, tls):
    while True:
        try:
            async with connect(f"{url}/closed", ssl=tls):
                pass
        except websockets.exceptions.InvalidStatus:
            await asyncio.sleep(0.3)


async def break_rules(port, tls):
    """Says goodbye with a code that is never sent."""
    head = "GET /requests HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    goodbye = bytes([0x88, 0x82, 0, 0, 0, 0]) + (1005).to_bytes(2, "big")
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(goodbye)
        await reader.read()
        writer.close()
        await asyncio.sleep(0.3)


async def until_told():
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def main():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(options.certificate, options.key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    settings = {"process_request": refuse, "select_subprotocol": lambda _, offered: next(iter(offered), None)}
    async with serve(serve_one, "127.0.0.1", 0, ssl=server, **settings) as serving:
        port = serving.sockets[0].getsockname()[1]
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        url = f"wss://127.0.0.1:{port}"
        clients = [ask, subscribe, follow, be_refused]
        tasks = [asyncio.create_task(client_of(url, client)) for client_of in clients]
        tasks.append(asyncio.create_task(break_rules(port, client)))
        told = asyncio.create_task(until_told())
        # A client that fails ends it all.
        done, _ = await asyncio.wait([told, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done:
            task.result()


asyncio.run(main())
