"""One training run: set up, warm up, train, evaluate, and fill in the record."""

import sys
import time
from dataclasses import asdict

import numpy as np
import torch

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.models.pretrained import build_for_weights, load_pretrained
from weather_hpc.reading import read_bytes
from weather_hpc.runs.clock import ForeignLoad, since_process_start
from weather_hpc.runs.gpus import GpuState, append_gpus, open_devices, read_gpus
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import measured_on_several
from weather_hpc.runs.telemetry import Energy, Telemetry
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.steps import FEWEST_HELD_APART
from weather_hpc.train.calibration import Calibration, calibrate
from weather_hpc.train.checkpoint import Checkpoint, StateDict, restoring
from weather_hpc.train.cuda import reset_peaks
from weather_hpc.train.epoch_lines import EpochLines
from weather_hpc.train.evaluation import Predictions, Score, evaluation_report
from weather_hpc.train.examples import can_write, choose_examples, write_examples
from weather_hpc.train.loader import EpochSampler, check_share, split_training_rows, stream_seed
from weather_hpc.train.loop import Position, Trainer
from weather_hpc.train.meter import (
    Meter,
    Phase,
    RankReport,
    Results,
    device_name,
    device_uuids,
    report_of_rank,
    report_results,
)
from weather_hpc.train.probe import ProbeTrainer
from weather_hpc.train.progress import Progress
from weather_hpc.train.rank_epochs import RankEpoch, RankLog
from weather_hpc.train.rank_times import RankClock
from weather_hpc.train.ranks import Ranks
from weather_hpc.train.request import Request
from weather_hpc.train.stop import StopFile, StoppedError
from weather_hpc.train.strategies.base import TrainingStrategy


