"""Heading: an epoch that a line announces, and the values that follow it without its number."""

from dataclasses import dataclass, field
from typing import cast

from weather_hpc.logs.epochs import NOTHING, VALUES, EpochValues, filled
from weather_hpc.logs.fields import Value


def epoch_values(values: dict[str, Value]) -> EpochValues:
    """Those of a line's ``values`` that are an epoch's."""
    return cast(EpochValues, tuple(values.get(name) for name in VALUES))


@dataclass
class Heading:
    """An epoch of which a heading told, and the values that followed."""

    epoch: int
    values: EpochValues = NOTHING
    steps: bytes = b""
    """Of the bar that last followed, such as 98/98."""
    is_bar: bool = False
    """No heading, but a bar that names its epoch: the values of its last line at the end count."""
    ended: bool = False
    """That bar was at its end, or that of a later epoch followed."""
    over: bool = False
    """The epoch's own pass over its images has ended, and another began, as evaluate() makes."""

    ranks: int = 1
    """Headings of it in a row: ranks that print no number."""
    finished: int = 0
    """Of these, how many have ended their bar."""

    unclear: set[int] = field(default_factory=set)
    """Which of the values came several times, as those of steps do, without a bar that ends."""

    @property
    def counts(self) -> bool:
        """Whether it is an epoch that was done."""
        return self.ended or self.values != NOTHING

    @property
    def is_empty(self) -> bool:
        """Whether a heading is all that there was of it."""
        return self.values == NOTHING and not self.is_bar and not self.finished

    def take(self, values: dict[str, Value]) -> None:
        """Take in a line's values; the last ones of a bar count."""
        new = epoch_values(values)
        if "progress" not in values:
            pairs = enumerate(zip(self.values, new, strict=True))
            self.unclear |= {i for i, (b, n) in pairs if None not in (b, n) and b != n}
        self.values = filled(new, self.values)

    @property
    def clear(self) -> EpochValues:
        """The values of which it is known that they are the epoch's."""
        kept = (None if i in self.unclear else value for i, value in enumerate(self.values))
        return cast(EpochValues, tuple(kept))

    def is_other_pass(self, steps: bytes, values: dict[str, Value]) -> bool:
        """Whether a bar that is at ``steps`` with ``values`` gives no values of the epoch."""
        done = values.get("progress") == 1
        tested = "test_loss" in values or "test_accuracy" in values
        if self.steps and not self.over:
            zero = not self.values[2]  # the bar was at its end, the epoch was not
            same = values.get("loss", self.values[0]) == self.values[0]
            self.over = not done or steps != self.steps or not (tested or same or zero)
        if not done or self.over:
            return True
        self.steps = steps
        return False
