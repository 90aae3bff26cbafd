"""The figure of each experiment: what it found in the title, others' values beside it.

Rules of this file: one function per experiment; each takes the experiment's result (anything with
`frame`, `measure`, `references`, `parameters`, `notes`) and composes a figure from `curves`,
`distributions` and the other general functions.  Titles are computed from the measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from consensus_lab.report import style
from consensus_lab.report.curves import curve_with_band, saturation
from consensus_lab.report.distributions import Known, cdf_curves, samples_cdf, source_name
from consensus_lab.report.table import WITHIN, quantity

if TYPE_CHECKING:
    import pandas

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def times(ratio: float) -> str:
    """A large ratio in two digits, in words.

    Examples
    --------
    >>> times(5_879_290), times(5611)
    ('5.9 million times', '5,600 times')
    """
    if ratio >= 1e6:
        return f"{float(f'{ratio / 1e6:.2g}'):,g} million times"
    return f"{float(f'{ratio:.2g}'):,g} times"


def propagation_figure(result: Any) -> Figure:
    """Shares of deliveries over the delay, the published quantiles and mean beside it."""
    known, means = [], []
    for reference in result.references:
        name = reference.quantity.removeprefix("delay_s_")
        if name in _SHARES:
            known.append(Known(_SHARES[name], reference.value, reference.source))
        elif name == "mean":
            means.append((reference.value, f"mean {quantity(reference.value, 's')}",
                          source_name(reference.source)))  # fmt: skip
    half, most = (result.measure(f"delay_s_{name}").value for name in ("p50", "p99"))
    parameters = result.parameters
    return cdf_curves(
        result.frame, value="delay_s", known=known, means=means,
        x_label="delay from discovery to accepted block", y_label="share of deliveries",
        title=f"Half of the deliveries take at most {quantity(half, 's')}, "
        f"99 % at most {quantity(most, 's')}",
        detail=f"{parameters.n_nodes:,} nodes, blocks of "
        f"{quantity(parameters.block_size_bytes, 'bytes')}, {parameters.replicates} networks "
        f"(band: all of them), seed {parameters.seed}",
    )  # fmt: skip


def stale_rate_figure(result: Any) -> Figure:
    """Stale fraction over the interval, one curve per size, archived rates beside it."""
    frame = result.frame.copy()
    frame["size"] = [quantity(size, "bytes") for size in frame["block_size_bytes"]]
    published = [
        (600.0, reference.value, reference.source.removesuffix(" (lower bound)"))
        for reference in result.references
        if reference.quantity.startswith("stale_fraction_600s")
    ]
    largest = frame[frame["block_size_bytes"] == frame["block_size_bytes"].max()]
    parameters = result.parameters
    return curve_with_band(
        frame, x="block_interval_s", y="stale_fraction", low="stale_low", high="stale_high",
        group="size", group_label="block size", is_log_x=True, is_log_y=True, is_share=True,
        x_label="mean time between blocks (s)", y_label="stale blocks, share of all",
        published=published, title=_stale_title(largest),
        detail=f"{parameters.n_nodes:,} nodes, {int(frame['blocks'].min()):,} blocks per point, "
        f"95 % intervals, seed {parameters.seed}; archives are lower bounds",
    )  # fmt: skip


def _stale_title(frame: pandas.DataFrame) -> str:
    """The rates of one block size at the slowest and the fastest interval."""
    slow = frame.loc[frame["block_interval_s"].idxmax()]
    fast = frame.loc[frame["block_interval_s"].idxmin()]
    first = (
        f"Of {slow['size']} blocks every {slow['block_interval_s']:g} s "
        f"{slow['stale_fraction'] * 100:.2g} % are wasted"
    )
    if fast["block_interval_s"] == slow["block_interval_s"]:
        return first
    rest = f"every {fast['block_interval_s']:g} s {fast['stale_fraction'] * 100:.2g} %"
    return f"{first}, {rest}"


def finality_figure(result: Any) -> Figure:
    """Both systems' times to finality on one axis, and how many transactions wait longer."""
    frame = result.frame
    samples = {}
    for (system, depth), part in frame.groupby(["system", "depth"], sort=False):
        is_chain = system == "nakamoto"
        if is_chain and depth not in (1, frame.loc[frame["system"] == system, "depth"].max()):
            continue
        blocks = f", {depth} confirmation{'s' if depth > 1 else ''}" if is_chain else ""
        samples[f"{system}{blocks}"] = part["seconds"].to_numpy()
    published = []
    for reference in result.references:
        if reference.quantity == "finality_ms_mean":
            published.append((reference.value / 1000, quantity(reference.value, "ms"),
                              source_name(reference.source)))  # fmt: skip
        elif reference.quantity == "finality_minutes_mean":
            published.append((reference.value * 60, quantity(reference.value, "min"),
                              source_name(reference.source)))  # fmt: skip
    log_ms, chain_min = (result.measure(f"finality_{name}").value for name in
                         ("ms_mean", "minutes_mean"))  # fmt: skip
    return samples_cdf(
        samples, published=published, tail=True,
        x_label="time from handing in to final",
        title=f"Final after {quantity(log_ms, 'ms')} in the log and "
        f"{quantity(chain_min, 'min')} on the chain: {times(chain_min * 60_000 / log_ms)} as long",
        detail=f"means; {result.parameters.n_servers} servers, {result.parameters.n_nodes:,} "
        f"nodes, seed {result.parameters.seed}",
    )  # fmt: skip


