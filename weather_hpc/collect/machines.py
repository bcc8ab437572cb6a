"""The machines that the runs of a study used: results of the check verb, and states of GPUs.

Both become tables of the report. Findings: failed checks, slow networks between nodes, and how long
the exchange of gradients should take in configurations with a low efficiency.
"""

import contextlib
import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.table import Table
from weather_hpc.errors import UserError
from weather_hpc.reading import read_bytes
from weather_hpc.runs.checks import ALL_REDUCE, BINDING, CheckResult, read_checks
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.study.tasks import Strategy
from weather_hpc.text import brief, clean, counted

RESULTS = {True: "passed", False: "failed", None: "not done"}

SLOW_FACTOR = 4.0
"""A network between nodes is slow if it is this many times slower than within one node."""

LOW_EFFICIENCY = 0.7
"""Below this efficiency a finding gives the expected time of the gradient exchange."""

BYTES_PER_PARAMETER = 4
"""Weights, and so their gradients, are float32 in all precisions."""

GPU_COLUMNS = [
    "run_id", "moment", "host", "gpu", "name", "driver", "use_percent", "memory_mb",
    "memory_total_mb", "power_w", "temperature_c", "p_state",
]  # fmt: skip

_GPU_NUMBERS = {"use_percent", "memory_mb", "memory_total_mb", "power_w", "temperature_c"}

_GPUS_CAPTION = (
    "All GPUs of the nodes, idle ones too, as reported by nvidia-smi at the start of the measured "
    "time and after half of its epochs. Each run on GPUs has its own nvidia-smi.csv."
)


@dataclass(frozen=True)
class Checked:
    """The results of one call of the check verb: ``<study>/check/<name>/check.jsonl``."""

    study: Path
    """The results folder of the study."""
    name: str
    results: tuple[CheckResult, ...]
    fault: str | None
    """Why part of the file cannot be read; None: all of it was read."""

    @property
    def source(self) -> str:
        """Its name in findings."""
        return f"{self.study.name}/check/{self.name}"

    @property
    def place(self) -> str:
        """What was checked: ``name`` without a job's number, which differs between equal calls."""
        return re.sub(r"-\d+$", "", self.name)


def read_checked(files: Iterable[Path]) -> list[Checked]:
    """The results in ``files``; a file that cannot be read has a ``fault``."""
    return [_read(path) for path in files]


def _read(path: Path) -> Checked:
    folder = path.parent
    results: Sequence[CheckResult] = ()
    try:
        results, fault = read_checks(path)
    except UserError as error:
        fault = str(error)
    return Checked(folder.parent.parent, folder.name, tuple(results), fault)


