"""The code of the implementations of ``bench train``, each run in a process of its own.

Those with one process train the same network from the same seed on the same images in the same
order, after two warm-up steps that leave no trace. They report the mean loss of the measured
epochs and the CPU seconds in addition to wall-clock seconds. The arguments of all are the fields
of train_implementations.Workload.
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

from weather_hpc.bench.timed_function import Timed
from weather_hpc.errors import FailedError
from weather_hpc.runs.clock import Clock

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.tasks import TrainTask
    from weather_hpc.train.loader import EpochSampler

    Batches = DataLoader[tuple[torch.Tensor, ...]]
    Train = Callable[[nn.Module, Iterable[Batches]], float]

SEED, WARMUP_STEPS = 0, 2


def naive(**workload: Any) -> Timed:
    """Typical student code: float tensors, a DataLoader, and .item() at every step."""
    import torch
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _prepare(**workload)
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

    return _measure_loop(train, packed, sampler, task)


def fabric(**workload: Any) -> Timed:
    """Lightning Fabric's loop, in float32; the loss is read once, at the end."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _prepare(**workload)
    alone = LightningEnvironment()  # ignores a surrounding Slurm job
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

    return _measure_loop(train, packed, sampler, task)


def ours(variant: dict[str, Any] | None = None, **workload: Any) -> Timed:
    """The train verb's loop in one process. ``variant``: precision, memory format, execution."""
    import torch

    from weather_hpc.train.loop import Trainer
    from weather_hpc.train.ranks import TorchrunEnv
    from weather_hpc.train.stop import StopFile
    from weather_hpc.train.strategies import make_strategy

    packed, task, sampler = _prepare(**workload, **(variant or {}))
    device = torch.device(task.device.value)
    strategy = make_strategy(task, device, TorchrunEnv())
    strategy.place(_network(packed), packed.size)
    trainer = Trainer(strategy, packed, sampler, task)
    trainer.warm_up(WARMUP_STEPS)
    source = trainer.cache_images()
    recorded = trainer.capture_graphs()
    _seed_dropout()
    stop = StopFile(None, strategy)
    clock = Clock(strategy.synchronise)
    total = torch.zeros(2, dtype=torch.float64, device=device)
    cpu_s = time.process_time()
    start = clock.now()
    for epoch in range(1, task.epochs + 1):
        total += trainer.train_epoch(epoch, lambda: None, stop).total
    score = trainer.score(total, len(sampler.rows) * task.epochs, task.epochs)
    return Timed(
        clock.now() - start,
        {
            "loss": score.loss,
            "cpu_s": time.process_time() - cpu_s,
            "fused": strategy.fused_layers,
            "source": source,
            "graphs": recorded,
        },
    )


def ranks(
    store: str, images: int, batch: int, epochs: int, count: int, device: str = "cpu"
) -> Timed:
    """The train verb under torchrun with ``count`` processes; the time is that of its record."""
    from weather_hpc.train.ranks import torchrun

    flags = {"--store": store, "--strategy": "ddp", "--device": device, "--images": images,
             "--batch-size": batch, "--epochs": epochs, "--run-dir": "run"}  # fmt: skip
    arguments = [str(word) for pair in flags.items() for word in pair]
    verb = [*torchrun(1, count), "-m", "weather_hpc.train", *arguments]
    subprocess.run([sys.executable, *verb], check=True)
    record = _record(Path("run"))
    facts = {"loss": record["quality"]["train_loss"], "device": record["actual"]["device"]}
    return Timed(record["time_s"], facts)


def apart(
    store: str, images: int, batch: int, epochs: int, count: int, device: str = "cpu"
) -> Timed:
    """``count`` concurrent runs of the train verb, each on its share; the time is the longest."""
    runs = [Path(f"run{number}") for number in range(count)]
    flags = ["--store", store, "--device", device, "--images", str(images // count),
             "--batch-size", str(batch), "--epochs", str(epochs)]  # fmt: skip
    command = [sys.executable, "-m", "weather_hpc.train", *flags, "--run-dir"]
    children = [subprocess.Popen([*command, str(run)]) for run in runs]
    if max(child.wait() for child in children):  # waits for all
        raise FailedError("one of the runs failed")
    return Timed(max(_record(run)["time_s"] for run in runs), {})


def verb(store: str, images: int, flags: list[str]) -> Timed:
    """The train verb as a user starts it; the time is that of its record."""
    arguments = ["--store", store, "--images", str(images), "--run-dir", "run", *flags]
    subprocess.run([sys.executable, "-m", "weather_hpc.train", *arguments], check=True)
    record = _record(Path("run"))
    return Timed(
        record["time_s"],
        {
            "loss": record["quality"]["train_loss"],
            "images_per_s": record["images_per_s"],
            "device": record["actual"]["ranks"][0]["device_name"],
            "startup_s": record["phases"]["startup"],
            "warmup_s": record["phases"]["warmup"],
            "without": record["provenance"]["environment"].get("execution"),
        },
    )


def _record(run: Path) -> dict[str, Any]:
    """The record in the folder ``run``. Raises FailedError if it has no time."""
    record: dict[str, Any] = json.loads((run / "record.json").read_bytes())
    if record["time_s"] is None:
        raise FailedError(f"{record['status']}: {record['reason']}")
    return record


def _prepare(
    store: str, images: int, batch: int, epochs: int = 1, device: str = "cpu", **variant: Any
) -> "tuple[Store, TrainTask, EpochSampler]":
    """The data, the training task and the order of the images."""
    import torch

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.tasks import Strategy, TrainTask
    from weather_hpc.train.loader import EpochSampler, Shard, training_rows

    torch.set_num_threads(1)
    packed = Store.open(Path(store))
    task = TrainTask.model_validate(
        {
            "strategy": Strategy.SINGLE, "device": device, "world_size": 1, "batch_size": batch,
            "epochs": epochs, "warmup_steps": WARMUP_STEPS, "image_size": packed.size,
            "seed": SEED, "images": images, **variant,
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
    train: "Train", store: "Store", sampler: "EpochSampler", task: "TrainTask"
) -> Timed:
    """Time ``train``, which iterates over the batches of all epochs and returns the sum of losses.

    It runs twice: over two batches of warm-up with a copy of the network, then measured.
    """
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
        # with a separate generator, dropout draws the same numbers as without a DataLoader
        return DataLoader(dataset, batch_sampler=some, generator=torch.Generator())

    network = _network(store)
    train(copy.deepcopy(network), [batches(epochs[0][:WARMUP_STEPS])])
    _seed_dropout()
    clock = Clock(torch.cuda.synchronize if task.device.value == "cuda" else None)
    cpu_s = time.process_time()
    start = clock.now()
    loss_sum = train(network, map(batches, epochs))
    seconds = clock.now() - start
    images = len(sampler.rows) * task.epochs
    return Timed(seconds, {"loss": loss_sum / images, "cpu_s": time.process_time() - cpu_s})