def throughput_figure(result: Any) -> Figure:
    """Rate and latency over the offered load; the essay's bounds beside."""
    frame = result.frame
    loads = frame[frame["system"] != "nakamoto"]
    chain = frame[frame["system"] == "nakamoto"].iloc[0]
    bounds = [
        (ref.value, f">{ref.value:,.0f}/s", "essay") for ref in result.references
        if ref.quantity == "tps_max" and ref.source.startswith("essay")
    ]  # fmt: skip
    best = loads["tps"].max()
    return saturation(
        loads, load="offered_per_s", rate="tps", rate_low="tps_low", rate_high="tps_high",
        latency_p50="latency_ms_p50", latency_p99="latency_ms_p99", group="system",
        load_label="offered load (1/s)", rate_bounds=bounds,
        latency_bounds=[(10.0, "<10 ms", "essay")],
        title=f"The log completes up to {best:,.0f} requests per second, the chain "
        f"{chain['tps']:.2g}: {times(best / chain['tps'])} as many",
        detail=f"{result.parameters.n_servers} servers; chain: blocks of "
        f"{quantity(result.parameters.block_size_bytes, 'bytes')} every "
        f"{result.parameters.block_interval_s:g} s; 95 % intervals; seed "
        f"{result.parameters.seed}",
    )  # fmt: skip


def comparison_figure(result: Any) -> Figure:
    """How many times the published value ours is, for every cell that is a number."""
    frame = result.frame.dropna(subset=["ratio"]).reset_index(drop=True)
    systems = list(dict.fromkeys(result.frame["system"]))
    kept = int(result.frame["verdict"].isin([WITHIN]).sum())
    with style.style():
        figure, axes = style.axes_of(None, height_in=1.6 + 0.42 * len(frame))
        for number, system in enumerate(systems):
            part = frame[frame["system"] == system]
            look = style.look(number)
            ratios = part["ratio"].astype(float).to_numpy()
            ends = [
                (part[end].astype(float) / part["published_value"].astype(float)).to_numpy()
                for end in ("low", "high")
            ]
            errors = [abs(ratios - ends[0]), abs(ends[1] - ratios)]
            axes.errorbar(ratios, -part.index.to_numpy(), xerr=errors, color=look.color,
                          marker=look.marker, markersize=7, linestyle="none", capsize=3,
                          label=system)  # fmt: skip
            if part["live_value"].notna().any():
                real = part["live_value"].astype(float) / part["published_value"].astype(float)
                axes.plot(real.to_numpy(), -part.index.to_numpy() - 0.28, color=look.color,
                          marker=look.marker, markersize=6, markerfacecolor="none",
                          linestyle="none")  # fmt: skip
        axes.axvline(1.0, color=style.INK, linestyle=(0, (4, 3)), linewidth=1.0)
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.set_xlim(min(0.5, low / 1.3), max(2.0, high * 1.3))
        style.log_ticks(axes.xaxis)
        names = [f"{row.title} ({row.published})" for row in frame.itertuples()]
        axes.set_yticks([-place for place in range(len(frame))], names)
        axes.set(xlabel="ours divided by the published value", ylim=(-len(frame) + 0.4, 0.6))
        style.legend(axes)
        style.headline(axes, f"{kept} of {len(result.frame)} cells agree with what was published, "
                       "or keep its bound",
                       "cells that are numbers; 95 % intervals; hollow: the real system; seed "
                       f"{result.parameters.seed}",
                       width_in=4.6)  # fmt: skip
    return figure
