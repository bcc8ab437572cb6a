"""A trained network from its checkpoint; images -> predictions.csv, skipped.csv and sheets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weather_hpc import cli
from weather_hpc.dataset.image_file import ImageError, printable
from weather_hpc.errors import UserError
from weather_hpc.files import write_csv
from weather_hpc.models.pretrained import build_for_weights
from weather_hpc.predict.sheet import Picture, SheetWriter
from weather_hpc.preprocess.decoders import available, make_decoder
from weather_hpc.study.spec import Decoder
from weather_hpc.train.checkpoint import Checkpoint, load_checkpoint
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
from weather_hpc.train.loader import network_input

Images = npt.NDArray[np.uint8]


Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Network:
    """A trained network."""

    module: nn.Module
    classes: list[str]
    image_size: int
    """Height and width of its input, pixels."""
    device: torch.device

    def probabilities(self, images: Sequence[Images]) -> Probabilities:
        """Class probabilities of ``images``, each uint8 (side, side, 3): float32 (images, classes).

        Rows sum to 1.

        Raises UserError where the network's outputs are not numbers.
        """
        batch = torch.from_numpy(np.stack(images)).to(self.device)
        with torch.inference_mode():
            output = self.module(network_input(batch)).float().softmax(dim=1).cpu().numpy()
        if not np.isfinite(output).all():
            raise UserError("the network's outputs are not numbers: its training diverged")
        result: Probabilities = output
        return result


def load_network(path: Path, device: str, threads: int) -> Network:
    """The network in the checkpoint ``path`` on ``device`` (auto, cpu or cuda).

    Only tensors and plain values are read: a checkpoint cannot run code. Raises UserError where
    the file is not a checkpoint or has no complete epoch, or the device is missing.
    """
    if not path.is_file():
        raise UserError(f"--checkpoint {path}: no such file; training writes checkpoint.pt")
    on_gpu = device != "cpu" and usable_gpus() > 0
    if device == "cuda" and not on_gpu:
        raise UserError(f"--device cuda: {why_no_cuda()}")
    torch.set_num_threads(threads)
    where = torch.device("cuda" if on_gpu else "cpu")
    checkpoint = load_checkpoint(path)
    return Network(
        module=_rebuild(checkpoint, path).eval().to(where),
        classes=checkpoint.classes,
        image_size=checkpoint.configuration["image_size"],
        device=where,
    )


def _rebuild(checkpoint: Checkpoint, path: Path) -> nn.Module:
    request: dict[str, Any] = checkpoint.configuration
    if checkpoint.epoch == 0:
        raise UserError(f"--checkpoint {path}: no epoch is complete in it; train on with --resume")
    try:
        module = build_for_weights(
            request["model"], len(checkpoint.classes), request["image_size"], request.get("weights")
        )
        module.load_state_dict(checkpoint.best)
    except (KeyError, TypeError, RuntimeError) as error:
        text = str(error).partition("\n")[0]
        raise UserError(f"--checkpoint {path}: weights do not match its network: {text}") from None
    return module


DECIMALS = 6


@dataclass(frozen=True)
class Summary:
    """Classified and skipped files."""

    images: int
    classes: dict[str, int]
    """Images per predicted class, the most frequent first."""
    skipped: list[tuple[str, str]]
    """File and reason."""
    predictions: Path
    sheets: list[Path]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "images": self.images,
            "classes": self.classes,
            "skipped": [{"file": file, "reason": reason} for file, reason in self.skipped],
            "predictions": str(self.predictions),
            "sheets": [str(sheet) for sheet in self.sheets],
        }


def predict(
    network: Network, files: Sequence[Path], out: Path, batch_size: int, *, sheets: bool = True
) -> Summary:
    """Classify ``files`` with ``network``, ``batch_size`` at a time; results go into ``out``.

    A file that cannot be decoded in full is skipped, with the reason. Sheets of an earlier call are
    replaced.
    """
    decode = make_decoder(available(Decoder.FAST))
    rows: list[dict[str, Any]] = []
    skipped: list[tuple[str, str]] = []
    writer = SheetWriter(out, enabled=sheets)
    batch: list[tuple[str, Images]] = []

    def classify_batch() -> None:
        for (file, image), shares in zip(batch, _probabilities(network, batch), strict=True):
            best = max(range(len(shares)), key=shares.__getitem__)
            label = network.classes[best]
            rows.append(
                {"file": file, "predicted": label, "probability": round(shares[best], DECIMALS)}
                | {
                    _column(c): round(p, DECIMALS)
                    for c, p in zip(network.classes, shares, strict=True)
                }
            )
            writer.add(Picture(image, file, label, shares[best]))
        batch.clear()

    with cli.progress("classifying images", total=len(files)) as advance:
        for path in files:
            file = printable(str(path))
            try:
                _check_kind(path)
                batch.append((file, decode(path, network.image_size)))
            except ImageError as error:
                skipped.append((file, str(error)))
            if len(batch) == batch_size:
                classify_batch()
            advance()
    classify_batch()

    predictions = out / "predictions.csv"
    columns = ["file", "predicted", "probability", *map(_column, network.classes)]
    write_csv(predictions, columns, rows)
    write_csv(
        out / "skipped.csv", ["file", "reason"],
        [{"file": file, "reason": reason} for file, reason in skipped],
    )  # fmt: skip
    return Summary(
        images=len(rows),
        classes=dict(Counter(row["predicted"] for row in rows).most_common()),
        skipped=skipped,
        predictions=predictions,
        sheets=writer.close(),
    )


def _check_kind(path: Path) -> None:
    """Raise ImageError for a pipe, device or socket: reading it might never end."""
    if path.exists() and not path.is_file():
        raise ImageError("not a regular file")


def _probabilities(network: Network, batch: Sequence[tuple[str, Images]]) -> list[list[float]]:
    if not batch:
        return []
    shares: list[list[float]] = network.probabilities([image for _, image in batch]).tolist()
    return shares


def _column(name: str) -> str:
    """A class's column; the prefix distinguishes a class called ``file`` from the column file."""
    return f"p_{name}"
