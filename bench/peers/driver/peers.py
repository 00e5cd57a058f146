"""The peers: what each needs, how it is started, and how many jobs a run of it has."""

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from . import servers
from .client import Client

HOME = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "windlass-peers"
PYTHON = os.environ.get("PEERS_PYTHON") or str(CACHE / "venv/bin/python")

RUST = HOME / "rust/target/release/windlass-peers"
EFFECTUM = HOME / "rust/effectum/target/release/windlass-peer-effectum"
RUSTQUEUE = HOME / "rust/rustqueue/target/release/windlass-peer-rustqueue"

NONE, PROCESS, DURABLE = "Memory", "Process", "Durable"


@dataclass
class Peer:
    """One job system with one set of settings."""

    name: str
    # In words, and the level of Windlass that promises the like.
    durability: str
    like: str
    # What has to be there: pairs of a test and what to do where it fails.
    needs: list
    # Starts it in a folder, and answers the client and the workers; the same program twice where it is embedded.
    start: Callable
    # Jobs of a run of each workload; none where it has no such thing.
    jobs: dict
    # Jobs a second that are tried for latency, from the first that it may keep up with.
    paces: tuple = (1_000, 500, 200, 100)
    # How many workers run while latency is measured, of those that there are.
    latency_workers: int = 1

    def missing(self):
        """What to install, or nothing."""
        for is_there, remedy in self.needs:
            if not is_there():
                return remedy
        return None


def has(name, package):
    """A program that a Debian package brings."""
    remedy = f"{name} is not installed: apt-get install --no-install-recommends {package}"
    return (lambda: servers.program(name), remedy)


def built(path, folder):
    """A Rust program of ours."""
    remedy = f"{path.name} is not built: cargo build --release --locked --manifest-path {folder}/Cargo.toml"
    return (path.exists, remedy)


def module(name):
    """A package for Node. It has to run, too."""
    home = HOME / "node/node_modules" / name
    return (lambda: shutil.which("node") and home.exists(),
            f"the npm package {name} is not installed: apt-get install nodejs npm, then npm ci in bench/peers/node")


def beanstalkd(flags):
    """beanstalkd with these flags for its log."""
    def start(processes, folder):
        port = servers.beanstalkd(processes, folder, flags)
        command = [sys.executable, HOME / "python/beanstalkd.py"]
        client = Client(processes, [*command, "client", str(port)], f"{folder}/client.log")
        return client, [Client(processes, [*command, "worker", str(port)], f"{folder}/worker.log")]
    return start


def node(script, server):
    """A client and two workers in Node."""
    def start(processes, folder):
        where = str(server(processes, folder))
        command = ["node", HOME / "node" / script]
        client = Client(processes, [*command, "client", where], f"{folder}/client.log")
        workers = [Client(processes, [*command, "worker", where], f"{folder}/worker-{n}.log") for n in range(2)]
        return client, workers
    return start


def redis(fsync):
    """A Redis that syncs its log like this."""
    return lambda processes, folder: servers.redis(processes, folder, fsync)


def sidekiq(processes, folder):
    """A client, and two of Sidekiq's own processes with ten threads each."""
    port = str(servers.redis(processes, folder, "everysec"))
    client = Client(processes, ["ruby", HOME / "ruby/sidekiq_client.rb", port], f"{folder}/client.log")
    command = ["sidekiq", "-r", HOME / "ruby/sidekiq_worker.rb", "-c", "10"]
    env = {"REDIS_PORT": port}
    workers = [Client(processes, command, f"{folder}/worker-{n}.log", env=env) for n in range(2)]
    return client, workers


def celery(processes, folder):
    """A client, and a worker that forks two processes."""
    port = str(servers.redis(processes, folder, "everysec"))
    command = [PYTHON, HOME / "python/celery_peer.py"]
    client = Client(processes, [*command, "client", port, folder], f"{folder}/client.log")
    # It makes a folder of its own there, and leaves that behind when it is killed.
    env = {"TMPDIR": folder}
    return client, [Client(processes, [*command, "worker", port, folder], f"{folder}/worker.log", env=env)]


def rabbitmq(processes, folder):
    """Callers and consumers in one process, over connections of their own."""
    both = Client(processes, [RUST, "rabbitmq", str(servers.rabbitmq(processes, folder))], f"{folder}/client.log")
    return both, [both]


def embedded(program, *words):
    """A library: callers, handlers and queue are one process."""
    def start(processes, folder):
        both = Client(processes, [program, *words, folder], f"{folder}/client.log")
        return both, [both]
    return start


def jobs(one, callers, bulk, life):
    """Jobs of a run. What the bulk hands in is drained for a figure of its own; without it, what the 64 callers do."""
    return {"one": one, "callers": callers, "bulk": bulk, "life": life}


