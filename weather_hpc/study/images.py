"""How many images a study has, as far as planning knows."""

from dataclasses import dataclass

from weather_hpc.study.spec import Stage


@dataclass(frozen=True)
class ImageCount:
    """How many images a study has. Of a folder it counts files, so that there may be fewer."""

    where: str
    """The folder, or what makes them."""
    total: int
    training: int
    """Those of the training split."""

    def of(self, stage: Stage) -> int:
        """The most images that a run of ``stage`` can use."""
        return self.training if stage is Stage.TRAIN else self.total

    def noun(self, stage: Stage) -> str:
        """``/photos has 840 training images``."""
        kind = "training images" if stage is Stage.TRAIN else "images"
        return f"{self.where} has {self.of(stage)} {kind}"
