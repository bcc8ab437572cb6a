"""One rank's process: its device, the run, and how that ended."""

import sys
import time
from contextlib import suppress
from functools import partial

import torch

from weather_hpc.dataset.left_out import left_out_of
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import remove_leftovers
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.tasks import Device
from weather_hpc.study.tasks import Strategy as Name
from weather_hpc.train.agreement import DisagreementError, Reading, agree
from weather_hpc.train.cuda import versions
from weather_hpc.train.failure import Failure, FailureWatch
from weather_hpc.train.loop import DivergedError
from weather_hpc.train.progress import Progress
from weather_hpc.train.ranks import Rank, Ranks, Unavailable, agreed_device
from weather_hpc.train.request import Request
from weather_hpc.train.run import TrainingRun
from weather_hpc.train.stop import StoppedError, confirm_stop, remove_own_stop_file, stop_on_sigterm
from weather_hpc.train.strategies import make_strategy
from weather_hpc.train.strategies.base import TrainingStrategy

RECORD_WAIT_S = 3.0
"""How long rank 1 waits for rank 0 to write down why the run failed."""

RECORD_POLL_S = 0.1


def train(request: Request, done: RunRecord | None = None) -> RunRecord:
    """Execute ``request``; rank 0 writes the record, which says how it ended.

    ``done``: the record of the complete run, where this rank has found one; ranks go by rank 0's.
    Raises UserError where the store, the network or the checkpoint do not allow it.
    """
    torch.set_num_threads(request.task.threads_per_rank)
    reading = Reading(request)
    leads = request.env.rank == 0
    writes = leads and done is None and not reading.is_kept
    with RunWriter(request.spec, request.options.run_dir if writes else None) as writer:
        if leads and request.paths is not None and done is None:
            remove_own_stop_file(request.paths)  # an earlier process's
            for file in (request.paths.checkpoint, request.paths.evaluation, request.paths.ranks):
                remove_leftovers(file)
        if leads:
            writer.record.left_out = left_out_of(request.store)
            if writer.record.left_out and done is None:
                print(f"train: {request.store.path}: {writer.record.left_out}", file=sys.stderr)
        own = Rank.here(request.task, request.env, fall_back=request.options.fall_back)
        ranks = Ranks(request.env, own)
        with stop_on_sigterm(request.paths.stop if request.paths else None):
            return _execute(request, ranks, writer, reading, done)


def _execute(
    request: Request, ranks: Ranks, writer: RunWriter, reading: Reading, done: RunRecord | None
) -> RunRecord:
    """Agree with all ranks where to begin, and execute the run; its record."""
    strategy: TrainingStrategy | None = None
    progress = Progress()
    watch = FailureWatch(ranks, partial(_fail, request, writer), progress)
    try:
        with watch:  # not longer: ranks that have finished may end at any time
            is_done, checkpoint = agree(ranks, request, reading, done)
            if is_done:
                return done or writer.record
            device = agreed_device(ranks.all)
            if checkpoint is None and writer.paths is not None:
                _remove_earlier(writer.paths)
            if device is Device.CUDA:
                writer.record.provenance.packages |= versions()
            strategy = make_strategy(request.task, _device_of(request, device), request.env)
            TrainingRun(request, ranks, strategy, writer, checkpoint, progress).execute()
    except Unavailable as lacking:
        return writer.finish(Status.SKIPPED, str(lacking))
    except StoppedError as stopped:
        if writer.paths is not None:
            confirm_stop(writer.paths)
        writer.finish(Status.INCOMPLETE, str(stopped))
    except (DisagreementError, DivergedError) as error:  # on all ranks alike
        writer.finish(Status.FAILED, str(error))
    except Exception as error:
        first = watch.report(error)
        _fail(request, writer, first)
        # the process group stays: destroying it waits for ranks that wait for this one
        if strategy is not None and request.env.world_size == 1:
            strategy.tear_down()
        secondary = first.rank != request.env.rank and not isinstance(error, UserError)
        if secondary or first.status is Status.OUT_OF_MEMORY:
            return writer.record
        raise
    else:
        writer.finish()
    if strategy is not None:
        strategy.tear_down()
    return writer.record


def _remove_earlier(paths: RunPaths) -> None:
    """Remove what an earlier process left of the run, which begins anew."""
    for stale in (paths.checkpoint, paths.events, paths.ranks, paths.telemetry, paths.gpus):
        stale.unlink(missing_ok=True)


def _fail(request: Request, writer: RunWriter, failure: Failure) -> None:
    """Write into the record why the run failed; rank 1 does so for a rank 0 that cannot."""
    with suppress(FailedError, UserError, OSError):  # a full disk has no room for the record
        writer.finish(failure.status, failure.reason)
        if request.env.rank != 1 or request.paths is None:
            return
        deadline = time.monotonic() + (0.0 if failure.rank == 0 else RECORD_WAIT_S)
        while (record := read_record(request.paths.record)).status is Status.INCOMPLETE:
            if time.monotonic() > deadline:
                record.status, record.reason = failure.status, failure.reason
                record.write(request.paths.record)
                return
            time.sleep(RECORD_POLL_S)


def _device_of(request: Request, device: Device) -> torch.device:
    """This rank's device, where all ranks use ``device``."""
    if device is Device.CPU:
        return torch.device("cpu")
    local = 0 if request.task.strategy is Name.DP else request.env.local_rank
    return torch.device("cuda", local)
