"""What checks train: small networks, the package's own without dropout, stores of random pixels.

Stores are written at the speed of the disk: their content does not change the time.
"""

import hashlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
from torch import nn

from weather_hpc.dataset.catalogue import Catalogue, Item, Split
from weather_hpc.dataset.partial import Contents, FinishedChunk, PartialStore
from weather_hpc.dataset.space import reserve
from weather_hpc.dataset.store import CHUNK_ROWS
from weather_hpc.models.registry import MODELS, Builder


def tiny(classes: int, image_size: int) -> nn.Sequential:
    """A sequence of layers without batch norm and dropout, for images of any size."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 5, stride=2),
            tanh1=nn.Tanh(),
            conv2=nn.Conv2d(8, 16, 5, stride=2),
            tanh2=nn.Tanh(),
            pool=nn.AdaptiveAvgPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(64, classes),
        )
    )


def tiny_deep(classes: int, image_size: int) -> nn.Sequential:
    """As ``tiny``, with enough layers for four pipeline stages."""
    layers = OrderedDict(tiny(64, image_size).named_children())
    return nn.Sequential(OrderedDict(layers | {"tanh3": nn.Tanh(), "last": nn.Linear(64, classes)}))


def tiny_norm(classes: int, image_size: int) -> nn.Sequential:
    """As ``tiny``, with batch norm and dropout."""
    first, *middle, last = tiny(classes, image_size).named_children()
    norm, dropout = ("norm1", nn.BatchNorm2d(8)), ("dropout", nn.Dropout(0.3))
    return nn.Sequential(OrderedDict([first, norm, *middle, dropout, last]))


def without_dropout(build: Builder) -> Builder:
    """The same network with dropout disabled."""

    def make(classes: int, image_size: int) -> nn.Module:
        network = build(classes, image_size)
        for module in network.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return network

    return make


NETWORKS: dict[str, Builder] = {
    "tiny": tiny,
    "tiny_deep": tiny_deep,
    "tiny_norm": tiny_norm,
    "tiny_norm_dry": without_dropout(tiny_norm),
    "paper_dry": without_dropout(MODELS["paper_cnn"]),
    "weather_dry": without_dropout(MODELS["weather_net"]),
}


def register_networks() -> None:
    """Make the networks known to the train verb in this process."""
    MODELS.update(NETWORKS)


CLASSES = 11
"""As in WEAPD."""


TEST_IMAGES = 11


def random_store(path: Path, images: int, side: int) -> Path:
    """A store of ``images`` training images and a few test images, ``side`` px; always the same.

    Every class has its own colour, so training can learn something.
    """
    count = images + TEST_IMAGES
    items = tuple(
        Item(f"{row}.png", row % CLASSES, 0, f"{row:064x}", "PNG", side, side)
        for row in range(count)
    )
    names = tuple(f"class{label:02}" for label in range(CLASSES))
    split = [Split.TRAIN] * images + [Split.TEST] * TEST_IMAGES
    contents = Contents(Catalogue(path, names, items, ()), split, side, "none: random pixels")
    random = np.random.default_rng(0)
    colours = random.integers(0, 128, (CLASSES, 1, 1, 3), dtype=np.uint8)
    with PartialStore(path, contents, fresh=True) as partial:
        reserve(partial.images, partial.images)
        pixels = np.lib.format.open_memmap(partial.images, mode="r+")
        for chunk in partial.missing():
            rows = np.arange(count)[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS]
            shape = (len(rows), side, side, 3)
            values = random.integers(0, 128, shape, dtype=np.uint8) + colours[rows % CLASSES]
            pixels[rows] = values
            partial.finish(FinishedChunk(chunk, hashlib.sha256(values.data).hexdigest()))
        del pixels
        partial.commit()
    return path
