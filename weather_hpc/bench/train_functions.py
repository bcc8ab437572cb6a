"""What the contestants of ``bench train`` do, each in a process of its own.

Those of one process train the same network from the same seed on the same images in the same
order, after two steps of warm-up that leave no trace. They report the mean loss of the measured
epochs and, beside the clock's seconds, the CPU seconds that these took. What is asked of all of
them comes as ``store``, ``images``, ``batch``, ``device`` (cpu or cuda) and ``epochs``.
"""

import copy
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.timed_function import MEASURED
from weather_hpc.errors import FailedError
from weather_hpc.runs.clock import Clock

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.spec import TrainTask
    from weather_hpc.train.loader import EpochSampler

    Batches = DataLoader[tuple[torch.Tensor, ...]]
    Train = Callable[[nn.Module, Iterable[Batches]], float]

SEED, WARMUP_STEPS = 0, 2


def naive(clock: Clock, **asked: Any) -> dict[str, Any]:
    """As a student writes it: float tensors, a DataLoader, and .item() at every step."""
    import torch
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _work(**asked)
    device = task.device.value

    def train(network: "nn.Module", epochs: "Iterable[Batches]") -> float:
        network.to(device)
        optimizer = torch.optim.Adam(network.parameters(), lr=_rate(task))
        loss_sum = right = 0.0
        for pictures, labels in itertools.chain.from_iterable(epochs):
            pictures, labels = pictures.to(device), labels.to(device)
            optimizer.zero_grad()
            output = network(pictures)
            loss = cross_entropy(output, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += (output.argmax(1) == labels).sum().item()
        return loss_sum

    return _measure_loop(clock, train, packed, sampler, task)


def fabric(clock: Clock, **asked: Any) -> dict[str, Any]:
    """Lightning Fabric's loop, in float32; the loss is read once, at the end."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _work(**asked)
    alone = LightningEnvironment()  # no job of Slurm's, even inside one
    device = task.device.value
    lightning = Fabric(accelerator=device, devices=1, precision="32-true", plugins=alone)

    def train(network: "nn.Module", epochs: "Iterable[Batches]") -> float:
        plain = torch.optim.Adam(network.parameters(), lr=_rate(task))
        model, optimizer = lightning.setup(network, plain)
        loss_sum = torch.zeros((), device=device)
        for batches in epochs:
            for pictures, labels in lightning.setup_dataloaders(batches):
                optimizer.zero_grad()
                loss = cross_entropy(model(pictures), labels)
                lightning.backward(loss)
                optimizer.step()
                loss_sum += loss.detach() * len(labels)
        return loss_sum.item()

    return _measure_loop(clock, train, packed, sampler, task)


def ours(clock: Clock, way: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    """The train verb's own loop, one process. ``way``: precision, memory format and execution."""
    import torch

    from weather_hpc.train.loop import Trainer
    from weather_hpc.train.ranks import TorchrunEnv
    from weather_hpc.train.stop import StopFile
    from weather_hpc.train.strategies import make_strategy

    packed, task, sampler = _work(**asked, **(way or {}))
    device = torch.device(task.device.value)
    strategy = make_strategy(task, device, TorchrunEnv())
    strategy.place(_network(packed), packed.size)
    trainer = Trainer(strategy, packed, sampler, task)
    trainer.warm_up(WARMUP_STEPS)
    source = trainer.cache_images()
    recorded = trainer.capture_graphs()
    _seed_dropout()
    stop = StopFile(None, strategy)
    clock.synchronise = strategy.synchronise
    total = torch.zeros(2, dtype=torch.float64, device=device)
    cpu_s = time.process_time()
    with clock.phase(MEASURED):
        for epoch in range(1, task.epochs + 1):
            total += trainer.train_epoch(epoch, lambda: None, stop).total
        score = trainer.score(total, len(sampler.rows) * task.epochs, task.epochs)
    return {
        "loss": score.loss,
        "cpu_s": time.process_time() - cpu_s,
        "fused": strategy.fused_layers,
        "source": source,
        "graphs": recorded,
    }


def ranks(
    clock: Clock, store: str, images: int, batch: int, epochs: int, count: int, device: str = "cpu"
) -> dict[str, Any]:
    """The train verb under torchrun, ``count`` processes; the time is the one in its record."""
    from weather_hpc.train.ranks import torchrun

    flags = {"--store": store, "--strategy": "ddp", "--device": device, "--images": images,
             "--batch-size": batch, "--epochs": epochs, "--run-dir": "run"}  # fmt: skip
    words = [str(word) for pair in flags.items() for word in pair]
    verb = [*torchrun(1, count), "-m", "weather_hpc.train", *words]
    subprocess.run([sys.executable, *verb], check=True)
    record = _measured(Path("run"))
    clock.seconds[MEASURED] = record["time_s"]
    return {"loss": record["quality"]["train_loss"], "device": record["actual"]["device"]}


def apart(
    clock: Clock, store: str, images: int, batch: int, epochs: int, count: int
) -> dict[str, Any]:
    """``count`` runs of the train verb at once, each on its share; the time is the longest."""
    runs = [Path(f"run{number}") for number in range(count)]
    flags = ["--store", store, "--device", "cpu", "--images", str(images // count),
             "--batch-size", str(batch), "--epochs", str(epochs)]  # fmt: skip
    command = [sys.executable, "-m", "weather_hpc.train", *flags, "--run-dir"]
    children = [subprocess.Popen([*command, str(run)]) for run in runs]
    if max(child.wait() for child in children):  # waits for all
        raise FailedError("one of the runs failed")
    clock.seconds[MEASURED] = max(_measured(run)["time_s"] for run in runs)
    return {}


def verb(clock: Clock, store: str, images: int, flags: list[str]) -> dict[str, Any]:
    """The train verb as a user starts it; the time is the one in its record."""
    words = ["--store", store, "--images", str(images), "--run-dir", "run", *flags]
    subprocess.run([sys.executable, "-m", "weather_hpc.train", *words], check=True)
    record = _measured(Path("run"))
    clock.seconds[MEASURED] = record["time_s"]
    return {
        "loss": record["quality"]["train_loss"],
        "images_per_s": record["images_per_s"],
        "device": record["actual"]["ranks"][0]["device_name"],
        "startup_s": record["phases"]["startup"],
        "warmup_s": record["phases"]["warmup"],
        "without": record["provenance"]["environment"].get("execution"),
    }


def _measured(run: Path) -> dict[str, Any]:
    """The record in the folder ``run``. Raises FailedError where it has no time."""
    record: dict[str, Any] = json.loads((run / "record.json").read_bytes())
    if record["time_s"] is None:
        raise FailedError(f"{record['status']}: {record['reason']}")
    return record


def _work(
    store: str, images: int, batch: int, device: str = "cpu", epochs: int = 1, **way: Any
) -> "tuple[Store, TrainTask, EpochSampler]":
    """The data, what is asked, and the order of the images."""
    import torch

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.spec import Strategy, TrainTask
    from weather_hpc.train.loader import EpochSampler, Shard, training_rows

    torch.set_num_threads(1)
    packed = Store.open(Path(store))
    task = TrainTask.model_validate(
        {
            "strategy": Strategy.SINGLE, "device": device, "world_size": 1, "batch_size": batch,
            "epochs": epochs, "warmup_steps": WARMUP_STEPS, "image_size": packed.size,
            "seed": SEED, "images": images, **way,
        }
    )  # fmt: skip
    rows = training_rows(packed, images, SEED)
    return packed, task, EpochSampler(rows, batch, SEED, Shard())


def _network(store: "Store") -> "nn.Module":
    import torch

    from weather_hpc.models.paper_cnn import paper_cnn

    torch.manual_seed(SEED)
    return paper_cnn(len(store.classes), store.size)


def _seed_dropout() -> None:
    import torch

    from weather_hpc.train.loader import stream_seed

    torch.manual_seed(stream_seed(SEED, 0))


def _rate(task: "TrainTask") -> float:
    from weather_hpc.study.recipe import RECIPES

    return RECIPES[task.recipe].learning_rate


def _measure_loop(
    clock: Clock, train: "Train", store: "Store", sampler: "EpochSampler", task: "TrainTask"
) -> dict[str, Any]:
    """Time ``train``, which goes over all batches of all epochs and returns the sum of losses."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from weather_hpc.train.loader import network_input, pixels

    dataset = TensorDataset(
        network_input(pixels(store, sampler.rows)), torch.from_numpy(store.labels[sampler.rows])
    )
    place = {row: index for index, row in enumerate(sampler.rows.tolist())}
    epochs = [
        [[place[row] for row in step.rows.tolist()] for step in sampler.epoch(epoch)]
        for epoch in range(1, task.epochs + 1)
    ]

    def batches(some: list[list[int]]) -> "Batches":
        # a generator of its own: dropout then draws the same numbers as without a DataLoader
        return DataLoader(dataset, batch_sampler=some, generator=torch.Generator())

    network = _network(store)
    train(copy.deepcopy(network), [batches(epochs[0][:WARMUP_STEPS])])
    _seed_dropout()
    if task.device.value == "cuda":
        clock.synchronise = torch.cuda.synchronize
    cpu_s = time.process_time()
    with clock.phase(MEASURED):
        loss_sum = train(network, map(batches, epochs))
    images = len(sampler.rows) * task.epochs
    return {"loss": loss_sum / images, "cpu_s": time.process_time() - cpu_s}
