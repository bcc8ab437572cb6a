"""Whether training is correct: the train verb in two ways whose losses must agree."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch

from weather_hpc.check.runs import FinishedRun, largest_difference
from weather_hpc.check.session import PAPER, SMALL, Check, NotDoneError, Passed, Session, WrongError
from weather_hpc.check.train_rank import GLOO, STAGED
from weather_hpc.cli import EXIT_FAILED, EXIT_STOPPED
from weather_hpc.study.tasks import Device
from weather_hpc.train.ranks import SHARED_MEMORY

SAME, ROUNDED = 2e-3, 3e-2
"""Allowed relative differences of losses: for float32 sums in another order, which two epochs
enlarge; for products rounded to fewer bits."""

SLOWER, MORE_S = 5.0, 0.05
"""Warm-up was incomplete if the first epoch takes longer than this factor times the slowest later
one plus this many seconds."""

FEW_STEPS = ("--batch-size", 16, "--images", 32)
"""Fewer steps in an epoch than the warm-up of a CUDA graph."""
UNEVEN = ("--batch-size", 8, "--images", 29)
"""Steps of 8, 8, 7 and 6 images."""

EACH, MOST = 4, 32
"""Images of a step for each device, and at most for all devices together."""

LITTLE_MEMORY_MB = 100
"""Memory of a GPU that is too little for a large step of the paper's network, MB."""


def base(session: Session, model: str, side: int = SMALL, *more: object) -> list[object]:
    """The options of a small run of two epochs."""
    return ["--store", session.store(side), "--model", model, "--epochs", 2,
            "--batch-size", 8, *more]  # fmt: skip


