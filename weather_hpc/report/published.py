"""Our times and speedups next to those that the reproduced study printed (``results/paper``)."""

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.line_plot import Curve, LinePlot, Point
from weather_hpc.study.spec import Backend, Device, Scaling, Strategy
from weather_hpc.text import counted

NODE, P100, RTX = "8-core node", "P100", "RTX 3070"
BASELINES = {Backend.SEQUENTIAL, Strategy.SINGLE}

COLUMNS = [
    "configuration", "published_on", "published_time_s", "time_s", "time_s_low", "time_s_high",
    "published_speedup", "speedup", "speedup_low", "speedup_high", "published_baseline", "baseline",
]  # fmt: skip

CAPTION = (
    "The study's time and speedup, against its own baseline, then ours. Empty: a speedup that it "
    "did not print and that does not follow from its times."
)

NOT_COMPARABLE = (
    "Seconds are not comparable: the study ran 6,862 images, and 20 epochs in training, on the "
    "hardware named, and its times include start-up and evaluation; {ours}. How speedup grows with "
    "workers is comparable where the bottleneck is the same, best with its data set and epochs."
)


@dataclass(frozen=True)
class Published:
    """One time of the study, and which of our configurations it is compared with."""

    table: str
    match: dict[str, Any]
    """Columns of our table and the values that they must have."""
    hardware: str
    time_s: float
    speedup: float | None
    """Against the study's own baseline, printed or from its times; None: neither."""
    baseline: str | None

    @property
    def panel(self) -> str:
        """The backend or the strategy."""
        return str(self.match.get("backend") or self.match["strategy"])

    @property
    def batch(self) -> str:
        """The batch size as text; empty where there is none."""
        for column, unit in (("batch_size_per_device", "per device"), ("batch_size_global", "")):
            if column in self.match:
                return f"batch {self.match[column]} {unit}".rstrip()
        return ""


def folder() -> Path:
    """The folder of the study's CSV files: in the wheel, or the checkout's ``results/paper``."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "results" / "paper"
    return inside if inside.is_dir() else package.parent / "results" / "paper"


def read_published() -> list[Published]:
    """Every time that the study printed for preprocessing and training."""
    return [*_preprocess(), *_p100(), *_dp(), *_ddp()]


def _preprocess() -> Iterator[Published]:
    lines = _read("preprocess")
    sequential_s = next(float(line["time_s"]) for line in lines if line["backend"] == "sequential")
    for line in lines:
        time_s = float(line["time_s"])
        match = {"backend": line["backend"], "workers": int(line["workers"])}
        yield Published(
            "preprocess", match, NODE, time_s, sequential_s / time_s, "sequential, 1 worker"
        )


def _p100() -> Iterator[Published]:
    for line in _read("training_p100"):
        device = Device.CPU if line["device"] == "cpu" else Device.CUDA
        ranks = max(1, int(line["gpus"]))
        match = {"strategy": line["strategy"], "device": device, "world_size": ranks}
        speedup = _number(line["speedup_vs_1gpu"])
        hardware = NODE if device is Device.CPU else P100
        baseline = None if speedup is None else f"single on one {P100}"
        yield Published("training", match, hardware, float(line["time_s"]), speedup, baseline)


def _dp() -> Iterator[Published]:
    for line in _read("dp_rtx3070"):
        match = {
            "strategy": Strategy.DP, "world_size": int(line["gpus"]),
            "batch_size_global": int(line["batch_size"]),
        }  # fmt: skip
        speedup = _number(line["speedup"])
        baseline = f"one {RTX}, time not stated"
        yield Published("training", match, RTX, float(line["time_s"]), speedup, baseline)


def _ddp() -> Iterator[Published]:
    lines = _read("ddp_rtx3070")
    alone = {line["batch_size"]: float(line["time_s"]) for line in lines if line["gpus"] == "1"}
    for line in lines:
        batch, time_s = line["batch_size"], float(line["time_s"])
        match = {
            "strategy": Strategy.DDP, "world_size": int(line["gpus"]),
            "batch_size_per_device": int(batch),
        }  # fmt: skip
        baseline = f"ddp on one {RTX}, batch {batch}"
        yield Published("training", match, RTX, time_s, alone[batch] / time_s, baseline)


def _read(name: str) -> list[dict[str, str]]:
    with (folder() / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None


@dataclass(frozen=True)
class PublishedPair:
    """A configuration of ours with the study's time for the same."""

    published: Published
    table: ScalingTable
    row: dict[str, Any]


