"""The implementations of ``bench train`` and the goals that this package has set itself.

On the CPU: naive code, Lightning Fabric and this package's loop with one and two processes. On
GPUs: naive code, Fabric, this package's loop in every useful combination of precision, memory
format and execution, and the train verb with ddp on 1, 2, 4 and so on up to all GPUs of the node.
The fastest variant on one GPU then trains as the verb does, for 20 epochs.
"""

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

from weather_hpc.bench.benchmark import BenchmarkResult, Goal
from weather_hpc.bench.measurement import Implementation, Outcome, measure
from weather_hpc.bench.timed_function import function_command
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.runs.environment import ALLOCATOR
from weather_hpc.train.ranks import SHARED_MEMORY

NAIVE, TUNED, FABRIC = "naive", "naive, our allocator settings", "Lightning Fabric"
PORTABLE, FUSED = "ours, portable", "ours, first layers fused"
ONE_RANK, TWO_RANKS = "ours, 1 rank", "ours, 2 ranks"
TWO_GLOO, TWO_APART = "ours, 2 ranks over gloo", "ours, 2 processes apart"

CPU_GOALS = [
    Goal(PORTABLE, NAIVE, 2.3, cpu=True),
    Goal(FUSED, NAIVE, 6.0, cpu=True),
    Goal(TWO_RANKS, ONE_RANK, 1.9, cpu=False),
]

GPU_GOAL_RATIO = 20.0
"""How many times as fast as naive code the fastest variant on a GPU should be."""

WEAPD_IMAGES, EPOCHS, GOAL_S = 6862, 20, 3.0
"""The fastest variant should train this many images of 256 px for this many epochs in GOAL_S
seconds on an H200."""

AS_A_SWEEP = ALLOCATOR | {"GLOO_SOCKET_IFNAME": "lo"}
"""What a sweep sets in the environment of the ranks of one node."""

CPU_TOLERANCE = 2e-3
"""Allowed relative difference of the mean loss of the measured steps from the reference's. Float32
sums in another order differ by 1e-7, and every step that follows enlarges that."""

GPU_TOLERANCE = 0.05
"""As CPU_TOLERANCE: compiled networks draw other dropout masks, and bfloat16 rounds."""


@dataclass(frozen=True)
class Workload:
    """What every implementation trains: the arguments of the functions in train_functions."""

    store: str
    images: int
    """Of an epoch."""
    batch: int
    """Images of a step and process."""
    epochs: int = 1
    device: str = "cpu"
    """``cpu`` or ``cuda``."""

    def command(self, function: str, **more: Any) -> tuple[str, ...]:
        """The command that runs ``function`` of train_functions on this workload."""
        target = f"weather_hpc.bench.train_functions:{function}"
        return function_command(target, **asdict(self), **more)


