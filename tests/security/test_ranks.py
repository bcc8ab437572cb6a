"""Another user attacks all that training listens on, with every strategy, while it runs."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.security.intruder import Intruder
from tests.security.listeners import Listener
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.proc import kill_family
from weather_hpc.runs.record import read_record
from weather_hpc.train.ranks import torchrun

STALLED_S = 120

STRATEGIES = ("single", "ddp", "model")
"""Ranks of ddp share memory here, those of model exchange through gloo."""


def test_another_user_gets_nowhere(tmp_path: Path) -> None:
    make_synthetic(tmp_path / "images", 4)
    store = tmp_path / "store"
    argv = ["--data", str(tmp_path / "images"), "--out", str(store), "--size", "32"]
    assert preprocess(argv) == 0
    with Intruder(tmp_path) as intruder:
        for name in STRATEGIES:
            found = attack_training(name, intruder, store, RunPaths(tmp_path / name))
            answers = [answer for answers in found.values() for answer in answers]
            assert answers == [], name
            assert [each for each in found if not each.is_private] == [], name
            # gloo's, one for each rank; the launcher has a Unix socket
            ports = [each for each in found if not each.is_unix]
            assert len({each.pid for each in ports}) == len(ports) == (0 if name == "single" else 2)
        assert intruder.ran() == []


def attack_training(
    strategy: str, intruder: Intruder, store: Path, paths: RunPaths
) -> dict[Listener, list[str]]:
    """Train until all that the processes listen on has been attacked, some of it while they start.

    Every listener, with what it gave an answer to.
    """
    launcher = [] if strategy == "single" else torchrun(1, 2)
    run = subprocess.Popen(
        [sys.executable, *launcher, "-m", "weather_hpc.train", "--store", str(store),
         "--strategy", strategy, "--device", "cpu", "--model", "weather_net",
         "--batch-size", "4", "--images", "32", "--epochs", "100000",
         "--run-dir", str(paths.root)],
        env=without_interfaces(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    found: dict[Listener, list[str]] = {}
    deadline = time.monotonic() + STALLED_S
    with run, ExitStack() as stack:
        stack.callback(kill_family, run.pid)
        trains = False
        while not trains:
            trains = paths.events.exists() and '"epoch"' in paths.events.read_text()
            assert run.poll() is None, run.communicate()[1]
            assert time.monotonic() < deadline, "it does not train"
            found |= intruder.attack_family(run.pid, () if trains else found)
            time.sleep(0.2)
        paths.stop.write_text("test")
        error = run.communicate(timeout=STALLED_S)[1]
    assert read_record(paths.record).status == "incomplete", error
    return found


def without_interfaces() -> dict[str, str]:
    """The environment, in which nobody has chosen an interface."""
    chosen = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
    kept = {name: value for name, value in os.environ.items() if name not in chosen}
    return kept | {"OMP_NUM_THREADS": "1"}


FORBIDDEN = (
    *("gather_object", "broadcast_object", "scatter_object", "send_object", "recv_object"),
    *("TCPStore", "weights_only=False", "torch.distributed.run "),
)


def test_no_objects_are_sent_between_ranks() -> None:
    """torch's collectives of objects unpickle what arrives; its stores trust who connects."""
    for path in sorted((Path(__file__).parents[2] / "weather_hpc").rglob("*.py")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            assert not any(word in line for word in FORBIDDEN), f"{path}:{number}: {line}"
