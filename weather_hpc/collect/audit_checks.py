"""Audit of the machines: what the check verb found of them, held against the runs made there."""

from collections.abc import Iterator, Sequence

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.collect.checks import Checked, Network, networks
from weather_hpc.runs.checks import BINDING, CheckResult
from weather_hpc.runs.finding import Code, Finding, Severity
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Strategy
from weather_hpc.text import clean, counted

FAR_BELOW = 4.0
"""Between nodes the network is slow where it is so many times slower than within one."""

LOW_EFFICIENCY = 0.7
"""Below it the reader is told what the exchange of gradients should take."""

BYTES_OF_A_GRADIENT = 4
"""Weights, and so their gradients, are float32 in all precisions."""


def audit_checks(checked: Sequence[Checked], comparison: Comparison) -> Iterator[Finding]:
    """What was wrong with the machines, and what their network explains of the runs."""
    rows, training = comparison.rows, comparison.training
    for one in checked:
        if one.fault is not None:
            message = f"not all of check.jsonl can be read: {one.fault}"
            yield Finding(one.source, Severity.WARNING, Code.CHECK_UNREADABLE, message)
    yield from _failed(checked)
    for study in dict.fromkeys(one.study for one in checked):
        found = networks(one for one in checked if one.study == study)
        own = f"{clean(str(study))}/"
        yield from _between_nodes(found, [row for row in rows if row.source.startswith(own)])
        for configuration in training.configurations:
            if configuration.group.settings.source.startswith(own):
                efficiency = configuration.cells["efficiency"]
                label = training.label(configuration)
                yield from _exchange(found, configuration.group, efficiency, label)


def _failed(checked: Sequence[Checked]) -> Iterator[Finding]:
    """Checks whose last word is that they failed."""
    last: dict[tuple[object, ...], tuple[Checked, CheckResult]] = {}
    by_time = sorted(((one, r) for one in checked for r in one.results), key=lambda p: p[1].at)
    for one, result in by_time:
        if result.ok is not None:
            last[one.study, one.place, result.name] = one, result
    for one, result in last.values():
        if not result.ok:
            bound = result.name == BINDING
            what = result.detail or "it tells no reason"
            yield Finding(
                one.source, Severity.WARNING, Code.WRONG_BINDING if bound else Code.CHECK_FAILED,
                what if bound else f"{result.name} failed: {what}",
            )  # fmt: skip


def _between_nodes(found: Sequence[Network], rows: Sequence[Row]) -> Iterator[Finding]:
    """A network that is far slower between nodes than within one, where runs depend on it."""
    for device in dict.fromkeys(network.device for network in found):
        within = [n for n in found if n.device == device and n.nodes == 1]
        between = [n for n in found if n.device == device and n.nodes > 1]
        spread = sum(
            row.table == "training" and row.device == device and (row.nodes or 1) > 1
            for row in rows
        )
        if not (within and between and spread):
            continue
        one, several = within[-1], between[-1]
        if several.gb_s * FAR_BELOW < one.gb_s:
            yield Finding(
                several.source, Severity.INFO, Code.SLOW_NETWORK,
                f"an all-reduce on {device} has a bus bandwidth of {several.gb_s:.3g} GB/s over "
                f"{several.ranks} ranks on {several.nodes} nodes, {one.gb_s:.3g} GB/s over "
                f"{one.ranks} ranks on one ({one.source}); on several nodes ran "
                f"{counted(spread, 'training run')}",
            )  # fmt: skip


def _exchange(
    found: Sequence[Network], group: Group, efficiency: float | None, label: str
) -> Iterator[Finding]:
    """What the gradients of a configuration with a low efficiency should take on the network."""
    row, ranks = group.settings, group.settings.workers or 1
    if row.strategy != Strategy.DDP or ranks < 2:
        return
    if efficiency is None or efficiency >= LOW_EFFICIENCY:
        return
    if row.device == "cpu" and row.nodes == 1:
        return  # these ranks exchange through memory that they share, not through the network
    alike = [n for n in found if (n.device, n.nodes) == (row.device, row.nodes)]
    time_s, epochs = group.median("time_s"), group.median("epochs_done")
    steps, parameters = group.median("steps"), group.median("parameters")
    if not (alike and time_s and epochs and steps and parameters):
        return
    network = min(reversed(alike), key=lambda n: abs(n.ranks - ranks))
    step_bytes = parameters * BYTES_OF_A_GRADIENT
    epoch_bytes = step_bytes * steps / epochs
    # bus bandwidth is what a link carries, which is this many times the bytes of the gradients
    seconds = epoch_bytes * 2 * (ranks - 1) / ranks / (network.gb_s * 1e9)
    yield Finding(
        network.source, Severity.INFO, Code.EXCHANGE_TIME,
        f"{label}: efficiency {efficiency:.2f}. Its gradients are {step_bytes / 1e6:.3g} MB a step "
        f"and {epoch_bytes / 1e9:.3g} GB an epoch; at the {network.gb_s:.3g} GB/s measured over "
        f"{network.ranks} ranks on {counted(network.nodes, 'node')} their "
        f"exchange takes {seconds:.3g} s of the epoch's {time_s / epochs:.3g} s, less what "
        "computing hides of it",
    )  # fmt: skip