def has_celery():
    """Whether that Python has Celery. Looked for in its folder: starting it only to ask takes a second."""
    if PYTHON == "python3":
        return importlib.util.find_spec("celery") is not None
    return any(Path(PYTHON).parent.parent.glob("lib/python3*/site-packages/celery"))


RUST_FOLDER = "bench/peers/rust"
BEANSTALKD = [has("beanstalkd", "beanstalkd")]
REDIS = has("redis-server", "redis-server")
CELERY = (has_celery, "Celery is not installed: apt-get install python3-venv, then make bench-peers makes a venv "
                      "with it; or set PEERS_PYTHON to a Python that has it")
EVERY_SECOND = "AOF everysec"

PEERS = [
    Peer("beanstalkd-none", "none", NONE, BEANSTALKD, beanstalkd([]), jobs(8_000, 25_600, 30_000, 20_000)),
    Peer("beanstalkd-50ms", "fsync every 50 ms", PROCESS, BEANSTALKD, beanstalkd(["-b", "DIR", "-f", "50"]),
         jobs(6_000, 19_200, 24_000, 16_000)),
    Peer("beanstalkd-fsync", "fsync each", DURABLE, BEANSTALKD, beanstalkd(["-b", "DIR", "-f", "0"]),
         jobs(4_000, 4_480, 4_000, 3_000)),
    Peer("bullmq", EVERY_SECOND, PROCESS, [REDIS, module("bullmq")], node("bullmq.js", redis("everysec")),
         jobs(3_000, 12_800, 12_000, 6_000)),
    Peer("bullmq-fsync", "AOF always: fsync before the reply", DURABLE, [REDIS, module("bullmq")],
         node("bullmq.js", redis("always")), jobs(1_500, 7_680, 8_000, 4_000)),
    Peer("sidekiq", EVERY_SECOND, PROCESS, [REDIS, has("sidekiq", "ruby-sidekiq")], sidekiq,
         jobs(4_000, 4_480, 12_000, 8_000)),
    Peer("celery", EVERY_SECOND, PROCESS, [REDIS, CELERY], celery, jobs(1_000, 640, None, 640), paces=(200, 100)),
    Peer("rabbitmq", "fsync before the confirm, shared", DURABLE,
         [has("rabbitmq-server", "rabbitmq-server"), built(RUST, RUST_FOLDER)], rabbitmq,
         jobs(1_500, 9_600, 12_000, 10_000)),
    Peer("graphile-worker", "fsync each commit, shared", DURABLE,
         [has("postgres", "postgresql"), module("graphile-worker")], node("graphile.js", servers.postgres),
         jobs(600, 1_024, 4_000, 2_000), paces=(200, 100)),
    Peer("apalis-memory", "none", NONE, [built(RUST, RUST_FOLDER)], embedded(RUST, "apalis-memory"),
         jobs(300_000, None, 300_000, 300_000)),
    Peer("apalis-sqlite", "WAL, synchronous OFF on one of its connections", PROCESS, [built(RUST, RUST_FOLDER)],
         embedded(RUST, "apalis-sqlite"), jobs(1_500, 1_280, 2_000, 2_000), paces=(200, 100)),
    Peer("effectum", "fsync, shared by up to 50 jobs", DURABLE, [built(EFFECTUM, f"{RUST_FOLDER}/effectum")],
         embedded(EFFECTUM), jobs(1_000, 12_800, 15_000, 12_000)),
    Peer("rustqueue", "fsync each", DURABLE, [built(RUSTQUEUE, f"{RUST_FOLDER}/rustqueue")],
         embedded(RUSTQUEUE, "redb"), jobs(1_500, 1_280, None, 1_280)),
    Peer("rustqueue-coalesced", "fsync, shared by up to 100 jobs or 10 ms", DURABLE,
         [built(RUSTQUEUE, f"{RUST_FOLDER}/rustqueue")], embedded(RUSTQUEUE, "coalesced"),
         jobs(100, 3_200, None, 3_200)),
    Peer("rustqueue-memory", "none", NONE, [built(RUSTQUEUE, f"{RUST_FOLDER}/rustqueue")],
         embedded(RUSTQUEUE, "memory"), jobs(20_000, 5_120, None, 5_120)),
]


def chosen(only):
    """Those that `only` names, by their names or the beginnings of them; all where it names none."""
    words = [word.strip() for word in only.split(",") if word.strip()]
    for word in words:
        if not any(peer.name.startswith(word) for peer in PEERS):
            names = ", ".join(peer.name for peer in PEERS)
            raise SystemExit(f"ONLY={only}: there is no peer {word!r}. There are: {names}")
    return [peer for peer in PEERS if not words or any(peer.name.startswith(word) for word in words)]
