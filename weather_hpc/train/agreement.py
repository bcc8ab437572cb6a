"""What ranks must agree on before they compute: the checkpoint, the store, the settings, the code.

Each rank reads them for itself, on its own node: a file cache of a network file system may be some
seconds old, a node may have another checkout or another copy of the store. Ranks that differ would
wait for each other in different places, or train a network that is none of theirs.
"""

import hashlib
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import weather_hpc
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RunRecord
from weather_hpc.train.again import UNUSABLE, refusal
from weather_hpc.train.checkpoint import Checkpoint, load_checkpoint
from weather_hpc.train.exchange import exchange, ranks_named
from weather_hpc.train.ranks import Ranks
from weather_hpc.train.request import Request, differences

REREAD_S = 10.0
"""How long a rank whose checkpoint is behind another's reads again: caches of files expire."""

REREAD_EVERY_S = 0.5


class DisagreementError(FailedError):
    """Ranks have read what does not go together; all of them raise it alike."""


@dataclass(frozen=True)
class Seen:
    """What a rank found where the checkpoint should be."""

    epoch: int = -1
    """Complete epochs; -1: no checkpoint, or none that can be read."""
    step: int = 0
    digest: str = ""
    """Of the whole content."""
    error: str = ""
    """Why it cannot be used."""

    def text(self, *, with_digest: bool) -> str:
        """``epoch 4``, ``epoch 4 step 12``, ``none``, or the error."""
        if self.epoch < 0:
            return self.error or "none"
        step = f" step {self.step}" if self.step else ""
        return f"epoch {self.epoch}{step}" + (f" (content {self.digest})" if with_digest else "")


