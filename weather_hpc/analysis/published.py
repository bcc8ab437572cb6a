"""The numbers that the reproduced study printed (``results/paper``), as rows and a comparison.

The only reader of those files. The study printed one time for each configuration, so none of them
has an interval.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from weather_hpc.analysis.comparison import Comparison, Configuration, StageComparison, compare
from weather_hpc.analysis.statistics import NO_INTERVAL, Interval
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Scaling, Stage
from weather_hpc.study.tasks import Backend, BatchMode, Device, Strategy

NODE, P100, RTX = "8-core node", "P100", "RTX 3070"
"""The study's hardware. Times on different hardware are never compared with each other, except in
the table that does so itself: CPU against P100."""

IMAGES, IMAGE_SIZE_PX, EPOCHS = 6862, 256, 20


@dataclass(frozen=True, kw_only=True)
class Published:
    """One time of the study, and which of our configurations it is compared with."""

    table: str
    match: dict[str, Any]
    """Columns of our table and the values that they must have."""
    hardware: str
    measured_on: str
    """The hardware of the study's table, of which all rows are compared with each other."""
    file: str
    """The name of its file in ``results/paper``."""
    time_s: float | None = None
    speedup: float | None = None
    """Against the study's own baseline, printed or from its times; None: neither."""
    baseline: str | None = None
    test_accuracy: float | None = None
    """A fraction."""

    @property
    def panel(self) -> str:
        """The backend or the strategy."""
        return str(self.match.get("backend") or self.match["strategy"])

    @property
    def is_baseline(self) -> bool:
        """Whether it is a plain method on one worker, whose speedup is 1."""
        return self.panel in (Backend.SEQUENTIAL, Strategy.SINGLE)

    @property
    def batch(self) -> str:
        """The batch size as text; empty where there is none."""
        for column, unit in (("batch_size_per_device", "per device"), ("batch_size_global", "")):
            if column in self.match:
                return f"batch {self.match[column]} {unit}".rstrip()
        return ""

    @property
    def configuration(self) -> str:
        """Its name among the rows of :func:`published_comparison`."""
        settings = " ".join(f"{column} {value}" for column, value in self.match.items())
        return f"{self.file}: {settings}".removesuffix(": ")

    @property
    def row(self) -> Row:
        """It as the row of one run."""
        known = {column: value for column, value in self.match.items() if column != "world_size"}
        training = self.table == "training"
        values: dict[str, Any] = {
            "run_id": self.configuration, "source": f"results/paper/{self.file}", "status": "ok",
            "table": self.table, "configuration": self.configuration, "repeat": 0,
            "study": self.measured_on, "scaling": Scaling.STRONG, "image_size_px": IMAGE_SIZE_PX,
            "stage": Stage.TRAIN if training else Stage.PREPROCESS,
            "time_s": self.time_s, "test_accuracy": self.test_accuracy,
        }  # fmt: skip
        if not training:
            return Row(**values, **known, images=IMAGES)
        if "strategy" in known:
            known = {"device": Device.CUDA} | known
        workers = self.match.get("world_size")
        each = self.match.get("batch_size_per_device")
        if each is not None:
            known |= {"batch_size_global": each * workers, "batch_mode": BatchMode.PER_DEVICE}
        elif "batch_size_global" in self.match:
            share, rest = divmod(self.match["batch_size_global"], workers)
            known |= {
                "batch_size_per_device": None if rest else share, "batch_mode": BatchMode.GLOBAL,
            }  # fmt: skip
        return Row(
            **values, **known, workers=workers, epochs=EPOCHS, model="paper_cnn", recipe="paper"
        )


@dataclass(frozen=True)
class PrintedConfiguration(Configuration):
    """A configuration of the study. Its speedup is the printed one, where one was printed."""

    printed: Published

    @cached_property
    def speedup(self) -> float | None:
        """As printed, or against the baseline among the study's own times."""
        return self.printed.speedup

    @cached_property
    def speedup_interval(self) -> Interval:
        """None: the study printed one value."""
        return NO_INTERVAL