def shared_batch(count: int) -> list[object]:
    """The options of a batch that ``count`` devices share."""
    return ["--batch-size", count * max(1, min(EACH, MOST // count)), "--batch-mode", "global"]


def on_device(session: Session) -> tuple[str, str]:
    """The option for the session's device."""
    return "--device", session.device.value


def compare_losses(
    losses: Sequence[float], expected: Sequence[float], allowed: float, how: str = ""
) -> Passed:
    """Raise WrongError if curves of losses differ by more than ``allowed``, relatively.

    ``how`` says in the result how gradients were exchanged.
    """
    difference = largest_difference(losses, expected)
    figures = {"difference": difference, "allowed": allowed}
    text = f"losses differ by {difference:.1e} at most" + (f", {how}" if how else "")
    if not difference <= allowed:  # also if it is NaN
        raise WrongError(f"{text}; allowed: {allowed:g}", figures)
    return Passed(text, figures)


def equal_to_cpu(model: str, side: int) -> Callable[[Session], Passed]:
    """This device reaches the CPU's losses."""

    def check(session: Session) -> Passed:
        options = base(session, model, side)
        expected = session.runs.here(*options, "--device", "cpu")
        ran = session.runs.here(*options, *on_device(session))
        return compare_losses(ran.losses, expected.losses, SAME)

    return check


def equal_to_eager(
    model: str,
    side: int,
    recipe: str,
    *variant: object,
    options: tuple[object, ...] = (),
    allowed: float = SAME,
) -> Callable[[Session], Passed]:
    """The options ``variant`` reach the losses of eager execution in fp32; ``options``: of both."""

    def check(session: Session) -> Passed:
        both = base(session, model, side, *on_device(session), "--recipe", recipe, *options)
        expected = session.runs.here(*both)
        ran = session.runs.here(*both, *variant)
        _check_execution(ran)
        return compare_losses(ran.losses, expected.losses, allowed)

    return check


def compiled(session: Session) -> Passed:
    """Code of torch.compile reaches the same losses."""
    _can_compile(session)
    return equal_to_eager("tiny", SMALL, "paper", "--execution", "compiled")(session)


def resumed(*more: object) -> Callable[[Session], Passed]:
    """A run that is stopped and resumed equals an uninterrupted one.

    On CPUs their weights are equal bit for bit. GPUs add in no fixed order, and weights on which
    the loss does not depend, such as a bias before batch norm, then drift with rounding: there the
    losses are compared.
    """

    def check(session: Session) -> Passed:
        options = base(
            session, "tiny_norm", SMALL, *on_device(session), "--recipe", "strong", *more
        )
        options += ["--epochs", 3]
        whole = session.runs.here(*options)
        folder = whole.paths.root.with_name(f"{whole.paths.root.name}-resumed")
        folder.mkdir()
        (folder / "stop").touch()
        stopped = session.runs.here(*options, run_dir=folder, code=EXIT_STOPPED)
        stopped.paths.stop.unlink()
        part = session.runs.here(*options, "--resume", run_dir=folder)
        if not part.events("resume"):
            raise WrongError("the run was started over, not resumed")
        if session.device is Device.CUDA:
            return compare_losses(part.losses, whole.losses, SAME)
        one, other = (torch.load(ran.paths.checkpoint, weights_only=True)["network"]
                      for ran in (whole, part))  # fmt: skip
        differences = [(one[k].double() - other[k].double()).abs().max() for k in one]
        largest = float(torch.stack(differences).max())
        if largest != 0.0:
            raise WrongError(f"a weight differs by {largest:.1e}; expected equal bits")
        return Passed("the same weights, bit for bit", {"difference": largest})

    return check


def warmed_up(*more: object) -> Callable[[Session], Passed]:
    """Warm-up is complete: no measured epoch is slow, with steps of three sizes."""

    def check(session: Session) -> Passed:
        options = base(session, "tiny", SMALL, *on_device(session), *UNEVEN, "--epochs", 4, *more)
        first, *later = [event["time_s"] for event in session.runs.here(*options).epochs]
        text = f"epochs of {', '.join(f'{s:.3g}' for s in (first, *later))} s"
        if first > SLOWER * max(later) + MORE_S:
            raise WrongError(f"{text}: the first includes work that belongs into the warm-up")
        return Passed(text, {"first_epoch_s": first, "slowest_later_epoch_s": max(later)})

    return check


def ranks(
    strategy: str, count: int, model: str = "tiny_deep", *more: object, backend: str = "",
    **variables: str,
) -> Callable[[Session], Passed]:  # fmt: skip
    """``count`` ranks under torchrun reach the losses of one process."""

    def check(session: Session) -> Passed:
        # batch norm normalises over the same number of images in both
        options = base(session, model, SMALL, *on_device(session))
        options += shared_batch(count)
        single = session.runs.here(*options)
        ran = session.runs.apart(
            *options, "--strategy", strategy, "--world-size", count, *more,
            ranks=count, backend=backend, variables=variables,
        )  # fmt: skip
        return compare_losses(
            ran.losses, single.losses, SAME, f"through {backend or ran.exchange or 'pipelines'}"
        )

    return check


def dp(count: int) -> Callable[[Session], Passed]:
    """One process that drives all GPUs reaches the losses of one GPU."""

    def check(session: Session) -> Passed:
        options = base(session, "tiny", SMALL, *on_device(session))
        options += shared_batch(count)
        single = session.runs.here(*options)
        ran = session.runs.here(*options, "--strategy", "dp", "--world-size", count)
        return compare_losses(ran.losses, single.losses, SAME)

    return check


def out_of_memory(*more: object) -> Callable[[Session], Passed]:
    """A run with too little GPU memory is recorded as out of memory."""

    def check(session: Session) -> Passed:
        options = base(session, "paper_cnn", PAPER, *on_device(session), "--batch-size", 36, *more)
        ran = session.runs.apart(*options, code=EXIT_FAILED, memory_mb=LITTLE_MEMORY_MB)
        status, reason = ran.record["status"], ran.record["reason"]
        if status != "out_of_memory":
            raise WrongError(f"status {status}: {reason}")
        return Passed(reason[:160])

    return check


def compiled_warm_up(session: Session) -> Passed:
    """Nothing is compiled in measured time."""
    _can_compile(session)
    return warmed_up("--execution", "compiled")(session)


def _can_compile(session: Session) -> None:
    """Raise NotDoneError if torch.compile lacks a compiler for the session's device."""
    on_a_cpu = session.device is Device.CPU
    if not on_a_cpu and importlib.util.find_spec("triton") is None:
        raise NotDoneError("torch.compile needs Triton for GPUs, and it is not installed")
    variable, defaults = ("CXX", ["g++"]) if on_a_cpu else ("CC", ["gcc", "clang"])
    configured = os.environ.get(variable)
    compilers = [configured] if configured else defaults
    if not any(map(shutil.which, compilers)):
        raise NotDoneError(f"torch.compile needs a compiler: no {' or '.join(compilers)} on PATH")


def _check_execution(ran: FinishedRun) -> None:
    """Raise WrongError if the execution differs from the requested one."""
    environment: dict[str, Any] = ran.record["provenance"]["environment"]
    if "execution" in environment:
        raise WrongError(f"the steps ran {environment['execution']}")


def on_a_cpu() -> list[Check]:
    """The checks of training without a GPU."""
    over_gloo = {SHARED_MEMORY: "off"}
    return [
        Check("ddp x2 = one process", 15, ranks("ddp", 2)),
        Check("model x2 = one process", 15, ranks("model", 2)),
        Check("ddp x2 over gloo = one process", 15, ranks("ddp", 2, **over_gloo)),
        Check("ddp x2, synchronised batch norm = one process", 15,
              ranks("ddp", 2, "tiny_norm_dry", "--batch-norm", "sync")),
        Check("resumed = unbroken", 5, resumed()),
        Check("warm-up meets every size of step", 3, warmed_up()),
        Check("channels-last = contiguous", 4,
              equal_to_eager("paper_dry", PAPER, "paper", "--memory-format", "channels-last")),
        Check("bf16 near fp32", 3,
              equal_to_eager("tiny", SMALL, "paper", "--precision", "bf16", allowed=ROUNDED)),
        Check("compiled = eager", 60, compiled),
    ]  # fmt: skip


def on_gpus(gpus: int) -> list[Check]:
    """The checks of training on ``gpus`` GPUs."""
    graph = ("--execution", "graph")
    checks = [
        Check(f"cuda = cpu: {model}", 6, equal_to_cpu(model, side))
        for model, side in (("tiny", SMALL), ("paper_dry", PAPER), ("weather_dry", PAPER))
    ]
    checks += [
        Check(f"graph = eager: {model}, {recipe}", 6, equal_to_eager(model, side, recipe, *graph))
        for model, side, recipe in (
            ("tiny_norm", SMALL, "paper"), ("tiny_norm", SMALL, "strong"),
            ("paper_cnn", PAPER, "paper"), ("weather_net", PAPER, "strong"),
        )
    ]  # fmt: skip
    checks += [
        Check(f"graph in {precision}, {layout} near eager in fp32", 6,
              equal_to_eager("paper_dry", PAPER, "paper", *graph, "--precision", precision,
                         "--memory-format", layout, allowed=ROUNDED))
        for precision in ("tf32", "bf16") for layout in ("contiguous", "channels-last")
    ]  # fmt: skip
    checks += [
        Check(
            "graphs of fewer steps than rehearsals",
            6,
            equal_to_eager("tiny", SMALL, "paper", *graph, options=FEW_STEPS),
        ),
        Check("resumed = unbroken", 8, resumed()),
        Check("resumed = unbroken, graphs", 8, resumed(*graph)),
        Check("warm-up meets every size of step", 5, warmed_up()),
        *_rank_checks(gpus),
        Check(f"dp x{gpus} = one GPU", 8, dp(gpus)),
        Check("out of memory is named", 20, out_of_memory()),
        Check("out of memory is named, graphs", 20, out_of_memory(*graph)),
    ]
    return checks


def compiled_on_gpus() -> list[Check]:
    """The checks of torch.compile on GPUs, which compiles slowly."""
    return [
        Check("compiled = eager", 60, compiled),
        Check("warm-up meets every size of step, compiled", 60, compiled_warm_up),
    ]  # fmt: skip


def _rank_checks(gpus: int) -> list[Check]:
    """As many ranks as GPUs; on a single GPU also two, without NCCL, which refuses that."""
    sync = ("tiny_norm_dry", "--batch-norm", "sync")
    if gpus > 1:
        return [
            Check(f"ddp x{gpus} = one GPU", 30, ranks("ddp", gpus)),
            Check(f"ddp x{gpus}, synchronised batch norm = one GPU", 30, ranks("ddp", gpus, *sync)),
            Check(f"model x{min(gpus, 4)} = one GPU", 30, ranks("model", min(gpus, 4))),
        ]
    return [
        Check("ddp x1 over NCCL = one process", 20, ranks("ddp", 1)),
        Check("ddp x2 on one GPU, gloo = one process", 25, ranks("ddp", 2, backend=GLOO)),
        Check("ddp x2 on one GPU, staged = one process", 25, ranks("ddp", 2, backend=STAGED)),
        Check("ddp x2 on one GPU, synchronised batch norm = one process", 25,
              ranks("ddp", 2, *sync, backend=STAGED)),
        Check("model x1 over NCCL = one process", 20, ranks("model", 1)),
        Check("model x2 on one GPU, staged = one process", 25,
              ranks("model", 2, backend=STAGED)),
    ]  # fmt: skip