@dataclass
class SameLoss:
    """Checks that all reach the loss of the first that is checked, which is the reference."""

    tolerance: float = CPU_TOLERANCE
    expected: float | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Raise FailedError if the loss differs."""
        loss: float = outcome.facts["loss"]
        if self.expected is None:
            self.expected = loss
        if not abs(loss - self.expected) <= self.tolerance * self.expected:  # also if it is NaN
            raise FailedError(f"came to a loss of {loss:.6f}; the reference, {self.expected:.6f}")


def cpu_implementations(work: Workload) -> list[Implementation]:
    """All on the CPU, each with one thread per process."""
    same_loss = SameLoss()

    def make(name: str, what: str, function: str, **more: Any) -> Implementation:
        return Implementation(name, what, work.command(function), check=same_loss, **more)

    return [
        make(NAIVE, "float tensors, DataLoader, .item() at every step", "naive"),
        make(TUNED, "the same", "naive", environment=ALLOCATOR),
        make(FABRIC, "float tensors, DataLoader, Fabric's loop", "fabric", missing=no_fabric(),
             environment=ALLOCATOR),
        make(PORTABLE, "this package's loop, torch alone", "ours",
             environment=ALLOCATOR | {SWITCH: "off"}),
        make(FUSED, "this package's loop as it runs where there is a C++ compiler", "ours",
             missing=no_fused(), environment=ALLOCATOR, warmup=True),
        ranks(ONE_RANK, 1, work),
        ranks(TWO_RANKS, 2, work),
        ranks(TWO_GLOO, 2, work, **{SHARED_MEMORY: "off"}),
        Implementation(TWO_APART, "half of the images each, no exchange: what the cores allow",
                       work.command("apart", count=2), environment=AS_A_SWEEP),
    ]  # fmt: skip


def ranks(name: str, count: int, work: Workload, **variables: str) -> Implementation:
    """``count`` ranks of ddp, started as by a sweep, with ``variables`` set in addition."""
    return Implementation(
        name,
        f"python -m weather_hpc.train as a sweep starts it: ddp, {count} x {work.batch} images",
        work.command("ranks", count=count),
        environment=AS_A_SWEEP | variables,
    )


def no_fabric() -> str | None:
    """Why Lightning Fabric cannot run here; None if it can."""
    installed = importlib.util.find_spec("lightning_fabric") is not None
    return None if installed else "lightning-fabric is not installed"


def no_fused() -> str | None:
    """Why the first layers cannot be fused here; None if they can."""
    from weather_hpc.models.fused_build import kernels

    try:
        kernels()
    except FailedError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Variant:
    """One way of computing the same training on a GPU, by options of the train verb."""

    precision: str
    memory_format: str
    execution: str

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"ours, {self.precision}, {self.memory_format}, {self.execution}"

    @property
    def flags(self) -> list[str]:
        """The options of the train verb."""
        pairs = [(f"--{name.replace('_', '-')}", value) for name, value in asdict(self).items()]
        return [word for pair in pairs for word in pair]


VARIANTS = [
    Variant("fp32", "contiguous", "eager"),
    *(
        Variant(precision, memory_format, execution)
        for precision in ("tf32", "bf16")
        for execution in ("eager", "graph", "compiled-graph")
        for memory_format in ("contiguous", "channels-last")
    ),
]


def rank_counts(gpus: int) -> list[int]:
    """The numbers of ranks of ddp: powers of two up to ``gpus``, and ``gpus`` itself."""
    return sorted({*(2**power for power in range(gpus.bit_length())), gpus})


def gpu_implementations(work: Workload, gpus: int = 1) -> list[Implementation]:
    """All on one GPU, and ddp with the same steps on each of up to ``gpus``."""
    same_loss = SameLoss(GPU_TOLERANCE)
    naive = "float tensors, DataLoader, .to(device) and .item() at every step"
    peers = [
        Implementation(NAIVE, naive, work.command("naive"), check=same_loss),
        Implementation(FABRIC, "float tensors, DataLoader, Fabric's loop", work.command("fabric"),
                       missing=no_fabric(), check=same_loss),
    ]  # fmt: skip
    ours = [
        Implementation(variant.name, "this package's loop",
                       work.command("ours", variant=asdict(variant)), check=same_loss)
        for variant in VARIANTS
    ]  # fmt: skip
    ddp = [
        ranks(f"ours, ddp, {count} rank{'s' if count > 1 else ''}", count, work)
        for count in rank_counts(gpus)
    ]
    return [*peers, *ours, *ddp]


def fastest(result: BenchmarkResult) -> Variant | None:
    """The variant with the smallest median time, among those that reached the right loss."""
    from weather_hpc.analysis.statistics import median

    variants = {variant.name: variant for variant in VARIANTS}
    times = {
        one.implementation.name: median([m.seconds for m in one.measurements.values()])
        for one in result.results
        if one.implementation.name in variants and one.measurements and one.reason is None
    }
    if not times:
        return None
    return variants[min(times, key=lambda name: times[name] or 0.0)]


def gpu_goals(fastest: Variant | None) -> list[Goal]:
    """The goal of the fastest variant, if there is one."""
    return [Goal(fastest.name, NAIVE, GPU_GOAL_RATIO, cpu=False)] if fastest else []


def whole_training(work: Workload, variant: Variant, rounds: int) -> dict[str, Any]:
    """The train verb with ``variant`` for :data:`EPOCHS` epochs, ``rounds`` times. JSON-able.

    Raises FailedError if it fails.
    """
    from weather_hpc.analysis.statistics import median

    flags = ["--device", "cuda", "--batch-size", str(work.batch), "--epochs", str(EPOCHS),
             *variant.flags]  # fmt: skip
    command = function_command(
        "weather_hpc.bench.train_functions:verb",
        store=work.store, images=work.images, flags=flags,
    )  # fmt: skip
    verb = Implementation("the train verb", "20 epochs", command, check=_check_execution)
    measured = [measure(verb) for _ in range(rounds)]
    time_s = median([one.seconds for one in measured])
    return {
        "flags": flags,
        "images": work.images,
        "epochs": EPOCHS,
        "time_s": time_s,
        "times_s": [one.seconds for one in measured],
        "facts": [one.facts for one in measured],
        "goal_s": GOAL_S,
        "met": None if time_s is None or work.images != WEAPD_IMAGES else time_s <= GOAL_S,
    }


def whole_training_goal(whole: dict[str, Any]) -> str:
    """The goal of :func:`whole_training` beside what it measured, in one line."""
    state = {True: "met", False: "missed", None: f"open (not {WEAPD_IMAGES} images)"}[whole["met"]]
    return (
        f"goal {state}: {whole['epochs']} epochs of {whole['images']} images in "
        f"{whole['time_s']:.3g} s, goal: at most {whole['goal_s']:g} s, by weather_hpc.train "
        f"{' '.join(whole['flags'])}"
    )


def _check_execution(outcome: Outcome) -> None:
    """Raise FailedError if steps were not recorded as requested."""
    if outcome.facts["without"] is not None:
        raise FailedError(f"the train verb ran {outcome.facts['without']}")
