"""Tolerance: how far from the reference a measurement may be."""

from dataclasses import dataclass, fields

from weather_hpc.errors import UserError


@dataclass(frozen=True)
class Tolerance:
    """Largest difference from the reference that is not a regression."""

    time_s: float = 0.1
    """A fraction of the reference; that of images per second too."""
    speedup: float = 0.1
    """A fraction of the reference."""
    test_accuracy: float = 0.02
    """Absolute: 0.02 is two percentage points."""

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """``0.1`` (of times and speedups), or ``time_s=0.1,test_accuracy=0.02``.

        A name that is left out keeps its default. Raises UserError for anything else.
        """
        known = [field.name for field in fields(cls)]
        expected = f"expected a number such as 0.1, or {','.join(f'{k}=0.1' for k in known)}"
        parts = text.split(",")
        if len(parts) == 1 and "=" not in text:
            parts = [f"time_s={text}", f"speedup={text}"]
        values = {}
        for part in parts:
            name, _, number = (word.strip() for word in part.partition("="))
            try:
                values[name] = float(number)
            except ValueError:
                raise UserError(f"--tolerance {text}: {expected}") from None
            if name not in known:
                raise UserError(f"--tolerance {text}: unknown name {name!r}; {expected}")
            if not 0 <= values[name] <= 1:
                raise UserError(f"--tolerance {text}: expected a value from 0 to 1; 0.1 is 10 %")
        return cls(**values)

    def of(self, name: str) -> float:
        """The tolerance of one of MEASUREMENTS."""
        return float(getattr(self, "time_s" if name == "images_per_s" else name))