def folder() -> Path:
    """The folder of the study's files: in the wheel, or the checkout's ``results/paper``."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "results" / "paper"
    return inside if inside.is_dir() else package.parent / "results" / "paper"


def read_published() -> list[Published]:
    """Every time that the study printed for preprocessing and training, then its accuracy."""
    return [*_preprocess(), *_p100(), *_dp(), *_ddp(), *_accuracy()]


@cache
def published_comparison() -> Comparison:
    """The study's numbers compared with each other, table by table, as runs are.

    Speedups are the printed ones. A time that the study printed twice for one configuration on
    different hardware stays two configurations: their ``study`` is the hardware.
    """
    known = read_published()
    printed = {published.configuration: published for published in known}
    comparison = compare(published.row for published in known)
    stages = {stage: _as_printed(of, printed) for stage, of in comparison.by_stage.items()}
    return replace(comparison, by_stage=stages)


def _as_printed(stage: StageComparison, printed: dict[str, Published]) -> StageComparison:
    found = tuple(
        PrintedConfiguration(
            one.group, one.candidates, printed[str(one.group.settings.configuration)]
        )
        for one in stage.configurations
    )
    rows = [{column: one.cells[column] for column in stage.table.columns} for one in found]
    return replace(stage, configurations=found, table=replace(stage.table, rows=rows))


def _preprocess() -> Iterator[Published]:
    lines = _read("preprocess")
    sequential_s = next(float(line["time_s"]) for line in lines if line["backend"] == "sequential")
    for line in lines:
        time_s = float(line["time_s"])
        yield Published(
            table="preprocess",
            match={"backend": Backend(line["backend"]), "workers": int(line["workers"])},
            hardware=NODE,
            measured_on=NODE,
            file="preprocess.csv",
            time_s=time_s,
            speedup=sequential_s / time_s,
            baseline="sequential, 1 worker",
        )


def _p100() -> Iterator[Published]:
    for line in _read("training_p100"):
        device = Device.CPU if line["device"] == "cpu" else Device.CUDA
        ranks = max(1, int(line["gpus"]))
        speedup = _number(line["speedup_vs_1gpu"])
        yield Published(
            table="training",
            match={
                "strategy": Strategy(line["strategy"]), "device": device, "world_size": ranks,
            },
            hardware=NODE if device is Device.CPU else P100,
            measured_on=P100,
            file="training_p100.csv",
            time_s=float(line["time_s"]),
            speedup=speedup,
            baseline=None if speedup is None else f"single on one {P100}",
        )  # fmt: skip


def _dp() -> Iterator[Published]:
    for line in _read("dp_rtx3070"):
        yield Published(
            table="training",
            match={
                "strategy": Strategy.DP, "world_size": int(line["gpus"]),
                "batch_size_global": int(line["batch_size"]),
            },
            hardware=RTX,
            measured_on=RTX,
            file="dp_rtx3070.csv",
            time_s=float(line["time_s"]),
            speedup=_number(line["speedup"]),
            baseline=f"one {RTX}, time not stated",
        )  # fmt: skip


def _ddp() -> Iterator[Published]:
    lines = _read("ddp_rtx3070")
    alone = {line["batch_size"]: float(line["time_s"]) for line in lines if line["gpus"] == "1"}
    for line in lines:
        batch, time_s = line["batch_size"], float(line["time_s"])
        yield Published(
            table="training",
            match={
                "strategy": Strategy.DDP, "world_size": int(line["gpus"]),
                "batch_size_per_device": int(batch),
            },
            hardware=RTX,
            measured_on=RTX,
            file="ddp_rtx3070.csv",
            time_s=time_s,
            speedup=alone[batch] / time_s,
            baseline=f"ddp on one {RTX}, batch {batch}",
        )  # fmt: skip


def _accuracy() -> Iterator[Published]:
    for line in _read("accuracy"):
        accuracy = float(line["test_accuracy"])
        yield Published(
            table="training", match={}, hardware="not stated", measured_on="hardware not stated",
            file="accuracy.csv", test_accuracy=accuracy,
        )  # fmt: skip


def _read(name: str) -> list[dict[str, str]]:
    with (folder() / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float | None:
    return float(text) if text else None