class TrainingRun:
    """A run. All ranks execute it together; rank 0 writes the record."""

    score: Score | None = None
    """On the training images, of the last complete epoch."""

    test: Score | None = None
    """On the held-out images, of the last evaluation."""

    calibration: Calibration | None = None
    """By the images held apart, once the last epoch has ended."""

    def __init__(
        self,
        request: Request,
        ranks: Ranks,
        strategy: TrainingStrategy,
        writer: RunWriter,
        checkpoint: Checkpoint | None,
        progress: Progress,
    ) -> None:
        self.progress = progress
        self.request = request
        self.task = request.task
        self.ranks = ranks
        self.strategy = strategy
        self.writer = writer
        self.resumed = checkpoint
        if checkpoint is None:
            self.meter = Meter(strategy, Energy(), None, progress=progress)
        else:
            with restoring(request):
                if checkpoint.calibration:
                    self.calibration = Calibration.from_state(checkpoint.calibration)
                own = RankClock.resumed(checkpoint.ranks[request.env.rank].get("times"))
                energy = Energy(**checkpoint.energy)
                self.meter = Meter(strategy, energy, checkpoint.seconds, own, progress)
        paths = writer.paths
        leads = request.env.rank == 0
        self.rank_log = RankLog(
            paths.ranks if paths else None,
            # a person at a terminal has the line per epoch
            prints=leads and request.options.prints_epochs and not sys.stdout.isatty(),
        )
        self.stop = StopFile(request.paths.stop if request.paths else None, strategy)

    def execute(self) -> None:
        """Train, evaluate and fill in the record."""
        self.progress.enter("joining the other ranks")
        self.strategy.set_up(self.ranks.group_store)
        self.progress.enter("placing the network")
        trainer = self._trainer()
        self._start()
        with self.meter.phase(Phase.WARMUP):
            trainer.warm_up(self.task.warmup_steps)
            self._prepare_input(trainer)
        own_pids = [rank.pid for rank in self.ranks.on_this_host]
        self._record_gpus("start")
        others = ForeignLoad(own_pids)
        devices = open_devices(device_uuids(self.strategy))
        paths = self.writer.paths
        with Telemetry(devices, own_pids, paths.telemetry if paths else None) as telemetry:
            self._epochs(trainer, telemetry)
        foreign = others.percent()
        if (
            self.test is None
        ):  # an earlier process stopped between its last checkpoint and its evaluation
            self._evaluate(trainer, last=True)
        if self.score is None:
            raise ValueError(f"{self.request.spec.run_id}: no epoch has ended")
        own = report_of_rank(self.meter, trainer.sampler, self.task.epochs, telemetry)
        ranks = [RankReport.from_values(each) for each in self.strategy.gather(own.values())]
        record = self.writer.record
        record.usage.foreign_cpu_percent = foreign
        record.usage.host_cpu_percent = telemetry.mean("host_cpu_percent")
        record.provenance.driver = devices.driver if devices else None
        results = Results(
            self.task, self.request.store, trainer.sampler, self.score, self.test, ranks
        )
        report_results(record, results, self.meter)
        self.rank_log.end()

    def _trainer(self) -> Trainer:
        """The placed network, its data and its optimizer, new or from the checkpoint."""
        task, store, rank = self.task, self.request.store, self.request.env.rank
        rows, self.held_apart = split_training_rows(store, task)
        if task.held_apart and not len(self.held_apart) and rank == 0:
            print(
                f"train: --held-apart {task.held_apart:g} of {len(rows)} images are fewer than "
                f"{FEWEST_HELD_APART}, too few to calibrate with: all train",
                file=sys.stderr,
            )
        sampler = EpochSampler(rows, task.batch_size_global, task.seed, self.strategy.shard)
        torch.manual_seed(task.seed)
        network = build_for_weights(task.model, len(store.classes), store.size, task.weights)
        if task.weights is not None and self.resumed is None:
            load_pretrained(network, task.model, task.weights, store.size)
        check_share(network, task, len(rows))
        self.writer.record.quality.parameters = sum(
            p.numel() for p in network.parameters() if p.requires_grad
        )
        self.strategy.place(network, store.size)
        if self.strategy.fused_layers is not None:
            fused = self.strategy.fused_layers
            self.writer.record.provenance.environment["fused_layers"] = fused
        if self.strategy.exchange is not None:
            self.writer.record.provenance.environment["exchange"] = self.strategy.exchange
        # up to here all ranks draw the same numbers, for equal weights
        torch.manual_seed(stream_seed(task.seed, self.strategy.random_stream))
        trainer = (ProbeTrainer if RECIPES[task.recipe].fits_head else Trainer)(
            self.strategy, store, sampler, task, self.progress
        )
        if self.resumed is not None:
            if self.resumed.loss is not None and self.resumed.accuracy is not None:
                self.score = Score(self.resumed.loss, self.resumed.accuracy, len(rows))
            weights = {"network": self.resumed.network, "average": self.resumed.average}
            with restoring(self.request):
                state = self.resumed.ranks[0] | self.resumed.ranks[rank]
                trainer.restore(state | weights)
        return trainer

    def _start(self) -> None:
        """Wait until all ranks have started, and write the event."""
        self.strategy.barrier()
        self.writer.record.phases.startup = since_process_start()
        ranks, origin = len(self.ranks.all), self.writer.record.provenance
        names = self.strategy.gather(device_name(self.strategy.device))
        devices = " and ".join(sorted(set(names)))
        if self.resumed is None:
            origin.devices = [devices]
            self.writer.event("start", ranks=ranks, devices=devices)
            return
        earlier = self.resumed.devices
        origin.devices = earlier if [devices] == earlier[-1:] else [*earlier, devices]
        if len(origin.devices) > 1 and self.request.env.rank == 0:
            print(f"train: {measured_on_several(origin.devices)}", file=sys.stderr)
        self.rank_log.resume(self.resumed.epoch)
        self.writer.event(
            "resume", epoch=self.resumed.epoch, step=self.resumed.step, ranks=ranks,
            devices=devices,
        )  # fmt: skip
        origin.restarts = max(origin.restarts, _count_resumes(self.writer.paths))

    def _prepare_input(self, trainer: Trainer) -> None:
        """Cache images on the devices where possible, capture graphs, and write the event."""
        self.progress.enter("caching images")
        start = time.perf_counter()
        source = trainer.cache_images()
        sources = self.strategy.gather(source and str(source))
        reset_peaks(self.strategy.gpus)  # warm-up also tries kernels that are not chosen
        if self.task.execution.replays and not trainer.capture_graphs():
            why = "images are not kept on the device" if trainer.replays else "no CUDA"
            self.writer.record.provenance.environment["execution"] = f"without graphs: {why}"
        self.strategy.synchronise()
        self.writer.event(
            "input",
            source=" and ".join(sorted({source for source in sources if source})),
            resident_mb=trainer.images.cached_bytes / 1e6,
            time_s=time.perf_counter() - start,
        )

    def _epochs(self, trainer: Trainer, telemetry: Telemetry) -> None:
        """The remaining epochs, each with its event and its checkpoint.

        Raises StoppedError, with a checkpoint written, where the run stops on request.
        """
        task, images = self.task, len(trainer.sampler.rows)
        done, partial = self._position()
        per_epoch = len(trainer.sampler.sizes)
        left = per_epoch * (task.epochs - done) - (partial.steps if partial else 0)
        lines = EpochLines(task.epochs, done) if self.request.env.rank == 0 else None
        with cli.progress(f"training ({task.strategy})", total=left) as advance:
            for epoch in range(done + 1, task.epochs + 1):
                self.progress.epoch = epoch
                with self.meter.epoch(trainer.data_wait, telemetry, resumed=partial is not None):
                    position = trainer.train_epoch(epoch, advance, self.stop, partial)
                partial = None
                if position.steps < per_epoch:
                    self._save(trainer, epoch - 1, position)
                    raise StoppedError(f"stopped in epoch {epoch} after step {position.steps}")
                if epoch == (task.epochs + 1) // 2:
                    self._record_gpus("middle")
                self.score = score = trainer.score(position.total, images, epoch)
                if epoch == task.epochs:
                    self._calibrate(trainer)
                test = None
                if epoch == task.epochs or self._is_evaluated(epoch):
                    test = self._evaluate(trainer, last=epoch == task.epochs)
                self.writer.event(
                    "epoch",
                    epoch=epoch,
                    loss=score.loss,
                    accuracy=score.accuracy,
                    test_loss=test.loss if test else None,
                    test_accuracy=test.accuracy if test else None,
                    time_s=self.meter.epoch_s,
                    data_wait_s=self.meter.epoch_data_wait_s,
                    energy_j=self.meter.energy.epoch_j,
                )
                if lines:
                    lines.add(epoch, score, test, images, self.meter.epoch_s)
                own = self._own_epoch(trainer, epoch, position)
                ranks = self.strategy.gather(asdict(own))
                self.rank_log.add([RankEpoch(**values) for values in ranks])
                self._save(trainer, epoch)
                if epoch < task.epochs and self.stop.seen():
                    raise StoppedError(f"stopped after epoch {epoch}")

    def _own_epoch(self, trainer: Trainer, epoch: int, position: Position) -> RankEpoch:
        """What this rank did in the epoch, all of which it has computed."""
        images, times = trainer.sampler.images, self.meter.own.epoch
        loss, accuracy = None, None
        if self.strategy.computes_loss and images:
            loss, accuracy = (position.total / images).tolist()
        return RankEpoch(
            epoch=epoch,
            rank=self.request.env.rank,
            host=node_name(),
            loss=loss,
            accuracy=accuracy,
            images=images,
            time_s=self.meter.epoch_s,
            computation_s=times.computation,
            data_wait_s=times.data_wait,
            communication_s=times.communication,
        )

    def _record_gpus(self, moment: str) -> None:
        """Record the state of all nodes' GPUs, outside measured time; nothing on CPUs."""
        if self.strategy.device.type != "cuda":
            return
        own = read_gpus(moment) if self.request.env.local_rank == 0 else []
        nodes = self.strategy.gather([asdict(gpu) for gpu in own])
        seen = [GpuState(**values) for node in nodes for values in node]
        if self.writer.paths is not None:
            append_gpus(self.writer.paths.gpus, seen)

    def _position(self) -> tuple[int, Position | None]:
        """Epochs that an earlier process completed, and where it stopped in the next one."""
        if self.resumed is None:
            return 0, None
        if not self.resumed.step:
            return self.resumed.epoch, None
        with restoring(self.request):
            total = self.resumed.ranks[self.request.env.rank]["total"]
        return self.resumed.epoch, Position(self.resumed.step, total)

    def _is_evaluated(self, epoch: int) -> bool:
        every = self.request.options.evaluate_every
        return every > 0 and epoch % every == 0

    def _calibrate(self, trainer: Trainer) -> None:
        """Calibrate the finished network on the images held apart, if there are any, on rank 0."""
        if not len(self.held_apart):
            return
        with self.meter.phase(Phase.EVALUATION):
            network, average = self._weights(trainer.snapshot())
            if not network:
                return
            task, store = self.task, self.request.store
            module = build_for_weights(task.model, len(store.classes), store.size, task.weights)
            module.load_state_dict(average or network)
            self.calibration = calibrate(
                module.to(self.strategy.device), store, trainer.sampler.rows, self.held_apart,
                task.batch_size_per_device, task.seed,
            )  # fmt: skip

    def _weights(self, state: StateDict) -> tuple[StateDict, StateDict]:
        """The whole network and its average, of all ranks' ``state``, on rank 0. Collective."""
        parts = ("network", "average")
        own = {part: state.get(part, {}) if self.strategy.owns_weights else {} for part in parts}
        whole: tuple[StateDict, StateDict] = ({}, {})
        for rank in self.strategy.gather(own):
            for part, into in zip(parts, whole, strict=True):
                into |= rank[part]
        return whole

    def _evaluate(self, trainer: Trainer, *, last: bool) -> Score | None:
        """Score the held-out images, where the store has any; ``last``: of the trained network."""
        rows = self.request.store.rows("test")
        if len(rows):
            with self.meter.phase(Phase.EVALUATION):
                total, predictions = trainer.evaluate(rows, self.task.batch_size_per_device)
            self.test = trainer.score(total, len(rows), self.task.epochs)
            own = [tuple(map(torch.from_numpy, (p.rows, p.probabilities))) for p in predictions]
            self._write_report(
                [
                    Predictions(rows.numpy(), probabilities.numpy())
                    for rank in self.strategy.gather(own)
                    for rows, probabilities in rank
                ],
                last=last,
            )
        return self.test

    def _write_report(self, predictions: list[Predictions], *, last: bool) -> None:
        """Write the report on the held-out images, in place of an earlier evaluation's.

        The ``last`` comes with examples.
        """
        paths, store = self.writer.paths, self.request.store
        if not predictions or paths is None:
            return
        labels = store.labels[np.concatenate([part.rows for part in predictions])]
        probabilities = np.concatenate([part.probabilities for part in predictions])
        temperature = self.calibration.temperature if self.calibration else None
        report = evaluation_report(labels, probabilities, store.classes, temperature)
        if last:
            examples = choose_examples(store, predictions) if can_write() else []
            report["examples"] = [example.model_dump() for example in examples]
            if examples:
                write_examples(store, examples, paths.examples)
        write_json(paths.evaluation, report)

    def _save(self, trainer: Trainer, epoch: int, partial: Position | None = None) -> None:
        """Write a checkpoint, where the run has a folder.

        ``epoch`` epochs are complete, and of the next one what ``partial`` says.
        """
        paths = self.request.paths
        if paths is None:
            return
        step = partial.steps if partial else 0
        with self.meter.phase(Phase.CHECKPOINT):
            state = trainer.snapshot()
            network, average = self._weights(state)
            if self.strategy.owns_weights:
                del state["network"], state["average"]
            else:
                state = {"random": state["random"]}
            state["times"] = self.meter.own.state()
            if partial:
                state["total"] = partial.total.cpu()
            ranks = self.strategy.gather(state)
            if ranks:
                Checkpoint(
                    configuration=self.request.configuration,
                    devices=self.writer.record.provenance.devices,
                    classes=self.request.store.classes,
                    epoch=epoch,
                    step=step,
                    loss=self.score.loss if self.score else None,
                    accuracy=self.score.accuracy if self.score else None,
                    seconds=self.meter.seconds_so_far(),
                    energy=vars(self.meter.energy),
                    network=network,
                    average=average,
                    calibration=self.calibration.state() if self.calibration else {},
                    ranks=ranks,
                ).save(paths.checkpoint)
        self.writer.event("checkpoint", epoch=epoch, step=step)


def _count_resumes(paths: RunPaths | None) -> int:
    """How often the run has been resumed, by its events."""
    if paths is None:
        return 0
    try:
        return read_bytes(paths.events).count(b'"event": "resume"')
    except UserError:
        return 0  # the checkpoint is what the run resumes from
