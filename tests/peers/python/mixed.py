"""Both ends of wss connections on which everything that messages can be made of occurs.

Text and binary, empty and long, in one frame and in fragments, with pings between. The server
answers every message. Each end logs every message as `connection direction type base64` and
counts the data frames that it sends.

The server prints its port. The client prints `ready`, and on each line of its standard input sends
--messages over --connections, which stay open, and prints a summary as JSON; it closes them when
its input ends. A line on the server's input makes it forget what it has logged and counted.
"""

import argparse
import asyncio
import base64
import json
import random
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

parser = argparse.ArgumentParser()
parser.add_argument("role", choices=["server", "client"])
parser.add_argument("--certificate")
parser.add_argument("--key")
parser.add_argument("--port", type=int)
parser.add_argument("--log", required=True)
DEFLATE = ["off", "default", "no-takeover", "server-no-takeover", "client-no-takeover", "bits"]
parser.add_argument("--deflate", choices=DEFLATE, default="off")
parser.add_argument("--bits", type=int)
parser.add_argument("--connections", type=int, default=1)
parser.add_argument("--messages", type=int, default=100, help="in all, at each go")
options = parser.parse_args()

WORDS = ["order", "book", "ETH-USD", "größer", "価格", "😀", "\\u0041", "0.00012345", "null"]
SIZES = [0, 1, 125, 126, 127, 1000, 5000]
# Requests that wait for an answer at a time.
BATCH = 8

log = open(options.log, "w")
sent_frames = 0


def record(connection, direction, message):
    kind = "text" if isinstance(message, str) else "binary"
    data = message.encode() if isinstance(message, str) else message
    log.write(f"{connection} {direction} {kind} {base64.b64encode(data).decode()}\n")


def flush():
    log.flush()
    print(json.dumps({"sent_frames": sent_frames, "messages": options.messages}), flush=True)


def message(chance, number):
    if number % 5 == 3:
        return chance.randbytes(70_000 if number % 97 == 3 else chance.choice(SIZES))
    words = chance.choices(WORDS, k=chance.choice([0, 1, 10, 300]))
    params = {"words": words, "salt": chance.random()}
    return json.dumps(
        {"jsonrpc": "2.0", "id": number, "method": "mix", "params": params},
        ensure_ascii=number % 2 == 0,
    )


def answer(message):
    if isinstance(message, bytes):
        return message[::-1]
    request = json.loads(message)
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": request["params"]})


async def say(websocket, connection, message, number):
    global sent_frames
    record(connection, "sent", message)
    if number % 4 == 1:
        third = len(message) // 3
        await websocket.send([message[:third], message[third : 2 * third], message[2 * third :]])
        # The library ends fragments with an empty frame.
        sent_frames += 4
    else:
        await websocket.send(message)
        sent_frames += 1
    if number % 11 == 0:
        await websocket.ping()


async def handle(websocket):
    connection = websocket.id
    number = 0
    async for message in websocket:
        record(connection, "received", message)
        await say(websocket, connection, answer(message), number)
        number += 1


def server_deflate():
    return {
        "off": lambda: [],
        "default": lambda: [ServerPerMessageDeflateFactory()],
        "no-takeover": lambda: [ServerPerMessageDeflateFactory(True, True)],
        "server-no-takeover": lambda: [ServerPerMessageDeflateFactory(True, False)],
        "client-no-takeover": lambda: [ServerPerMessageDeflateFactory(False, True)],
        "bits": lambda: [
            ServerPerMessageDeflateFactory(
                server_max_window_bits=options.bits, client_max_window_bits=options.bits
            )
        ],
    }[options.deflate]()


def client_deflate():
    return {
        "off": lambda: [],
        "default": lambda: [ClientPerMessageDeflateFactory(client_max_window_bits=True)],
        "no-takeover": lambda: [ClientPerMessageDeflateFactory(True, True)],
        "server-no-takeover": lambda: [ClientPerMessageDeflateFactory(True, False)],
        "client-no-takeover": lambda: [ClientPerMessageDeflateFactory(False, True)],
        "bits": lambda: [
            ClientPerMessageDeflateFactory(
                server_max_window_bits=options.bits, client_max_window_bits=options.bits
            )
        ],
    }[options.deflate]()


# With compression=None the library adds no extension of its own. How long the other side may take
# is for the test to say: the machine may be busy.
SETTINGS = {"compression": None, "max_size": None, "open_timeout": None, "ping_interval": None}


async def line():
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def server():
    global sent_frames
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    serving = serve(
        handle, "127.0.0.1", 0, ssl=context, extensions=server_deflate() or None, **SETTINGS
    )
    async with serving as listener:
        print(listener.sockets[0].getsockname()[1], flush=True)
        while await line():
            log.seek(0)
            log.truncate()
            sent_frames = 0
            print("forgotten", flush=True)
    flush()


async def talk(websocket, connection, first, count):
    chance = random.Random(f"{connection} {first}")
    number = first
    while number < first + count:
        batch = range(number, min(number + BATCH, first + count))
        for number in batch:
            await say(websocket, connection, message(chance, number), number)
        for _ in batch:
            record(connection, "received", await websocket.recv())
        number += 1


async def client():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"wss://127.0.0.1:{options.port}/mixed?token=secret"
    print("ready", flush=True)
    global sent_frames
    websockets = []
    first = 0
    while await line():
        if not websockets:
            for _ in range(options.connections):
                extensions = client_deflate() or None
                websockets.append(
                    await connect(url, ssl=context, extensions=extensions, **SETTINGS)
                )
        log.seek(0)
        log.truncate()
        sent_frames = 0
        count = options.messages // options.connections
        await asyncio.gather(
            *(talk(websocket, c, first, count) for c, websocket in enumerate(websockets))
        )
        first += count
        flush()
    for websocket in websockets:
        await websocket.close()


asyncio.run(server() if options.role == "server" else client())
