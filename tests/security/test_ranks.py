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
    runs: dict[str, subprocess.Popen[str]] = {}
    with Intruder(tmp_path) as intruder, ExitStack() as stack:
        for name in STRATEGIES:
            launcher = [] if name == "single" else torchrun(1, 2)
            runs[name] = subprocess.Popen(
                [sys.executable, *launcher, "-m", "weather_hpc.train", "--store", str(store),
                 "--strategy", name, "--device", "cpu", "--model", "weather_net",
                 "--batch-size", "4", "--images", "32", "--epochs", "100000",
                 "--run-dir", str(tmp_path / name)],
                env=without_interfaces(),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
            stack.enter_context(runs[name])
            stack.callback(kill_family, runs[name].pid)
        found = attack_until_all_train(intruder, runs, tmp_path)
        for name in runs:
            RunPaths(tmp_path / name).stop.write_text("test")
        errors = {name: run.communicate(timeout=STALLED_S)[1] for name, run in runs.items()}
        assert intruder.ran() == []
    for name in runs:
        assert read_record(RunPaths(tmp_path / name).record).status == "incomplete", errors[name]
        answers = [answer for answers in found[name].values() for answer in answers]
        assert answers == [], name
        assert [each for each in found[name] if not each.is_private] == [], name
        ports = [each for each in found[name] if not each.is_unix]
        # gloo's, one for each rank; the launcher has a Unix socket
        assert len({each.pid for each in ports}) == len(ports) == (0 if name == "single" else 2)
        assert all(each.pid != runs[name].pid for each in ports)


def attack_until_all_train(
    intruder: Intruder, runs: dict[str, "subprocess.Popen[str]"], folder: Path
) -> dict[str, dict[Listener, list[str]]]:
    """Attack whatever each run listens on, each once; and all once more when all train."""
    deadline = time.monotonic() + STALLED_S
    found: dict[str, dict[Listener, list[str]]] = {name: {} for name in runs}
    last = False
    while True:
        for name, run in runs.items():
            assert run.poll() is None, run.communicate()[1]
            known = () if last else found[name]
            found[name] |= intruder.attack_family(run.pid, known)
        if last:
            return found
        events = [RunPaths(folder / name).events for name in runs]
        last = all(path.exists() and '"epoch"' in path.read_text() for path in events)
        assert time.monotonic() < deadline, "not all runs train"
        time.sleep(0.2)


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
