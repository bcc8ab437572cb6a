"""Whether training is right: the train verb on this device beside itself in another way."""

import importlib.util
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch

from weather_hpc.check.runs import Ran, furthest
from weather_hpc.check.session import PAPER, SMALL, Check, Found, NotDoneError, Session, WrongError
from weather_hpc.check.train_rank import GLOO, STAGED
from weather_hpc.cli import EXIT_FAILED, EXIT_STOPPED
from weather_hpc.study.spec import Device
from weather_hpc.train.ranks import SHARED_MEMORY

SAME, ROUNDED = 2e-3, 3e-2
"""Relative differences of losses that are allowed: float32 added up in another order, which two
epochs of steps enlarge; products rounded to fewer bits."""

SLOWER, MORE_S = 5.0, 0.05
"""A first epoch that takes so many times as long as later ones, and more than so many seconds,
pays for what warm-up should have done."""

FEW_STEPS = ("--batch-size", 16, "--images", 32)
UNEVEN = ("--batch-size", 8, "--images", 29)
"""Steps of 8, 8, 7 and 6 images."""

EACH, MOST = 4, 32
"""Images of a step for each device, as long as there are enough in the store for all of them."""

LITTLE_MEMORY_MB = 100
"""Of a GPU: too little for a large step of the paper's network."""


def base(session: Session, model: str, side: int = SMALL, *more: object) -> list[object]:
    """The options of a small run of two epochs."""
    return ["--store", session.store(side), "--model", model, "--epochs", 2,
            "--batch-size", 8, *more]  # fmt: skip


