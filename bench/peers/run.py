#!/usr/bin/env python3
"""Measures other job systems beside Windlass, prints a table for each workload and writes bench/results/peers.json.

    [ONLY=beanstalkd,bullmq] run.py [path of windlass-bench]

Without the path the peers are measured alone. See README.md in this folder.
"""

import json
import os
import sys
import time
from pathlib import Path

from driver import table, windlass
from driver.peers import chosen
from driver.process import Failure, Stopped, stage, stop_on_signals
from driver.workloads import Session, measure

RESULTS = Path(__file__).resolve().parent.parent / "results"
# `/tmp` is memory on many machines, which would make every fsync free.
FOLDERS = os.environ.get("PEERS_DIR") or "/var/tmp"


def say(text):
    """To the person that waits."""
    print(text, file=sys.stderr, flush=True)


def peer_figures(peer):
    """Starts a peer, measures it, and ends it whatever happens."""
    began = time.monotonic()
    figures = []
    with stage(FOLDERS) as (processes, folder):
        try:
            for figure in measure(Session(peer, processes, folder)):
                figures.append(figure)
                say(f"  {figure['workload']}: {table.spread(figure)} {figure['unit']} {figure['note'] or ''}".rstrip())
        except Failure as failure:
            say(f"{peer.name}: the rest was not measured: {failure}")
    say(f"{peer.name}: {time.monotonic() - began:.0f} s")
    return figures


def ready(peers):
    """Those that can be measured; of the others it says what to do."""
    there = []
    for peer in peers:
        remedy = peer.missing()
        if remedy:
            say(f"{peer.name}: skipped: {remedy}")
        else:
            there.append(peer)
    return there


def write(figures, ours):
    """The figures as JSON: those of peers with what Windlass had at the like durability."""
    for figure in figures:
        own = ours.get((figure["workload"], figure["like"]))
        figure["windlass"] = own
        figure["ratio"] = table.ratio(figure, own)
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "peers.json"
    file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    say(f"written to {file}")


def main():
    """Measures, and answers with an exit code: 0 unless delivery was inexact somewhere or Windlass did not run."""
    peers = ready(chosen(os.environ.get("ONLY", "")))
    if not peers:
        say("no peer is installed, so nothing was measured: see bench/peers/README.md")
        return 0
    ours, status = {}, 0
    if len(sys.argv) > 1:
        levels = [level for level in ("Memory", "Process", "Durable") if any(peer.like == level for peer in peers)]
        try:
            ours = windlass.measure(sys.argv[1], levels, say)
        except (Failure, OSError) as failure:
            say(f"windlass: not measured: {failure}")
            status = 1
    figures = []
    for peer in peers:
        say(f"{peer.name}: {peer.durability}")
        figures += peer_figures(peer)
    print(table.tables(figures, ours))
    write(figures, ours)
    return 1 if any(figure["void"] for figure in figures) else status


if __name__ == "__main__":
    try:
        stop_on_signals()
        sys.exit(main())
    except Stopped as stopped:
        say("stopped; what was started has been ended")
        sys.exit(128 + stopped.number)
