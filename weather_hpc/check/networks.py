"""Networks to compare losses with: small ones, and the package's own without their chance."""

from collections import OrderedDict

from torch import nn

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
    """As ``tiny``, with layers enough for four stages."""
    layers = OrderedDict(tiny(64, image_size).named_children())
    return nn.Sequential(OrderedDict(layers | {"tanh3": nn.Tanh(), "last": nn.Linear(64, classes)}))


def tiny_norm(classes: int, image_size: int) -> nn.Sequential:
    """As ``tiny``, but images of a step influence each other, and chance has its part."""
    first, *middle, last = tiny(classes, image_size).named_children()
    norm, dropout = ("norm1", nn.BatchNorm2d(8)), ("dropout", nn.Dropout(0.3))
    return nn.Sequential(OrderedDict([first, norm, *middle, dropout, last]))


def dry(build: Builder) -> Builder:
    """A network without its chance: nothing is dropped."""

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
    "tiny_norm_dry": dry(tiny_norm),
    "paper_dry": dry(MODELS["paper_cnn"]),
    "weather_dry": dry(MODELS["weather_net"]),
}


def register() -> None:
    """Let the train verb of this process know them."""
    MODELS.update(NETWORKS)