def shared_by(count: int) -> list[object]:
    """The options of steps that ``count`` devices share."""
    return ["--batch-size", count * max(1, min(EACH, MOST // count)), "--batch-mode", "global"]


def on(session: Session) -> tuple[str, str]:
    """The session's device."""
    return "--device", session.device.value


def near(
    found: Sequence[float], expected: Sequence[float], allowed: float, told: str = ""
) -> Found:
    """Raises WrongError where curves of losses differ by more than ``allowed``, relatively."""
    apart = furthest(found, expected)
    figures = {"difference": apart, "allowed": allowed}
    text = f"losses differ by {apart:.1e} at most" + (f", {told}" if told else "")
    if not apart <= allowed:
        raise WrongError(f"{text}; {allowed:g} is allowed", figures)
    return Found(text, figures)


def as_on_the_cpu(model: str, side: int) -> Callable[[Session], Found]:
    """This device comes to the CPU's losses."""

    def check(session: Session) -> Found:
        options = base(session, model, side)
        expected = session.runs.here(*options, "--device", "cpu")
        ran = session.runs.here(*options, *on(session))
        return near(ran.losses, expected.losses, SAME)

    return check


def as_eagerly(
    model: str,
    side: int,
    recipe: str,
    *way: object,
    options: tuple[object, ...] = (),
    allowed: float = SAME,
) -> Callable[[Session], Found]:
    """Another ``way`` of computing comes to the losses of single operations in fp32.

    ``options`` are for both runs.
    """

    def check(session: Session) -> Found:
        both = base(session, model, side, *on(session), "--recipe", recipe, *options)
        expected = session.runs.here(*both)
        ran = session.runs.here(*both, *way)
        _as_asked(ran)
        return near(ran.losses, expected.losses, allowed)

    return check


def compiled(session: Session) -> Found:
    """torch.compile's code comes to the same losses."""
    _can_compile(session)
    return as_eagerly("tiny", SMALL, "paper", "--execution", "compiled")(session)


def few_steps(session: Session) -> Found:
    """Graphs of an epoch that has fewer steps than a graph has rehearsals."""
    graph = as_eagerly("tiny", SMALL, "paper", "--execution", "graph", options=FEW_STEPS)
    return graph(session)


def resumed(*more: object) -> Callable[[Session], Found]:
    """A run that is stopped and resumed goes the way of an unbroken one.

    On CPUs it ends with the same bits. GPUs add up in no fixed order, and weights on which the
    loss does not depend, such as a bias before batch norm, then go where rounding takes them: there
    it is the losses that are compared.
    """

    def check(session: Session) -> Found:
        options = base(session, "tiny_norm", SMALL, *on(session), "--recipe", "strong", *more)
        options += ["--epochs", 3]
        whole = session.runs.here(*options)
        folder = whole.paths.root.with_name(f"{whole.paths.root.name}-resumed")
        folder.mkdir()
        (folder / "stop").touch()
        stopped = session.runs.here(*options, run_dir=folder, code=EXIT_STOPPED)
        stopped.paths.stop.unlink()
        part = session.runs.here(*options, "--resume", run_dir=folder)
        if not part.events("resume"):
            raise WrongError("the run was begun anew, not resumed")
        if session.device is Device.CUDA:
            return near(part.losses, whole.losses, SAME)
        one, other = (torch.load(ran.paths.checkpoint, weights_only=True)["network"]
                      for ran in (whole, part))  # fmt: skip
        apart = [(one[k].double() - other[k].double()).abs().max() for k in one]
        worst = float(torch.stack(apart).max())
        if worst != 0.0:
            raise WrongError(f"a weight differs by {worst:.1e}; the same bits are wanted")
        return Found("the same weights, bit for bit", {"difference": worst})

    return check


def warmed_up(*more: object) -> Callable[[Session], Found]:
    """No epoch pays for what warm-up should have done: steps come in three sizes."""

    def check(session: Session) -> Found:
        options = base(session, "tiny", SMALL, *on(session), *UNEVEN, "--epochs", 4, *more)
        first, *later = [event["time_s"] for event in session.runs.here(*options).epochs]
        text = f"epochs of {', '.join(f'{s:.3g}' for s in (first, *later))} s"
        if first > SLOWER * max(later) + MORE_S:
            raise WrongError(f"{text}: the first one pays for what warm-up left out")
        return Found(text, {"first_epoch_s": first, "slowest_later_epoch_s": max(later)})

    return check


def ranks(
    strategy: str, count: int, model: str = "tiny_deep", *more: object, backend: str = "",
    **variables: str,
) -> Callable[[Session], Found]:  # fmt: skip
    """``count`` ranks under torchrun come to the losses of one process."""

    def check(session: Session) -> Found:
        # batch norm sees as many images alone as together
        options = base(session, model, SMALL, *on(session))
        options += shared_by(count)
        alone = session.runs.here(*options)
        ran = session.runs.apart(
            *options, "--strategy", strategy, "--world-size", count, *more,
            ranks=count, backend=backend, variables=variables,
        )  # fmt: skip
        return near(
            ran.losses, alone.losses, SAME, f"through {backend or ran.exchange or 'pipelines'}"
        )

    return check


def dp(count: int) -> Callable[[Session], Found]:
    """One process that drives all GPUs comes to the losses of one GPU."""

    def check(session: Session) -> Found:
        options = base(session, "tiny", SMALL, *on(session))
        options += shared_by(count)
        alone = session.runs.here(*options)
        ran = session.runs.here(*options, "--strategy", "dp", "--world-size", count)
        return near(ran.losses, alone.losses, SAME)

    return check


def out_of_memory(*more: object) -> Callable[[Session], Found]:
    """Want of a GPU's memory is told as what it is."""

    def check(session: Session) -> Found:
        options = base(session, "paper_cnn", PAPER, *on(session), "--batch-size", 36, *more)
        ran = session.runs.apart(*options, code=EXIT_FAILED, memory_mb=LITTLE_MEMORY_MB)
        status, reason = ran.record["status"], ran.record["reason"]
        if status != "out_of_memory":
            raise WrongError(f"status {status}: {reason}")
        return Found(reason[:160])

    return check


def compiled_warm_up(session: Session) -> Found:
    """Nothing is compiled in measured time."""
    _can_compile(session)
    return warmed_up("--execution", "compiled")(session)


def _can_compile(session: Session) -> None:
    """Raises NotDoneError where torch.compile lacks what it needs on the session's device."""
    on_a_cpu = session.device is Device.CPU
    if not on_a_cpu and importlib.util.find_spec("triton") is None:
        raise NotDoneError("torch.compile needs Triton for GPUs, and it is not installed")
    variable, usual = ("CXX", ["g++"]) if on_a_cpu else ("CC", ["gcc", "clang"])
    given = os.environ.get(variable)
    compilers = [given] if given else usual
    if not any(map(shutil.which, compilers)):
        raise NotDoneError(f"torch.compile needs a compiler: no {' or '.join(compilers)} here")


def _as_asked(ran: Ran) -> None:
    told: dict[str, Any] = ran.record["provenance"]["environment"]
    if "execution" in told:
        raise WrongError(f"the steps were carried out {told['execution']}")


def on_a_cpu() -> list[Check]:
    """The checks of training where there is no GPU."""
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
              as_eagerly("paper_dry", PAPER, "paper", "--memory-format", "channels-last")),
        Check("bf16 near fp32", 3,
              as_eagerly("tiny", SMALL, "paper", "--precision", "bf16", allowed=ROUNDED)),
        Check("compiled = eager", 60, compiled),
    ]  # fmt: skip


def on_gpus(gpus: int) -> list[Check]:
    """The checks of training on ``gpus`` GPUs."""
    graph = ("--execution", "graph")
    checks = [
        Check(f"cuda = cpu: {model}", 6, as_on_the_cpu(model, side))
        for model, side in (("tiny", SMALL), ("paper_dry", PAPER), ("weather_dry", PAPER))
    ]
    checks += [
        Check(f"graph = eager: {model}, {recipe}", 6, as_eagerly(model, side, recipe, *graph))
        for model, side, recipe in (
            ("tiny_norm", SMALL, "paper"), ("tiny_norm", SMALL, "strong"),
            ("paper_cnn", PAPER, "paper"), ("weather_net", PAPER, "strong"),
        )
    ]  # fmt: skip
    checks += [
        Check(f"graph in {precision}, {layout} near eager in fp32", 6,
              as_eagerly("paper_dry", PAPER, "paper", *graph, "--precision", precision,
                         "--memory-format", layout, allowed=ROUNDED))
        for precision in ("tf32", "bf16") for layout in ("contiguous", "channels-last")
    ]  # fmt: skip
    checks += [
        Check("graphs of fewer steps than rehearsals", 6, few_steps),
        Check("resumed = unbroken", 8, resumed()),
        Check("resumed = unbroken, graphs", 8, resumed(*graph)),
        Check("warm-up meets every size of step", 5, warmed_up()),
        *_of_ranks(gpus),
        Check(f"dp x{gpus} = one GPU", 8, dp(gpus)),
        Check("out of memory is named", 20, out_of_memory()),
        Check("out of memory is named, graphs", 20, out_of_memory(*graph)),
    ]
    return checks


def compiled_on_gpus() -> list[Check]:
    """The checks of what torch.compile makes for GPUs, which takes it long."""
    return [
        Check("compiled = eager", 60, compiled),
        Check("warm-up meets every size of step, compiled", 60, compiled_warm_up),
    ]  # fmt: skip


def _of_ranks(gpus: int) -> list[Check]:
    """As many ranks as GPUs; on one GPU also two, which NCCL refuses, by way of the host."""
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
