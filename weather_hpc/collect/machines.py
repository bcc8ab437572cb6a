"""What the check verb found of the machines that a study's runs were made on."""

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
from weather_hpc.runs.checks import ALL_REDUCE, BINDING, CheckResult, read_checks
from weather_hpc.runs.inputs import check_size
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.study.spec import Strategy
from weather_hpc.text import clean, counted

RESULTS = {True: "passed", False: "failed", None: "not done"}


@dataclass(frozen=True)
class Checked:
    """One call of the verb: ``<study>/check/<name>/check.jsonl``, read."""

    study: Path
    """The results folder that it is in."""
    name: str
    results: tuple[CheckResult, ...]
    fault: str | None
    """Why some of the file cannot be read; None: all of it can."""

    @property
    def source(self) -> str:
        """How findings name it."""
        return f"{self.study.name}/check/{self.name}"

    @property
    def place(self) -> str:
        """What was checked: calls whose names differ in a job's number only check the same."""
        return re.sub(r"-\d+$", "", self.name)


def read_checked(files: Iterable[Path]) -> list[Checked]:
    """``files`` read, whatever they hold."""
    return [_read(path) for path in files]


def _read(path: Path) -> Checked:
    folder = path.parent
    results: Sequence[CheckResult] = ()
    try:
        check_size(path)
        results, fault = read_checks(path)
    except (UserError, OSError) as error:
        fault = str(error)
    return Checked(folder.parent.parent, folder.name, tuple(results), fault)


class Network(BaseModel):
    """What an all-reduce between the ranks of one device and one number of nodes came to."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    source: str
    device: str
    nodes: int = Field(ge=1)
    ranks: int = Field(ge=2)
    gb_s: float = Field(gt=0, validation_alias="bus_gb_s_64mb")
    """Bus bandwidth at 64 MB, GB/s (1e9 bytes)."""


def networks(checked: Iterable[Checked]) -> list[Network]:
    """Every all-reduce that was measured, the newest last; what is no figure is left out."""
    found = []
    by_time = sorted(((r, one) for one in checked for r in one.results), key=lambda p: p[0].at)
    for result, one in by_time:
        if result.name.startswith(ALL_REDUCE):
            with contextlib.suppress(ValidationError):
                found.append(Network.model_validate({**result.figures, "source": one.source}))
    return found


def checks_table(checked: Iterable[Checked]) -> Table:
    """A line for each check of each call."""
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
        title="Machines checked",
        caption="What python -m weather_hpc.check found where the runs were made.",
        columns=["where", "check", "result", "seconds", "detail"],
        rows=rows,
    )


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


GPU_COLUMNS = [
    "run_id", "moment", "host", "gpu", "name", "driver", "use_percent", "memory_mb",
    "memory_total_mb", "power_w", "temperature_c", "p_state",
]  # fmt: skip


_FIGURES = {"use_percent", "memory_mb", "memory_total_mb", "power_w", "temperature_c"}


_CAPTION = (
    "All GPUs of its nodes, idle ones too, as nvidia-smi shows them: at the start of the measured "
    "time and once half of its epochs had ended. Each run on GPUs has its own in nvidia-smi.csv."
)


def gpus_table(rows: Sequence[Row]) -> Table:
    """The GPUs beside the run on most of them, of those that are in a table and left a word."""
    on_gpus = [row for row in rows if row.table is not None and row.device == "cuda"]
    for row in sorted(on_gpus, key=lambda row: -(row.workers or 0)):
        lines = [
            {"run_id": row.run_id} | line for line in _gpu_lines(RunPaths(Path(row.source)).gpus)
        ]
        if lines:
            break
    else:
        lines = []
    return Table("gpus", "GPUs beside the largest run", _CAPTION, GPU_COLUMNS, lines)


def _gpu_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a nvidia-smi.csv; none where it is not there, or is something else."""
    try:
        check_size(path)
        found = list(csv.DictReader(path.read_text("utf-8", "replace").splitlines()))
    except (UserError, OSError, csv.Error):
        return []
    columns = GPU_COLUMNS[1:]
    whole = (line for line in found if all(isinstance(line.get(c), str) for c in columns))
    return [{column: _gpu_value(column, line[column]) for column in columns} for line in whole]


def _gpu_value(column: str, text: str) -> Any:
    if column not in _FIGURES:
        return clean(text) or None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