def pairs(tables: Sequence[ScalingTable]) -> list[PublishedPair]:
    """Every pair that can be compared; the study measured strong scaling only."""
    return [
        PublishedPair(published, table, row)
        for table in tables
        for published in read_published()
        if published.table == table.name
        for row in table.measured
        if row["scaling"] != Scaling.WEAK
        and all(row[column] == value for column, value in published.match.items())
    ]


def published_table(tables: Sequence[ScalingTable]) -> Table:
    """Time and speedup side by side."""
    rows = []
    for pair in pairs(tables):
        row = {column: pair.row.get(column) for column in COLUMNS} | {
            "configuration": pair.table.label(pair.row),
            "published_on": pair.published.hardware,
            "published_time_s": pair.published.time_s,
            "published_speedup": pair.published.speedup,
            "published_baseline": pair.published.baseline,
        }
        rows.append(row)
    return Table("published", "Time and speedup, side by side", CAPTION, COLUMNS, rows)


def published_speedup(tables: Sequence[ScalingTable]) -> Drawing:
    """Speedup by workers: the study's hollow and dotted, ours solid in the same colour."""
    points: dict[tuple[str, str, bool], set[Point]] = defaultdict(set)
    compared = [pair for pair in pairs(tables) if pair.published.panel not in BASELINES]
    for pair in compared:
        published, row = pair.published, pair.row
        if published.speedup is None or row["speedup"] is None:
            continue
        workers = pair.table.workers(row)
        theirs = workers, published.speedup, None, None
        points[published.panel, _label(published), True].add(theirs)
        ours = workers, row["speedup"], row["speedup_low"], row["speedup_high"]
        points[published.panel, f"{_label(published)}{_settings(pair, compared)}", False].add(ours)
    curves = [
        Curve(label, tuple(sorted(values, key=lambda point: point[:2])), panel, is_published)
        for (panel, label, is_published), values in points.items()
    ]
    return LinePlot(
        "published_speedup",
        "Speedup compared with the reproduced study",
        "workers or world size",
        "speedup",
        curves,
        "no configuration has a speedup both here and in the study",
        ideal=lambda workers: workers,
        separate_panels=True,
    ).drawing()


def _label(published: Published) -> str:
    hardware = f" ({published.hardware})" if published.hardware == P100 else ""
    return (published.batch or published.panel) + hardware


def _settings(pair: PublishedPair, others: Sequence[PublishedPair]) -> str:
    """The settings in which our row differs from ``others`` of the same backend or strategy."""
    settled = set(pair.published.match)
    if "batch_size_global" in settled:
        settled.add("batch_size_per_device")
    alike = [other.row for other in others if other.published.panel == pair.published.panel]
    known = ("device", "batch_size_per_device", *pair.table.distinguishing, "nodes")
    names = [c for c in known if c in pair.table.columns and c not in settled]
    varying = [name for name in names if len({row[name] for row in alike}) > 1]
    return "".join(f", {name} {pair.row[name]}" for name in varying)


def not_comparable(tables: Sequence[ScalingTable]) -> str:
    """Why the study's seconds and ours are not comparable, as text."""
    compared = pairs(tables)
    facts = []
    for column, noun in (("images", "image"), ("epochs", "epoch")):
        values = sorted({p.row[column] for p in compared if p.row.get(column) is not None})
        if values:
            span = f"{values[0]} to {values[-1]} {noun}s"
            facts.append(span if len(values) > 1 else counted(values[0], noun))
    ours = f"ours have {' and '.join(facts)}" if facts else "ours are in the tables"
    return NOT_COMPARABLE.format(ours=ours)
