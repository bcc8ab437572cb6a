"""Who takes part in ``bench train``, and which ratios this package has set itself."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.bench.contestant import Contestant, Outcome, python_function
from weather_hpc.bench.goals import Goal
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.runs.environment import ALLOCATOR
from weather_hpc.train.ranks import SHARED_MEMORY

NAIVE, TUNED, FABRIC = "naive", "naive, our allocator settings", "Lightning Fabric"
PORTABLE, FUSED = "ours, portable", "ours, first layers fused"
ONE_RANK, TWO_RANKS = "ours, 1 rank", "ours, 2 ranks"
TWO_GLOO, TWO_APART = "ours, 2 ranks over gloo", "ours, 2 processes apart"

GOALS = [
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


def contestants(store: Path, images: int, batch: int, epochs: int = 1) -> list[Contestant]:
    """All, each with one thread per process; ``batch`` images per step and process."""
    same_loss = SameLoss()
    given: dict[str, Any] = {
        "store": str(store), "images": images, "batch": batch, "epochs": epochs,
    }  # fmt: skip

    def make(name: str, what: str, function: str, missing: str | None = None, **more: Any
             ) -> Contestant:  # fmt: skip
        work = python_function(f"weather_hpc.bench.train_work:{function}", **given)
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
                   python_function("weather_hpc.bench.train_work:apart", **given, count=2),
                   environment=AS_A_SWEEP),
    ]  # fmt: skip


def ranks(name: str, count: int, given: dict[str, Any], **variables: str) -> Contestant:
    """``count`` ranks of ddp, as a sweep starts them, with ``variables`` set besides.

    ``given``: store, images, batch and epochs, and the device where it is not the CPU.
    """
    return Contestant(
        name,
        f"python -m weather_hpc.train as a sweep starts it: ddp, {count} x {given['batch']} images",
        python_function("weather_hpc.bench.train_work:ranks", **given, count=count),
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
