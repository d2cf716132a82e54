"""`make soak`: a Go server under load, tapped and let go again and again.

2,000 connections ask as fast as they are answered, the server collects garbage all the time, and
wstap attaches and detaches under load. In each round the load is held back for a moment after it has
attached, and again before it detaches: in between, what wstap has counted must be what the server has
counted. Fails with the first difference; prints the rates before, in between and after.
"""

import argparse
import json
import re
import subprocess
import sys
import time
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("wstap")
parser.add_argument("soak", help="the program made from tests/peers/go/soak.go")
parser.add_argument("--minutes", type=float, default=10)
parser.add_argument("--connections", type=int, default=2000)
parser.add_argument("--rounds", type=int, default=50)
options = parser.parse_args()


def start(*command):
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def line(process):
    text = process.stdout.readline()
    if not text:
        sys.exit(f"{process.args[0]} has ended: {process.wait()}")
    return text.strip()


def ask(process, question):
    process.stdin.write(question + "\n")
    process.stdin.flush()
    return [int(number) for number in line(process).split()]


def passed(server):
    """What the server has received and sent, once it has counted its last answer, too: the client
    has that before."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        received, sent, _ = ask(server, "count")
        if received == sent:
            return received, sent
        time.sleep(0.05)
    sys.exit(f"the server has received {received} messages and sent {sent}")


class Tap:
    def __init__(self, pid):
        self.process = start(options.wstap, "--pid", str(pid), "--listen", "127.0.0.1:0")
        self.url = re.search(r"http://\S+", line(self.process))[0]

    def metrics(self):
        text = urllib.request.urlopen(self.url).read().decode()
        samples = [row.rsplit(" ", 1) for row in text.splitlines() if not row.startswith("#")]
        return {series: float(value) for series, value in samples}

    def now(self):
        """Received, sent, answered, and all metrics."""
        metrics = self.metrics()
        names = ["packet_recv_count", "packet_send_count", "turnaround_count"]
        return [int(metrics[name]) for name in names], metrics

    def settled(self):
        """The counts, once nothing more comes."""
        before = None
        while True:
            counts, metrics = self.now()
            if counts == before:
                return counts, metrics
            before = counts
            time.sleep(0.3)

    def counts(self, expected):
        """The counts, once they are as expected, or when that has taken too long."""
        deadline = time.monotonic() + 30
        while True:
            counts, metrics = self.now()
            if counts[:2] == expected or time.monotonic() > deadline:
                return counts, metrics
            time.sleep(0.05)

    def recognised(self):
        """Waits until every connection has been recognised by its frames."""
        series = re.compile(r'wstap_connections\{.*decode="full"')
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            metrics = self.metrics()
            if sum(n for name, n in metrics.items() if series.match(name)) == options.connections:
                return
            time.sleep(0.2)
        sys.exit("not every connection is recognised")

    def end(self):
        self.process.terminate()
        if self.process.wait(30) != 0:
            sys.exit(f"wstap has ended with {self.process.returncode}")


def rate(server, seconds):
    received, began = ask(server, "count")[0], time.monotonic()
    time.sleep(seconds)
    return (ask(server, "count")[0] - received) / (time.monotonic() - began)


def lost(metrics):
    return sum(value for series, value in metrics.items() if series.startswith("wstap_lost_bytes"))


def main():
    server = start(options.soak, "server")
    port = line(server)
    client = start(options.soak, "client", port, str(options.connections))
    assert line(client) == "ready"
    ask(client, "resume")
    time.sleep(5)
    before = rate(server, 20)
    print(f"before: {before:.0f} messages/s", flush=True)
    pause = options.minutes * 60 / options.rounds
    attached, counted = [], 0
    for number in range(options.rounds):
        began = time.monotonic()
        tap = Tap(server.pid)
        tap.recognised()
        ask(client, "pause")
        first, _ = tap.settled()
        at_first = passed(server)
        ask(client, "resume")
        attached.append(rate(server, max(pause - 5, 1)))
        ask(client, "pause")
        within = [now - then for now, then in zip(passed(server), at_first)]
        expected = [first[0] + within[0], first[1] + within[1]]
        last, metrics = tap.counts(expected)
        if last[:2] != expected or lost(metrics):
            sys.exit(f"round {number}: counted {last}, the server says {expected}, "
                     f"{lost(metrics)} bytes lost")
        counted += within[0]
        ask(client, "resume")
        tap.end()
        time.sleep(max(0, pause - (time.monotonic() - began)))
        print(f"round {number + 1}: {within[0]} messages, {attached[-1]:.0f}/s", flush=True)
    after = rate(server, 20)
    print(json.dumps({
        "connections": options.connections,
        "rounds": options.rounds,
        "messages_counted_each_way": counted,
        "lost": 0,
        "garbage_collections": ask(server, "count")[2],
        "rate_before": round(before),
        "rate_attached": round(sum(attached) / len(attached)),
        "rate_after": round(after),
    }))
    for process in (client, server):
        process.kill()
        process.wait()


main()
