"""Runs a swarm of seeds on all cores, or replays one of them.

    python -m tests.swarm --seeds 1000 [--protocol raft|multipaxos] [--jobs 2] [--first 0]
    SEED=17 python -m tests.swarm          (or --seed 17): replays it, with a trace

With a seed, `--trace` prints the trace and `--picture NAME` draws a history that is not
linearizable.  A failure is printed with its seed.  The exit code is 0 when nothing failed, 1 when
something did.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from itertools import islice
from pathlib import Path

from consensus_lab.sim.linearizability import Failure
from consensus_lab.sim.swarm import Outcome, run_plan
from consensus_lab.sim.swarm_plan import draw_plan
from consensus_lab.sim.trace import Trace
from tests.swarm.protocols import PROTOCOLS

SEEDS_PER_TASK = 10
PROGRESS_EVERY_S = 2.0
BARS_SHOWN = 40
NANOSECONDS_PER_MICROSECOND = 1000


def run_seeds(protocol_name: str, seeds: list[int]) -> list[Outcome]:
    """A worker's task: some seeds, one after the other."""
    protocol = PROTOCOLS[protocol_name]()
    return [run_plan(draw_plan(seed), protocol) for seed in seeds]


def run_swarm(protocol_name: str, seeds: range, jobs: int) -> Iterator[list[Outcome]]:
    """Every seed, in chunks, as they are finished."""
    starts = range(seeds.start, seeds.stop, SEEDS_PER_TASK)
    chunks = ([*range(start, min(start + SEEDS_PER_TASK, seeds.stop))] for start in starts)
    if jobs == 1:
        for chunk in chunks:
            yield run_seeds(protocol_name, chunk)
        return
    with ProcessPoolExecutor(jobs) as pool:
        # Few tasks wait at a time, so that an interrupt ends soon.
        waiting = {pool.submit(run_seeds, protocol_name, c) for c in islice(chunks, 2 * jobs)}
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            waiting |= {pool.submit(run_seeds, protocol_name, c) for c in islice(chunks, len(done))}
            for task in done:
                yield task.result()


def replay(
    protocol_name: str, seed: int, *, wants_trace: bool = False, picture: Path | None = None
) -> Outcome:
    """Run one seed with a trace, and say everything about it."""
    plan, trace = draw_plan(seed), Trace()
    print(f"{protocol_name}, seed {seed}: {plan}")
    outcome = run_plan(plan, PROTOCOLS[protocol_name](), trace=trace)
    if wants_trace:
        for line in trace.lines():
            print(line)
    print(f"{outcome.events} events, {outcome.answered} answered, {outcome.pending} pending")
    print(outcome.failure or "no failure")
    if outcome.detail:
        print(outcome.detail)
    if picture is not None and outcome.history_failure is not None:
        draw(outcome.history_failure, picture)
    print(f"trace digest {outcome.digest}")
    return outcome


def draw(failure: Failure, path: Path) -> None:
    """The end of the shortest failing prefix as SVG and PNG."""
    from consensus_lab.report.histories import history_bars
    from consensus_lab.report.style import save_figure

    bars = [
        bar._replace(
            start=bar.start // NANOSECONDS_PER_MICROSECOND,
            end=None if bar.end is None else bar.end // NANOSECONDS_PER_MICROSECOND,
        )
        for bar in failure.bars(latest=BARS_SHOWN)
    ]
    figure = history_bars(bars, x_label="simulated time (µs)", title=f"Key {failure.key}")
    print("drawn:", *save_figure(figure, path))


def sweep(protocol_name: str, seeds: range, jobs: int) -> list[Outcome]:
    """Run all seeds with progress on the error stream; the failures, sorted by seed."""
    began = shown = time.monotonic()
    failed: list[Outcome] = []
    finished = events = answered = 0
    for outcomes in run_swarm(protocol_name, seeds, jobs):
        finished += len(outcomes)
        events += sum(outcome.events for outcome in outcomes)
        answered += sum(outcome.answered for outcome in outcomes)
        for outcome in outcomes:
            if outcome.failure is not None:
                failed.append(outcome)
                print(f"FAILED {protocol_name} seed {outcome.seed}: {outcome.failure}", flush=True)
        now = time.monotonic()
        if now - shown > PROGRESS_EVERY_S:
            shown = now
            print(f"{finished} of {len(seeds)} seeds, {len(failed)} failed", file=sys.stderr)
    took_s = time.monotonic() - began
    print(
        f"{protocol_name}: {finished} seeds, {len(failed)} failed, {events} events, "
        f"{answered} operations answered, {took_s:.1f} s"
    )
    return sorted(failed, key=lambda outcome: outcome.seed)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), help="default: every protocol")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    seed = os.environ.get("SEED", "").strip()
    if seed and not seed.isdecimal():
        parser.error(f"SEED must be a number; got {seed!r}")
    parser.add_argument("--seed", type=int, default=int(seed) if seed else None, help="replay it")
    parser.add_argument("--trace", action="store_true", help="with --seed: print the whole trace")
    parser.add_argument("--picture", type=Path, help="with --seed: draw a bad history there")
    options = parser.parse_args(arguments)
    if options.seeds < 1 or options.jobs < 1:
        parser.error("--seeds and --jobs must be at least 1")
    names = [options.protocol] if options.protocol else sorted(PROTOCOLS)
    if options.seed is not None:
        outcomes = [
            replay(name, options.seed, wants_trace=options.trace, picture=options.picture)
            for name in names
        ]
        return 1 if any(outcome.failure for outcome in outcomes) else 0
    seeds = range(options.first, options.first + options.seeds)
    failed = {name: sweep(name, seeds, options.jobs) for name in names}
    for name, outcomes in failed.items():
        for outcome in outcomes:
            print(f"replay: SEED={outcome.seed} python -m tests.swarm --protocol {name}")
    return 1 if any(failed.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
