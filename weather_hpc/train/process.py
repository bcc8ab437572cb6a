"""One rank's process: its device, the run, and how that ended."""

from contextlib import suppress
from functools import partial

import torch

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import remove_leftovers
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.tasks import Device
from weather_hpc.study.tasks import Strategy as Name
from weather_hpc.train.checkpoint import Checkpoint, check_same_run, load_checkpoint
from weather_hpc.train.cuda import versions
from weather_hpc.train.failure import Failure, FailureWatch
from weather_hpc.train.loop import DivergedError
from weather_hpc.train.ranks import Rank, Ranks, Unavailable, agreed_device
from weather_hpc.train.request import Request
from weather_hpc.train.run import TrainingRun
from weather_hpc.train.stop import StoppedError, confirm_stop, remove_own_stop_file, stop_on_sigterm
from weather_hpc.train.strategies import make_strategy


def train(request: Request) -> RunRecord:
    """Execute ``request``; rank 0 writes the record, which says how it ended.

    Raises UserError where the store, the network or the checkpoint do not allow it.
    """
    torch.set_num_threads(request.task.threads_per_rank)
    checkpoint = _checkpoint(request)
    leads = request.env.rank == 0
    if leads and request.paths is not None:
        remove_own_stop_file(request.paths)  # an earlier process's
        for file in (request.paths.checkpoint, request.paths.evaluation, request.paths.ranks):
            remove_leftovers(file)
    if leads and checkpoint is None and request.paths is not None:
        paths = request.paths
        for stale in (
            paths.checkpoint, paths.events, paths.ranks, paths.telemetry, paths.gpus,
        ):  # fmt: skip
            stale.unlink(missing_ok=True)
    with RunWriter(request.spec, request.options.run_dir if leads else None) as writer:
        own = Rank.here(request.task, request.env, fall_back=request.options.fall_back)
        ranks = Ranks(request.env, own)
        try:
            device = agreed_device(ranks.all)
        except Unavailable as lacking:
            return writer.finish(Status.SKIPPED, str(lacking))
        if device is Device.CUDA:
            writer.record.provenance.packages |= versions()
        with stop_on_sigterm(request.paths.stop if request.paths else None):
            return _execute(request, ranks, device, writer, checkpoint)


def _execute(
    request: Request,
    ranks: Ranks,
    device: Device,
    writer: RunWriter,
    checkpoint: Checkpoint | None,
) -> RunRecord:
    """Execute the run on ``device``; its record."""
    strategy = make_strategy(request.task, _device_of(request, device), request.env)
    watch = FailureWatch(ranks, partial(_fail, request, writer))
    try:
        with watch:  # not longer: ranks that have finished may end at any time
            TrainingRun(request, ranks, strategy, writer, checkpoint).execute()
    except StoppedError as stopped:
        if writer.paths is not None:
            confirm_stop(writer.paths)
        writer.finish(Status.INCOMPLETE, str(stopped))
    except DivergedError as error:  # on all ranks alike
        writer.finish(Status.FAILED, str(error))
    except Exception as error:
        first = watch.report(error)
        _fail(request, writer, first)
        # the process group stays: destroying it waits for ranks that wait for this one
        if request.env.world_size == 1:
            strategy.tear_down()
        secondary = first.rank != request.env.rank and not isinstance(error, UserError)
        if secondary or first.status is Status.OUT_OF_MEMORY:
            return writer.record
        raise
    else:
        writer.finish()
    strategy.tear_down()
    return writer.record


def _fail(request: Request, writer: RunWriter, failure: Failure) -> None:
    """Write into the record why the run failed; rank 1 does so for a rank 0 that has exited."""
    with suppress(FailedError, UserError):  # a full disk has no room for the record
        writer.finish(failure.status, failure.reason)
        if failure.rank == 0 and request.env.rank == 1 and request.paths is not None:
            record = read_record(request.paths.record)
            if record.status is Status.INCOMPLETE:
                record.status, record.reason = failure.status, failure.reason
                record.write(request.paths.record)


def _device_of(request: Request, device: Device) -> torch.device:
    """This rank's device, where all ranks use ``device``."""
    if device is Device.CPU:
        return torch.device("cpu")
    local = 0 if request.task.strategy is Name.DP else request.env.local_rank
    return torch.device("cuda", local)


def _checkpoint(request: Request) -> Checkpoint | None:
    """The checkpoint to resume from, if requested and there. Raises UserError."""
    paths = request.paths
    if paths is None or not request.options.resume or not paths.checkpoint.exists():
        return None
    checkpoint = load_checkpoint(paths.checkpoint)
    check_same_run(checkpoint, request.configuration, paths.checkpoint)
    return checkpoint
