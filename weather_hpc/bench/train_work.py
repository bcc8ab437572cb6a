"""What the contestants of ``bench train`` do, each in a process of its own.

Those of one process train the same network from the same seed on the same images in the same
order, after two steps of warm-up that leave no trace. They report the mean loss of the measured
epoch and, beside the clock's seconds, the CPU seconds that it took.
"""

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.bench.child import MEASURED
from weather_hpc.records.clock import Clock

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.spec import TrainTask
    from weather_hpc.train.loader import EpochSampler

    Batches = DataLoader[tuple[torch.Tensor, ...]]

SEED, EPOCH, WARMUP_STEPS = 0, 1, 2


def naive(clock: Clock, store: str, images: int, batch: int) -> dict[str, Any]:
    """As a student writes it: float tensors, a DataLoader, and .item() at every step."""
    import torch
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _work(store, images, batch)

    def train(network: "nn.Module", batches: "Batches") -> float:
        optimizer = torch.optim.Adam(network.parameters(), lr=_rate(task))
        loss_sum = right = 0.0
        for pictures, labels in batches:
            optimizer.zero_grad()
            output = network(pictures)
            loss = cross_entropy(output, labels)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            loss_sum += loss.item() * len(labels)
            right += (output.argmax(1) == labels).sum().item()
        return loss_sum

    return _measure_loop(clock, train, packed, sampler)


def fabric(clock: Clock, store: str, images: int, batch: int) -> dict[str, Any]:
    """Lightning Fabric's loop, in float32; the loss is read once, at the end."""
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
    from torch.nn.functional import cross_entropy

    packed, task, sampler = _work(store, images, batch)
    alone = LightningEnvironment()  # no job of Slurm's, even inside one
    lightning = Fabric(accelerator="cpu", devices=1, precision="32-true", plugins=alone)

    def train(network: "nn.Module", batches: "Batches") -> float:
        plain = torch.optim.Adam(network.parameters(), lr=_rate(task))
        model, optimizer = lightning.setup(network, plain)
        loss_sum = torch.zeros(())
        for pictures, labels in lightning.setup_dataloaders(batches):
            optimizer.zero_grad()
            loss = cross_entropy(model(pictures), labels)
            lightning.backward(loss)
            optimizer.step()
            loss_sum += loss.detach() * len(labels)
        return loss_sum.item()

    return _measure_loop(clock, train, packed, sampler)


def ours(clock: Clock, store: str, images: int, batch: int) -> dict[str, Any]:
    """The train verb's own loop, one process."""
    import torch

    from weather_hpc.models.fused import fuse
    from weather_hpc.train.loop import Trainer
    from weather_hpc.train.stop import StopSign
    from weather_hpc.train.strategies import make_strategy
    from weather_hpc.train.world import World

    packed, task, sampler = _work(store, images, batch)
    strategy = make_strategy(task, torch.device("cpu"), World())
    strategy.place(_network(packed), packed.size)
    fused = fuse(strategy.network)
    trainer = Trainer(strategy, packed, sampler, task)
    trainer.warm_up(WARMUP_STEPS)
    _seed_dropout()
    stop = StopSign(None, strategy)
    cpu_s = time.process_time()
    with clock.phase(MEASURED):
        position = trainer.train_epoch(EPOCH, lambda: None, stop)
        score = trainer.score(position.total, images, EPOCH)
    return {"loss": score.loss, "cpu_s": time.process_time() - cpu_s, "fused": fused}


def ranks(clock: Clock, store: str, images: int, batch: int, count: int) -> dict[str, Any]:
    """The train verb under torchrun, ``count`` processes; the time is the one in its record."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    flags = {"--store": store, "--strategy": "ddp", "--device": "cpu", "--images": images,
             "--batch-size": batch, "--epochs": 1, "--run-dir": "run"}  # fmt: skip
    words = [str(word) for pair in flags.items() for word in pair]
    subprocess.run([sys.executable, *launcher, "-m", "weather_hpc.train", *words], check=True)
    record = json.loads(Path("run", "record.json").read_bytes())
    clock.seconds[MEASURED] = record["time_s"]
    return {"loss": record["quality"]["train_loss"]}


def _work(store: str, images: int, batch: int) -> "tuple[Store, TrainTask, EpochSampler]":
    """The data, what is asked, and the order of the images."""
    import torch

    from weather_hpc.dataset.store import Store
    from weather_hpc.study.spec import Device, Strategy, TrainTask
    from weather_hpc.train.loader import EpochSampler, Shard, training_rows

    torch.set_num_threads(1)
    packed = Store.open(Path(store))
    task = TrainTask(
        strategy=Strategy.SINGLE, device=Device.CPU, world_size=1, batch_size=batch, epochs=EPOCH,
        warmup_steps=WARMUP_STEPS, image_size=packed.size, seed=SEED, images=images,
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
    clock: Clock,
    train: "Callable[[nn.Module, Batches], float]",
    store: "Store",
    sampler: "EpochSampler",
) -> dict[str, Any]:
    """Time ``train``, which goes over all batches once and returns the sum of the losses."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    from weather_hpc.train.loader import network_input, pixels

    dataset = TensorDataset(
        network_input(pixels(store, sampler.rows)), torch.from_numpy(store.labels[sampler.rows])
    )
    place = {row: index for index, row in enumerate(sampler.rows.tolist())}
    steps = [[place[row] for row in step.rows.tolist()] for step in sampler.epoch(EPOCH)]

    def batches(some: list[list[int]]) -> "Batches":
        # a generator of its own: dropout then draws the same numbers as without a DataLoader
        return DataLoader(dataset, batch_sampler=some, generator=torch.Generator())

    network = _network(store)
    train(copy.deepcopy(network), batches(steps[:WARMUP_STEPS]))
    _seed_dropout()
    cpu_s = time.process_time()
    with clock.phase(MEASURED):
        loss_sum = train(network, batches(steps))
    return {"loss": loss_sum / len(sampler.rows), "cpu_s": time.process_time() - cpu_s}
