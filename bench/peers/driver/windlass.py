"""Windlass in the same run: its own bench is called, and what that wrote is read."""

import json
import os
import re
from pathlib import Path

from .process import Failure, last_words, stage
from .workloads import DRAIN, ENQUEUES, LATENCY, LIFE

GROUPS = ["enqueue", "life", "latency"]
LATEST = Path(__file__).resolve().parent.parent.parent / "results/latest.json"
# Peers keep nothing of what succeeded; over whole lives Windlass is told the same.
FIGURES = {
    **{name: ours for (_, name), ours in
       zip(ENQUEUES, ["enqueue, one caller", "enqueue, 64 callers", "enqueue, bulk of 1,000"])},
    LIFE: "whole life, bulk of 1,000, producer and workers, keep_done None",
    DRAIN: "drain of a filled queue, keep_done None",
    **{f"{LATENCY}, {part}": f"dispatch latency at 1,000 jobs/s, {part}" for part in ("p50", "p99")},
}


def measure(program, levels, say):
    """The figures of these levels, by (workload, level)."""
    last = LATEST.read_bytes() if LATEST.exists() else None
    figures = []
    try:
        for group in GROUPS:
            say(f"windlass: {group}")
            figures += _run(program, group, levels)
    finally:
        # That file belongs to `make bench`: what it had is there again.
        if last is not None:
            LATEST.write_bytes(last)
    found = {(figure["figure"], figure["level"]): figure for figure in figures}
    measured = {}
    for workload, ours in FIGURES.items():
        for level in levels:
            figure = found.get((ours, level))
            if figure is None:
                say(f"windlass: no figure {ours!r} at {level}, so its cells stay empty. Was it renamed? "
                    "Say its new name in bench/peers/driver/windlass.py")
                continue
            measured[workload, level] = figure
    return measured


def _run(program, group, levels):
    environment = {**os.environ, "ONLY": group, "LEVEL": levels[0] if len(levels) == 1 else ""}
    # The journals go where they would without us, but into a folder that is gone even if this is broken off.
    with stage(Path(program).resolve().parent.parent) as (processes, folder):
        log = Path(folder) / "log"
        code = processes.run([program, "--dir", folder], log, env=environment)
        # It fails where a figure is void as well, and then it has written all the same.
        written = re.search(r"^written to (.+)$", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        if not written:
            raise Failure(f"ONLY={group} {program} ended with {code}: {last_words(log)}")
    with open(written[1], encoding="utf-8") as file:
        return json.load(file)
