"""Who takes part in ``bench train``, and which ratios this package has set itself."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.benchmark import Goal
from weather_hpc.bench.measurement import Contestant, Outcome
from weather_hpc.bench.timed_function import python_function
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.runs.environment import ALLOCATOR
from weather_hpc.train.ranks import SHARED_MEMORY

if TYPE_CHECKING:
    from weather_hpc.bench.benchmark import Result

NAIVE, TUNED, FABRIC = "naive", "naive, our allocator settings", "Lightning Fabric"
PORTABLE, FUSED = "ours, portable", "ours, first layers fused"
ONE_RANK, TWO_RANKS = "ours, 1 rank", "ours, 2 ranks"
TWO_GLOO, TWO_APART = "ours, 2 ranks over gloo", "ours, 2 processes apart"

CPU_GOALS = [
    Goal(PORTABLE, NAIVE, 2.3, cpu=True),
    Goal(FUSED, NAIVE, 6.0, cpu=True),
    Goal(TWO_RANKS, ONE_RANK, 1.9, cpu=False),
]

AS_A_SWEEP = ALLOCATOR | {"GLOO_SOCKET_IFNAME": "lo"}
"""What a sweep sets in the environment of the ranks of one node."""

TOLERANCE = 2e-3
"""By how much of it the mean loss of the measured steps may differ from the reference's. Float32
sums in another order differ by 1e-7, and every step that follows enlarges that."""


@dataclass
class SameLoss:
    """Checks that all come to the loss of the first, which is the reference."""

    tolerance: float = TOLERANCE
    expected: float | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Raise FailedError where the loss is another."""
        loss: float = outcome.facts["loss"]
        if self.expected is None:
            self.expected = loss
        if not abs(loss - self.expected) <= self.tolerance * self.expected:  # not a number, too
            raise FailedError(f"came to a loss of {loss:.6f}; the reference, {self.expected:.6f}")


def cpu_contestants(store: Path, images: int, batch: int, epochs: int = 1) -> list[Contestant]:
    """All, each with one thread per process; ``batch`` images per step and process."""
    same_loss = SameLoss()
    given: dict[str, Any] = {
        "store": str(store), "images": images, "batch": batch, "epochs": epochs,
    }  # fmt: skip

    def make(name: str, what: str, function: str, missing: str | None = None, **more: Any
             ) -> Contestant:  # fmt: skip
        work = python_function(f"weather_hpc.bench.train_functions:{function}", **given)
        return Contestant(name, what, work, missing=missing, **more)

    return [
        make(NAIVE, "float tensors, DataLoader, .item() at every step", "naive", check=same_loss),
        make(TUNED, "the same", "naive", environment=ALLOCATOR, check=same_loss),
        make(FABRIC, "float tensors, DataLoader, Fabric's loop", "fabric", no_fabric(),
             environment=ALLOCATOR, check=same_loss),
        make(PORTABLE, "this package's loop, torch alone", "ours",
             environment=ALLOCATOR | {SWITCH: "off"}, check=same_loss),
        make(FUSED, "this package's loop as it runs where there is a C++ compiler", "ours",
             no_fused(), environment=ALLOCATOR, check=same_loss, warmup=True),
        ranks(ONE_RANK, 1, given),
        ranks(TWO_RANKS, 2, given),
        ranks(TWO_GLOO, 2, given, **{SHARED_MEMORY: "off"}),
        Contestant(TWO_APART, "half of the images each and no exchange: what the cores allow",
                   python_function("weather_hpc.bench.train_functions:apart", **given, count=2),
                   environment=AS_A_SWEEP),
    ]  # fmt: skip


def ranks(name: str, count: int, given: dict[str, Any], **variables: str) -> Contestant:
    """``count`` ranks of ddp, as a sweep starts them, with ``variables`` set besides.

    ``given``: store, images, batch and epochs, and the device where it is not the CPU.
    """
    return Contestant(
        name,
        f"python -m weather_hpc.train as a sweep starts it: ddp, {count} x {given['batch']} images",
        python_function("weather_hpc.bench.train_functions:ranks", **given, count=count),
        environment=AS_A_SWEEP | variables,
    )


def no_fabric() -> str | None:
    """Why Lightning Fabric cannot race here; None: it can."""
    there = importlib.util.find_spec("lightning_fabric") is not None
    return None if there else "lightning-fabric is not installed"


def no_fused() -> str | None:
    """Why the first layers cannot be fused here; None: they can."""
    from weather_hpc.models.fused_build import kernels

    try:
        kernels()
    except FailedError as error:
        return str(error)
    return None


WEAPD_IMAGES, EPOCHS = 6862, 20


GOAL_S = 3.0
"""For so many epochs of so many images of 256 px, in the fastest way, on an H200."""


GOAL_RATIO = 20.0
"""How many times as fast as naive code the fastest way is to be."""


GPU_TOLERANCE = 0.05
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


def gpu_contestants(
    store: Path, images: int, batch: int, epochs: int, gpus: int = 1
) -> list[Contestant]:
    """All: ``batch`` images a step on one GPU, or with ddp on each of up to ``gpus``."""
    same_loss = SameLoss(GPU_TOLERANCE)
    given: dict[str, Any] = {
        "store": str(store), "images": images, "batch": batch, "device": "cuda", "epochs": epochs,
    }  # fmt: skip
    where = "weather_hpc.bench.train_functions"
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


def gpu_goals(way: Way) -> list[Goal]:
    """What the fastest way is held against."""
    return [Goal(way.name, NAIVE, GOAL_RATIO, cpu=False)]


def whole_training(store: Path, images: int, batch: int, way: Way, rounds: int) -> dict[str, Any]:
    """The train verb in ``way`` for :data:`EPOCHS` epochs, ``rounds`` times. JSON-able.

    Raises FailedError where it fails.
    """
    from weather_hpc.analysis.statistics import median
    from weather_hpc.bench.measurement import measure

    flags = ["--device", "cuda", "--batch-size", str(batch), "--epochs", str(EPOCHS), *way.flags]
    work = python_function(
        "weather_hpc.bench.train_functions:verb", store=str(store), images=images, flags=flags
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