class AllReduce(BaseModel):
    """The bandwidth of one all-reduce on one kind of device."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    source: str
    device: str
    nodes: int = Field(ge=1)
    ranks: int = Field(ge=2)
    gb_s: float = Field(gt=0, validation_alias="bus_gb_s_64mb")
    """Bus bandwidth at 64 MB, GB/s (1e9 bytes)."""


def networks(checked: Iterable[Checked]) -> list[AllReduce]:
    """Every all-reduce that was measured, the newest last; invalid values are left out."""
    measured = []
    for one, result in _by_time(checked):
        if result.name.startswith(ALL_REDUCE):
            with contextlib.suppress(ValidationError):
                measured.append(AllReduce.model_validate({**result.figures, "source": one.source}))
    return measured


def _by_time(checked: Iterable[Checked]) -> list[tuple[Checked, CheckResult]]:
    """All results, the newest last."""
    results = ((one, result) for one in checked for result in one.results)
    return sorted(results, key=lambda pair: pair[1].at)


def checks_table(checked: Iterable[Checked]) -> Table:
    """One row per check of each call."""
    rows = [
        {
            "where": clean(one.source),
            "check": clean(result.name),
            "result": RESULTS[result.ok],
            "seconds": result.seconds,
            "detail": clean(result.detail) or None,
        }
        for one in checked
        for result in one.results
    ]
    return Table(
        name="checks",
        title="Machine checks",
        caption="Results of python -m weather_hpc.check on the machines of the runs.",
        columns=["where", "check", "result", "seconds", "detail"],
        rows=rows,
    )


def audit_checks(checked: Sequence[Checked], comparison: Comparison) -> Iterator[Finding]:
    """Failed checks, slow networks, and low efficiencies that the network may explain."""
    rows, training = comparison.rows, comparison.training
    for one in checked:
        if one.fault is not None:
            message = f"part of check.jsonl cannot be read: {one.fault}"
            yield Finding(one.source, Severity.WARNING, Code.CHECK_UNREADABLE, message)
    yield from _failed(checked)
    for study in dict.fromkeys(one.study for one in checked):
        measured = networks(one for one in checked if one.study == study)
        own = f"{clean(str(study))}/"
        yield from _between_nodes(measured, [row for row in rows if row.source.startswith(own)])
        for configuration in training.configurations:
            if configuration.group.settings.source.startswith(own):
                efficiency = configuration.cells["efficiency"]
                label = training.label(configuration)
                yield from _exchange(measured, configuration.group, efficiency, label)


def _failed(checked: Sequence[Checked]) -> Iterator[Finding]:
    """Checks that failed when they were last done."""
    last: dict[tuple[object, ...], tuple[Checked, CheckResult]] = {}
    for one, result in _by_time(checked):
        if result.ok is not None:
            last[one.study, one.place, result.name] = one, result
    for one, result in last.values():
        if not result.ok:
            binding = result.name == BINDING
            reason = result.detail or "no reason given"
            yield Finding(
                one.source, Severity.WARNING, Code.WRONG_BINDING if binding else Code.CHECK_FAILED,
                reason if binding else f"{result.name} failed: {reason}",
            )  # fmt: skip


def _between_nodes(measured: Sequence[AllReduce], rows: Sequence[Row]) -> Iterator[Finding]:
    """A network that is far slower between nodes than within one, if runs used several nodes."""
    for device in dict.fromkeys(network.device for network in measured):
        within = [n for n in measured if n.device == device and n.nodes == 1]
        between = [n for n in measured if n.device == device and n.nodes > 1]
        multi_node = sum(
            row.table == "training" and row.device == device and (row.nodes or 1) > 1
            for row in rows
        )
        if not (within and between and multi_node):
            continue
        one, several = within[-1], between[-1]
        if several.gb_s * SLOW_FACTOR < one.gb_s:
            yield Finding(
                several.source, Severity.INFO, Code.SLOW_NETWORK,
                f"bus bandwidth of all-reduce on {device}: {several.gb_s:.3g} GB/s with "
                f"{several.ranks} ranks on {several.nodes} nodes, {one.gb_s:.3g} GB/s with "
                f"{one.ranks} ranks on 1 node ({one.source}); "
                f"{counted(multi_node, 'training run')} used several nodes",
            )  # fmt: skip


def _exchange(
    measured: Sequence[AllReduce], group: Group, efficiency: float | None, label: str
) -> Iterator[Finding]:
    """How long the gradient exchange of a configuration with a low efficiency should take."""
    row, ranks = group.settings, group.settings.workers or 1
    if row.strategy != Strategy.DDP or ranks < 2:
        return
    if efficiency is None or efficiency >= LOW_EFFICIENCY:
        return
    if row.device == "cpu" and row.nodes == 1:
        return  # these ranks exchange through shared memory, not through the network
    alike = [n for n in measured if (n.device, n.nodes) == (row.device, row.nodes)]
    time_s, epochs = group.median("time_s"), group.median("epochs_done")
    steps, parameters = group.median("steps"), group.median("parameters")
    if not (alike and time_s and epochs and steps and parameters):
        return
    network = min(reversed(alike), key=lambda n: abs(n.ranks - ranks))
    step_bytes = parameters * BYTES_PER_PARAMETER
    epoch_bytes = step_bytes * steps / epochs
    # bus bandwidth counts the bytes on one link: 2 (n - 1) / n times the bytes of the gradients
    seconds = epoch_bytes * 2 * (ranks - 1) / ranks / (network.gb_s * 1e9)
    yield Finding(
        network.source, Severity.INFO, Code.EXCHANGE_TIME,
        f"{label}: efficiency {efficiency:.2f}. Gradients: {brief(step_bytes / 1e6)} MB per step, "
        f"{brief(epoch_bytes / 1e9)} GB per epoch; at the {network.gb_s:.3g} GB/s measured with "
        f"{network.ranks} ranks on {counted(network.nodes, 'node')} their exchange takes "
        f"{brief(seconds)} s of {brief(time_s / epochs)} s per epoch, minus the part that overlaps "
        "with computation",
    )  # fmt: skip


LARGEST_GPUS = 2**20
"""Bytes. A line of an nvidia-smi.csv takes some hundred; there are two for each GPU."""


def gpus_table(rows: Sequence[Row]) -> Table:
    """The GPUs on the nodes of the largest run that is in a table and has nvidia-smi.csv."""
    on_gpus = [row for row in rows if row.table is not None and row.device == "cuda"]
    for row in sorted(on_gpus, key=lambda row: -(row.workers or 0)):
        lines = [
            {"run_id": row.run_id} | line for line in _gpu_lines(RunPaths(Path(row.source)).gpus)
        ]
        if lines:
            break
    else:
        lines = []
    return Table("gpus", "GPUs of the largest run", _GPUS_CAPTION, GPU_COLUMNS, lines)


def _gpu_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of an nvidia-smi.csv; none if there is no such file or it is invalid."""
    try:
        text = read_bytes(path, LARGEST_GPUS).decode("utf-8", "replace")
        lines = list(csv.DictReader(text.splitlines()))
    except (UserError, csv.Error):
        return []
    columns = GPU_COLUMNS[1:]
    complete = (line for line in lines if all(isinstance(line.get(c), str) for c in columns))
    return [{column: _gpu_value(column, line[column]) for column in columns} for line in complete]


def _gpu_value(column: str, text: str) -> Any:
    if column not in _GPU_NUMBERS:
        return clean(text) or None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
