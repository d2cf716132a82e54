"""A client of server.py with busy connections, which keeps its own log of both directions.

Prints `ready`; a line on standard input lets it begin. It prints `busy` once there have been a few
answers on each connection, and goes on until the next line. Then it waits for the answers that are
due, prints a summary as JSON, and closes its connections when standard input ends.
"""

import argparse
import asyncio
import base64
import json
import random
import ssl
import sys
import threading

parser = argparse.ArgumentParser()
parser.add_argument("--port", required=True)
parser.add_argument("--log", required=True)
parser.add_argument("--stack", choices=["websockets", "threads", "aiohttp"], default="websockets")
parser.add_argument("--connections", type=int, default=1)
parser.add_argument("--bits", type=int, default=15)
parser.add_argument("--pause", type=float, default=0, help="seconds between answer and request")
parser.add_argument("--depth", type=int, default=1, help="requests that wait for an answer at a time")
options = parser.parse_args()

URL = f"wss://127.0.0.1:{options.port}/rpc?token=secret"
FIRST = 3
WORDS = ["order", "book", "ETH-USD", "größer", "価格", "0.00012345", "null", "quick"]
log = []
answers = [0] * options.connections
stop = threading.Event()


def record(connection, direction, message):
    data = base64.b64encode(message.encode()).decode()
    log.append(f"{connection} {direction} text {data}\n")


def request(connection, number, chance):
    """Much the same on all connections; some are longer."""
    params = {"echo": "x" * 20, "connection": connection}
    if number % 4 == 0:
        params["words"] = chance.choices(WORDS, k=chance.choice([3, 30, 300]))
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "echo", "params": params})


def answered(connection, reply):
    record(connection, "received", reply)
    answers[connection] += 1
    if answers[connection] == FIRST and min(answers) >= FIRST:
        print("busy", flush=True)


def context():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def settings():
    from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

    # Not every server names the largest window when it agrees to it.
    bits = options.bits if options.bits < 15 else None
    factory = ClientPerMessageDeflateFactory(
        server_max_window_bits=bits, client_max_window_bits=bits or True
    )
    return {
        "ssl": context(),
        "extensions": [factory],
        "compression": None,
        "max_size": None,
        "open_timeout": None,
        "ping_interval": None,
    }


async def talk(connection, send, receive):
    chance = random.Random(connection)
    number = 0
    while not stop.is_set():
        for _ in range(options.depth):
            message = request(connection, number, chance)
            number += 1
            record(connection, "sent", message)
            await send(message)
        for _ in range(options.depth):
            answered(connection, await receive())
        if options.pause:
            await asyncio.sleep(options.pause * (0.5 + random.random()))


def talk_in_thread(connection, websocket):
    # Nothing in it waits but the sockets.
    async def send(message):
        websocket.send(message)

    async def receive():
        return websocket.recv()

    asyncio.run(talk(connection, send, receive))


async def over_websockets():
    from websockets.asyncio.client import connect

    sockets = [await connect(URL, **settings()) for _ in range(options.connections)]
    await asyncio.gather(*(talk(c, it.send, it.recv) for c, it in enumerate(sockets)))
    return [it.close for it in sockets]


async def over_aiohttp():
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    connect = lambda: session.ws_connect(URL, ssl=context(), compress=options.bits, max_msg_size=0)
    sockets = [await connect() for _ in range(options.connections)]
    await asyncio.gather(*(talk(c, it.send_str, it.receive_str) for c, it in enumerate(sockets)))
    return [it.close for it in sockets] + [session.close]


async def over_threads():
    from websockets.sync.client import connect

    sockets = [connect(URL, **settings()) for _ in range(options.connections)]
    talks = [threading.Thread(target=talk_in_thread, args=it) for it in enumerate(sockets)]
    for it in talks:
        it.start()
    for it in talks:
        await asyncio.to_thread(it.join)
    return [lambda it=it: asyncio.to_thread(it.close) for it in sockets]


async def main():
    over = {"websockets": over_websockets, "threads": over_threads, "aiohttp": over_aiohttp}
    closers = await over[options.stack]()
    with open(options.log, "w") as file:
        file.writelines(log)
    print(json.dumps({"answered": sum(answers), "median_ns": 0}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for close in closers:
        await close()


def wait_for_end():
    sys.stdin.readline()
    stop.set()


print("ready", flush=True)
sys.stdin.readline()
threading.Thread(target=wait_for_end, daemon=True).start()
asyncio.run(main())
