"""Writes the corpus of valid traffic that mutation starts from. The ELF images are the fixtures of
`symbols/`. src/lib.rs describes the layout of an input."""

import hashlib
import json
import pathlib
import struct
import tomllib
import zlib

HERE = pathlib.Path(__file__).parent
PROTOCOLS = HERE / "../src/matching/protocols"
KEY = bytes.fromhex("37fa213d")
SENT, RECEIVED = 0, 0x8000

REQUEST = (
    b"GET /rpc HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s\r\n"
)
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def write(target, name, flags, *pieces):
    path = HERE / "corpus" / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(struct.pack(">H", way | len(data)) + data for way, data in pieces)
    path.write_bytes(bytes(flags) + body)


def frame(first, payload, masked=False):
    mask = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = struct.pack("BB", first, mask | size)
    elif size < 65536:
        head = struct.pack(">BBH", first, mask | 126, size)
    else:
        head = struct.pack(">BBQ", first, mask | 127, size)
    if not masked:
        return head + payload
    return head + KEY + bytes(b ^ KEY[i % 4] for i, b in enumerate(payload))


def deflated(messages, bits=15):
    deflater = zlib.compressobj(9, zlib.DEFLATED, -bits)
    for message in messages:
        data = deflater.compress(message) + deflater.flush(zlib.Z_SYNC_FLUSH)
        yield data.removesuffix(b"\0\0\xff\xff")


def call(number, method="echo"):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": []}).encode()


def reply(number):
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": "größer"}).encode()


def tls(kind, *body):
    return bytes([kind, 3, 3]) + struct.pack(">H", sum(map(len, body))) + b"".join(body)


def encrypted(number):
    """A record as it looks without its key."""
    return tls(23, *(hashlib.sha256(bytes([number, part])).digest() for part in range(1 + number % 5)))


for chunk in range(8):
    asks = [(SENT, frame(0x81, call(n), True)) for n in range(3)]
    answers = [(RECEIVED, frame(0x81, reply(n))) for n in range(3)]
    write("stream", f"rpc/chunks-{chunk}", [chunk << 3], *asks, *answers)
whole = call(7)
fragments = (
    frame(0x01, whole[:9], True),
    frame(0x89, b"beat", True),
    frame(0x00, whole[9:20], True),
    frame(0x80, whole[20:], True),
)
ends = [(SENT, frame(0x88, struct.pack(">H", 1000) + b"bye", True)), (RECEIVED, frame(0x88, b""))]
write("stream", "fragments", [8], *((SENT, it) for it in fragments))
write("stream", "pong-and-close", [16], (SENT, fragments[1]), (RECEIVED, frame(0x8A, b"beat")), *ends)
write("stream", "as-server", [17], (RECEIVED, frame(0x81, call(1), True)), (SENT, frame(0x81, reply(1))))
write("stream", "long", [56], (SENT, frame(0x82, bytes(200), True)), (RECEIVED, frame(0x82, bytes(9000))))
compressed = list(deflated([call(n) for n in range(5)]))
for flags in (2, 4, 6):
    write("stream", f"deflate/flags-{flags}", [flags | 24], *((SENT, frame(0xC1, it, True)) for it in compressed))

for name, extensions in (("plain", b""), ("deflate", DEFLATE)):
    hello = [(SENT, REQUEST % extensions), (RECEIVED, ANSWER % extensions + frame(0x81, reply(1)))]
    write("upgrade", f"client-{name}", [8], *hello)
    write("upgrade", f"server-{name}", [16], *((way ^ RECEIVED, data) for way, data in hello))
