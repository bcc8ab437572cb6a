"""Who takes part in ``bench train --device cuda``: which way of computing is the fastest there.

Beside naive code and Lightning Fabric it is this package's loop in every combination worth trying
of precision, memory format and execution, and the train verb with ddp on 1, 2, 4 and so on up to
all GPUs of the node. The fastest way on one GPU then trains as the verb does, for 20 epochs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.contestant import Contestant, Outcome, python_function
from weather_hpc.bench.goals import Goal
from weather_hpc.bench.train_contestants import FABRIC, NAIVE, SameLoss, no_fabric, ranks
from weather_hpc.errors import FailedError

if TYPE_CHECKING:
    from weather_hpc.bench.harness import Result

WEAPD_IMAGES, EPOCHS = 6862, 20
GOAL_S = 3.0
"""For so many epochs of so many images of 256 px, in the fastest way, on an H200."""

GOAL_RATIO = 20.0
"""How many times as fast as naive code the fastest way is to be."""

TOLERANCE = 0.05
"""Of the mean loss: compiled networks draw other dropout masks, and bfloat16 rounds."""


@dataclass(frozen=True)
class Way:
    """One way of computing the same training."""

    precision: str
    memory_format: str
    execution: str

    @property
    def name(self) -> str:
        """In the table."""
        return f"ours, {self.precision}, {self.memory_format}, {self.execution}"

    @property
    def flags(self) -> list[str]:
        """Of the train verb."""
        pairs = [(f"--{name.replace('_', '-')}", value) for name, value in vars(self).items()]
        return [word for pair in pairs for word in pair]


WAYS = [
    Way("fp32", "contiguous", "eager"),
    *(
        Way(precision, memory_format, execution)
        for precision in ("tf32", "bf16")
        for execution in ("eager", "graph", "compiled-graph")
        for memory_format in ("contiguous", "channels-last")
    ),
]


def rank_counts(gpus: int) -> list[int]:
    """With how many ranks ddp takes part: powers of two up to ``gpus``, and as many as those."""
    return sorted({*(2**power for power in range(gpus.bit_length())), gpus})


def contestants(
    store: Path, images: int, batch: int, epochs: int, gpus: int = 1
) -> list[Contestant]:
    """All: ``batch`` images a step on one GPU, or with ddp on each of up to ``gpus``."""
    same_loss = SameLoss(TOLERANCE)
    given: dict[str, Any] = {
        "store": str(store), "images": images, "batch": batch, "device": "cuda", "epochs": epochs,
    }  # fmt: skip
    where = "weather_hpc.bench.train_work"
    peers = [
        Contestant(NAIVE, "float tensors, DataLoader, .to(device) and .item() at every step",
                   python_function(f"{where}:naive", **given), check=same_loss),
        Contestant(FABRIC, "float tensors, DataLoader, Fabric's loop",
                   python_function(f"{where}:fabric", **given), missing=no_fabric(),
                   check=same_loss),
    ]  # fmt: skip
    ways = [
        Contestant(way.name, "this package's loop",
                   python_function(f"{where}:ours", way=vars(way), **given), check=same_loss)
        for way in WAYS
    ]  # fmt: skip
    ddp = [
        ranks(f"ours, ddp, {count} rank{'s' if count > 1 else ''}", count, given)
        for count in rank_counts(gpus)
    ]
    return [*peers, *ways, *ddp]


def fastest(result: "Result") -> Way | None:
    """The way with the least median time, among those that came to the right loss."""
    from weather_hpc.analysis.statistics import median

    ways = {way.name: way for way in WAYS}
    times = {
        s.contestant.name: median([m.seconds for m in s.measurements.values()])
        for s in result.standings
        if s.contestant.name in ways and s.measurements and s.reason is None
    }
    if not times:
        return None
    return ways[min(times, key=lambda name: times[name] or 0.0)]


def goals(way: Way) -> list[Goal]:
    """What the fastest way is held against."""
    return [Goal(way.name, NAIVE, GOAL_RATIO, cpu=False)]


def whole_training(store: Path, images: int, batch: int, way: Way, rounds: int) -> dict[str, Any]:
    """The train verb in ``way`` for :data:`EPOCHS` epochs, ``rounds`` times. JSON-able.

    Raises FailedError where it fails.
    """
    from weather_hpc.analysis.statistics import median
    from weather_hpc.bench.process import measure

    flags = ["--device", "cuda", "--batch-size", str(batch), "--epochs", str(EPOCHS), *way.flags]
    work = python_function(
        "weather_hpc.bench.train_work:verb", store=str(store), images=images, flags=flags
    )
    verb = Contestant("the train verb", "20 epochs", work, check=_as_asked)
    measured = [measure(verb) for _ in range(rounds)]
    time_s = median([one.seconds for one in measured])
    return {
        "flags": flags,
        "images": images,
        "epochs": EPOCHS,
        "time_s": time_s,
        "times_s": [one.seconds for one in measured],
        "facts": [one.facts for one in measured],
        "goal_s": GOAL_S,
        "met": None if time_s is None or images != WEAPD_IMAGES else time_s <= GOAL_S,
    }


def _as_asked(outcome: Outcome) -> None:
    """Raise FailedError where steps were not recorded though that was asked for."""
    if outcome.facts["without"] is not None:
        raise FailedError(f"the train verb ran {outcome.facts['without']}")