class Reading:
    """The checkpoint to resume from as this rank reads it; again with :meth:`read`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.checkpoint: Checkpoint | None = None
        self.error: UserError | None = None
        self.is_kept = False
        """Whether the folder holds what this run must not replace: nothing is written there."""
        self.read()

    def read(self) -> None:
        """Read it, if the run folder has one that is not to be discarded."""
        paths, options = self.request.paths, self.request.options
        self.checkpoint, self.error, self.is_kept = None, None, False
        if paths is None or options.discard or not _exists(paths.checkpoint):
            return
        try:
            checkpoint = load_checkpoint(paths.checkpoint)
        except UserError as error:
            self.error = UserError(f"{error}; {UNUSABLE}")
            self.is_kept = not options.resume
            return
        different = differences(checkpoint.configuration, self.request.configuration)
        if options.resume and not different:
            self.checkpoint = checkpoint
            return
        self.error = UserError(refusal(paths.root, checkpoint, self.request.task.epochs, different))
        self.is_kept = True

    @property
    def seen(self) -> Seen:
        """What this rank tells others of it."""
        if self.checkpoint is None:
            return Seen(error=str(self.error or ""))
        return Seen(self.checkpoint.epoch, self.checkpoint.step, digest_of(vars(self.checkpoint)))


def agree(
    ranks: Ranks, request: Request, reading: Reading, done: RunRecord | None
) -> tuple[bool, Checkpoint | None]:
    """Whether the run is already done, as rank 0 sees it, and the checkpoint of all ranks.

    ``done``: the record of the complete run, where this rank has read one. Collective. Raises
    DisagreementError naming what differs, and where; UserError where no rank can use the
    checkpoint.
    """
    if ranks.env.world_size == 1:
        if reading.error is not None:
            raise reading.error
        return done is not None, reading.checkpoint
    own = {
        "node": node_name(),
        "done": done is not None,
        "facts": facts_of(request),
        "seen": asdict(seen := reading.seen),
    }
    said = exchange(ranks.store, ranks.env, "start", own)
    if said[0]["done"]:
        return True, None
    nodes = [each["node"] for each in said]
    different = differences_of([each["facts"] for each in said], nodes)
    if different:
        raise DisagreementError(f"ranks differ in {different}; the run needs the same on all nodes")
    all_seen = [Seen(**each["seen"]) for each in said]
    if len(set(all_seen)) > 1:
        seen = _reread(reading, seen, all_seen)
        again = exchange(ranks.store, ranks.env, "seen again", asdict(seen))
        all_seen = [Seen(**each) for each in again]
    if reading.error is not None and all(each.error for each in all_seen):
        raise reading.error
    if len(set(all_seen)) > 1:
        raise DisagreementError(
            f"ranks read different checkpoints in {request.options.run_dir}: "
            f"{checkpoints_named(all_seen, nodes)}; wait until all nodes see the same file, then "
            "resume"
        )
    return False, reading.checkpoint


def _reread(reading: Reading, own: Seen, others: Sequence[Seen]) -> Seen:
    """What this rank sees once it has read again, where it is behind others, until it is not."""
    newest = max(others, key=lambda seen: (seen.epoch, seen.step))  # of several rank 0's, say
    deadline = time.monotonic() + REREAD_S
    while own != newest and (own.epoch, own.step) <= (newest.epoch, newest.step):
        if time.monotonic() > deadline:
            break
        time.sleep(REREAD_EVERY_S)
        reading.read()
        own = reading.seen
    return own


def facts_of(request: Request) -> dict[str, Any]:
    """What must be equal on all ranks apart from the checkpoint, by name."""
    store, options = request.store, request.options
    rows = hashlib.sha256(store.labels.tobytes())
    for split in ("train", "test"):
        rows.update(store.rows(split).tobytes())
    return request.configuration | {
        "store's rows": rows.hexdigest()[:12],
        "store's classes": ", ".join(store.classes),
        "store's image size": store.size,
        "repeat": request.spec.repeat,
        "--evaluate-every": options.evaluate_every,
        "--resume": options.resume,
        "--discard": options.discard,
        "--run-dir": options.run_dir is not None,
        "code of weather_hpc": f"{weather_hpc.__version__}, {code_digest()}",
        "torch": torch.__version__.partition("+")[0],
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def differences_of(facts: Sequence[Mapping[str, Any]], nodes: Sequence[str]) -> str:
    """``epochs: 3 on rank 0 (node1), 4 on rank 1 (node2)``; empty where all ranks say the same."""
    names = list(dict.fromkeys(name for each in facts for name in each))
    texts = []
    for name in names:
        values = [str(each.get(name)) for each in facts]
        if len(set(values)) > 1:
            texts.append(f"{name}: {_by_rank(values, nodes)}")
    return "; ".join(texts)


def checkpoints_named(seen: Sequence[Seen], nodes: Sequence[str]) -> str:
    """``epoch 4 on rank 0 (node1), epoch 2 on rank 1 (node2)``."""
    at = {(each.epoch, each.step) for each in seen}
    alike = len(at) < len(set(seen))
    return _by_rank([each.text(with_digest=alike) for each in seen], nodes)


def _by_rank(values: Sequence[str], nodes: Sequence[str]) -> str:
    """Each value with the ranks that have it and their nodes, in order of rank."""
    parts = []
    for value in dict.fromkeys(values):
        ranks = [rank for rank, own in enumerate(values) if own == value]
        where = ", ".join(dict.fromkeys(nodes[rank] for rank in ranks))
        parts.append(f"{value} on {ranks_named(ranks)} ({where})")
    return ", ".join(parts)


def digest_of(value: Any) -> str:
    """12 hexadecimal digits that differ where any tensor, number or text in ``value`` does."""
    digest = hashlib.sha256()
    _feed(digest.update, value)
    return digest.hexdigest()[:12]


def _feed(update: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        update(f"tensor {value.dtype} {tuple(value.shape)}".encode())
        update(value.contiguous().reshape(-1).view(torch.uint8).numpy())
    elif isinstance(value, dict):
        update(f"dict {len(value)}".encode())
        for name, item in value.items():
            update(repr(name).encode())
            _feed(update, item)
    elif isinstance(value, list | tuple):
        update(f"list {len(value)}".encode())
        for item in value:
            _feed(update, item)
    else:
        update(repr(value).encode())


def code_digest() -> str:
    """12 hexadecimal digits of this package's source."""
    root = Path(weather_hpc.__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.cpp")]):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _exists(path: Path) -> bool:
    with suppress(OSError):  # opening a folder makes NFS clients ask the server what is in it
        os.close(os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY))
    return path.exists()