get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
write("upgrade", "late", [24], (SENT, get), (RECEIVED, PAGE), (SENT, get), (RECEIVED, CHUNKED), *hello)
write("upgrade", "refused", [32], hello[0], (RECEIVED, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"), *hello)
damaged = (SENT, b"X" + hello[0][1])
write("upgrade", "given-up", [16], damaged, hello[1], (SENT, frame(0x81, call(1), True)))
write("upgrade", "mid-stream", [40], *((SENT, frame(0x81, call(n), True)) for n in range(6)))
hello = tls(22, b"\x01\0\0\x3c\x03\x03" + bytes(range(58)))
write("upgrade", "tls/hello", [16], (SENT, hello), (RECEIVED, tls(22, b"\x02\0\0\0")), (SENT, tls(20, b"\x01")))
records = b"".join(encrypted(n) for n in range(9))
write("upgrade", "tls/mid-stream", [24], (RECEIVED, records[20:500]), (RECEIVED, records[500:]))
write("upgrade", "tls/in-frames", [32], *((RECEIVED, frame(0x82, records[n : n + 600])) for n in range(0, 900, 300)))



def fields(*pairs):
    """A block of HPACK in which nothing is compressed, and everything goes into the table."""
    texts = [[it.encode() for it in pair] for pair in pairs]
    return b"".join(b"\x40" + bytes([len(n)]) + n + bytes([len(v)]) + v for n, v in texts)


def h2(kind, flags, stream, payload=b""):
    return bytes([kind, flags, stream]) + payload


connect = fields((":method", "CONNECT"), (":protocol", "websocket"), (":path", "/a?b"), (":authority", "a"))
agreed = fields((":status", "200"))
deflate = fields((":status", "200"), ("sec-websocket-extensions", "permessage-deflate"))
opened = [(SENT, h2(1, 4, 1, connect)), (RECEIVED, h2(1, 4, 1, agreed))]
said = [(SENT, h2(0, 0, 1, frame(0x81, call(1), True))), (RECEIVED, h2(0, 0, 1, frame(0x81, reply(1))))]
write("http2", "client", [8], *opened, *said, (SENT, h2(0, 1, 1)), (RECEIVED, h2(0, 1, 1)))
write("http2", "server", [17], *((way ^ RECEIVED, data) for way, data in opened + said))
write("http2", "answer-first", [24], *reversed(opened), *said, (SENT, h2(3, 0, 1, b"\0\0\0\x08")))
again = [(SENT, h2(1, 0, 3, b"\xc1\xc0")), (SENT, h2(9, 4, 3, b"\xbf\xbe")), (RECEIVED, h2(1, 4, 3, b"\xbe"))]
write("http2", "indexed", [32], *opened, *again, (SENT, h2(0, 0, 3, frame(0x81, call(2), True))))
padded = (SENT, h2(0, 8, 1, b"\x03" + frame(0x81, call(3), True) + bytes(3)))
others = [(SENT, h2(8, 0, 0, bytes(4))), (RECEIVED, h2(6, 0, 0, bytes(8))), (RECEIVED, h2(5, 4, 1, bytes(4) + agreed))]
write("http2", "others-between", [40], *opened, padded, *others, *said)
squeezed = (SENT, h2(0, 0, 1, frame(0xC1, compressed[0], True)))
write("http2", "deflate", [16], opened[0], (RECEIVED, h2(1, 4, 1, deflate)), squeezed)
write("http2", "broken-head", [8], (SENT, h2(1, 4, 1, b"\xff\xff")), *said, *said)
write("http2", "refused", [8], opened[0], (RECEIVED, h2(1, 5, 1, fields((":status", "403")))))

END = 0x4000
for bits in (9, 15):
    texts = deflated([call(n) * 40 for n in range(4)], bits)
    write("inflate", f"bits-{bits}", [2], *((SENT | END, it) for it in texts))
write("inflate", "fragments", [2], (SENT, compressed[0][:5]), (SENT | END, compressed[0][5:]))
vectors = ["f248cdc9c90700", "f200110000", "000500faff48656c6c6f00", "f348cdc9c9070000",
           "f248050000 00ffff cac9c90700", "00"]
write("inflate", "rfc-7692", [2], *((RECEIVED | END, bytes.fromhex(it)) for it in vectors))
bomb = next(deflated([bytes(1 << 20)]))
write("inflate", "bomb", [4], *[(SENT | END, bomb)] * 3)


folder = HERE / "corpus" / "windows"
folder.mkdir(parents=True, exist_ok=True)
for way in (0, 1):
    (folder / f"true-{way}").write_bytes(bytes([way]) + bytes([0x1C, 3] * 24))
    (folder / f"later-{way}").write_bytes(bytes([way]) + bytes([0x1C, 3]) + bytes([0x1D, 3] * 23))


def record(conn, received, how, data):
    return bytes([conn | received << 2, how]) + struct.pack(">H", len(data)) + data


folder = HERE / "corpus" / "records"
folder.mkdir(parents=True, exist_ok=True)
opened = [record(c, 0, 0, REQUEST % b"") + record(c, 1, 0, ANSWER % b"") for c in range(2)]
said = [record(0, 0, 0, frame(0x81, call(n), True)) + record(0, 1, 0, frame(0x81, reply(n))) for n in range(4)]
(folder / "whole").write_bytes(b"".join(opened + said) + b"\xfc\0" + struct.pack(">HH", 900, 900))
(folder / "from-the-middle").write_bytes(b"".join(said * 2))
lost = bytes([0, 3]) + struct.pack(">H", 2) + b"\x81\xa0" + struct.pack(">H", 34)
(folder / "hole").write_bytes(b"".join(opened) + said[0] + lost + b"".join(said))

records = [encrypted(n) for n in range(9)]
begun = [bytes([4, 1]) + struct.pack(">H", 20) + it[:20] + struct.pack(">H", len(it) - 20) for it in records]
(folder / "tls-with-holes").write_bytes(b"".join(begun))

BINARY = 0x4000
for number, file in enumerate(sorted(PROTOCOLS.rglob("*.toml"), key=lambda it: it.name)):
    texts = []

    def collect(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "text":
                    texts.append((0, inner.encode()))
                if key == "hex":
                    texts.append((BINARY, bytes.fromhex(inner)))
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(tomllib.loads(file.read_text()))
    pieces = [((SENT if n % 2 else RECEIVED) | how, text[:2000]) for n, (how, text) in enumerate(texts)]
    # Of each kind some, and no piece of many.
    pieces = pieces[:8] + pieces[8:][-8:]
    for how, forced in (("detected", 0), ("forced", number + 1)):
        write("rules", f"{file.stem}/{how}", [0, forced], *pieces)


def number(value):
    """An unsigned number of postcard."""
    coded = b""
    while value > 127:
        coded, value = coded + bytes([value & 127 | 128]), value >> 7
    return coded + bytes([value])


def text(value):
    return number(len(value)) + value


def stored(variant, *fields):
    return number(variant) + b"".join(it if isinstance(it, bytes) else number(it) for it in fields)


def passed(received, offset, data, start=1):
    conn = b"".join(map(number, (42, 7, 0x7F0000001234, 0, 43)))
    # Of a difference of times the lowest bit is the sign.
    return stored(0, conn, 2000, received, offset, len(data), 0, start, len(data)) + data


folder = HERE / "corpus" / "recordings"
folder.mkdir(parents=True, exist_ok=True)
conn = b"".join(map(number, (42, 7, 0x7F0000001234, 0, 43)))
request, answer = REQUEST % b"", ANSWER % b""
heads = [passed(0, 0, request), passed(1, 0, answer)]
ask, told = frame(0x81, call(1), True), frame(0x81, reply(1))
said = [passed(0, len(request), ask, 2), passed(1, len(answer), told, 2)]
around = [stored(5, 42, text(b"python")), stored(6, text(b"{}")), stored(2, 2000)]
ends = [
    stored(7, text(b"ring_full"), 3, 4000),
    stored(8, 1, 2),
    stored(1, conn, 2000, len(request + ask), len(answer + told)),
    stored(3, 42, 2000),
    stored(4, 2000),
    stored(9, text(b"it was stopped")),
]
for name, border, pieces in (
    ("whole", 0, around + heads + said + ends),
    ("two-blocks", sum(map(len, heads)), heads + said + ends),
    ("from-the-middle", 0, said * 3),
):
    (folder / name).write_bytes(struct.pack(">H", border) + b"".join(pieces))
