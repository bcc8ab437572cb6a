"""The check verb on the CPUs of this machine: its checks, time limit, output and exit codes."""

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from weather_hpc import cli
from weather_hpc.check.__main__ import main
from weather_hpc.check.session import Check, NotDoneError, Passed, Session, WrongError
from weather_hpc.collect.machines import networks, read_checked
from weather_hpc.runs.checks import CheckResult, read_checks
from weather_hpc.runs.paths import CheckPaths
from weather_hpc.train.ranks import torchrun as torchrun_arguments


def check(out: Path, *options: object, code: int = 0) -> list[CheckResult]:
    argv = ["--device", "cpu", "--out", str(out), *map(str, options)]
    assert cli.guarded("check", main, argv) == code
    results, fault = read_checks(CheckPaths(out).results)
    assert fault is None
    return results


ALLOWED = {
    "torch", "torchgen", "functorch", "numpy", "pydantic", "pydantic_core", "simplejpeg",
    "typing_extensions", "annotated_types", "typing_inspection", "sympy", "mpmath", "networkx",
    "filelock", "fsspec", "jinja2", "markupsafe", "setuptools", "_distutils_hack", "packaging",
    "backports", "triton", "weather_hpc",
}  # fmt: skip
"""The four packages and what comes with them: jinja2 and setuptools, which brings packaging and
backports."""

HIDE = """
from importlib.machinery import PathFinder
find_spec = PathFinder.find_spec
def without(name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden} else find_spec(name, path, target)
PathFinder.find_spec = without
"""


def test_all_checks_without_gpus_pass_with_four_packages(
    tmp_path: Path,
) -> None:
    """With two ranks, as on a node of a cluster, and every strategy.

    Packages are hidden from child processes too: python reads the file when it starts.
    """
    hidden = set(importlib.metadata.packages_distributions()) - ALLOWED
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": "/usr/bin:/bin"}
    paths = CheckPaths(tmp_path / "check" / "here")
    done = subprocess.run(
        [sys.executable, "-m", "weather_hpc.check", "--device", "cpu", "--out", str(paths.root)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    results, fault = read_checks(paths.results)
    assert [(r.name, r.detail) for r in results if r.ok is not True] == []
    assert (done.returncode, fault) == (0, None), done.stderr
    names = [r.name for r in results]
    assert done.stdout.splitlines()[-1].startswith(f"{len(names)} passed; ")
    assert names[:4] == ["versions", "bandwidth", "binding", "all-reduce, 2 ranks on 1 node"]
    for part in ("ddp x2 =", "over gloo", "synchronised", "model x2", "resumed", "warm-up", "bf16",
                 "compiled", "channels-last"):  # fmt: skip
        assert any(part in name for name in names), part
    figures = {r.name: r.figures for r in results}
    assert figures["versions"]["torch version"]
    assert figures["bandwidth"]["copy_gb_s"] > 0
    assert figures["bandwidth"]["product_fp32_tflop_s"] > 0
    assert {"rank 0 cpus", "rank 1 cpus", "rank 1 host"} <= set(figures["binding"])
    (network,) = networks(read_checked([paths.results]))
    assert (network.device, network.ranks, network.nodes) == ("cpu", 2, 1)
    assert network.gb_s == figures[names[3]]["bus_gb_s_64mb"] > 0
    without = subprocess.run(
        [sys.executable, "-c", "import psutil"], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "No module named 'psutil'" in without.stderr


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replaces all checks: some pass, some fail, one is impossible, one has no time."""

    def fails(session: Session) -> Passed:
        written, _ = read_checks(session.paths.results)
        assert [r.name for r in written] == ["right"], "each line is written when its check ends"
        raise WrongError("not as it should be", {"figure": 2.0})

    def breaks(session: Session) -> Passed:
        raise ZeroDivisionError("by\nnothing")

    def cannot(session: Session) -> Passed:
        raise NotDoneError("nothing to do it with")

    monkeypatch.setattr(
        "weather_hpc.check.__main__.checks_of",
        lambda session: [
            Check("right", 0, lambda _: Passed("all of it", {"figure": 1.0})),
            Check("wrong", 0, fails),
            Check("broken", 0, breaks),
            Check("impossible", 0, cannot),
            Check("long", 1e6, cannot),
            Check("last", 0, lambda _: Passed("")),
        ],
    )


def test_a_failed_check_does_not_stop_the_next(
    three: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    right, wrong, broken, impossible, long, last = check(tmp_path, code=1)
    assert (right.ok, right.detail, right.figures) == (True, "all of it", {"figure": 1.0})
    assert (wrong.ok, wrong.detail, wrong.figures) == (
        False, "not as it should be", {"figure": 2.0},
    )  # fmt: skip
    assert broken.ok is False
    assert broken.detail.startswith("ZeroDivisionError: by nothing (test_check.py:")
    assert (impossible.ok, impossible.detail) == (None, "nothing to do it with")
    assert long.ok is None
    assert long.detail.endswith("s left, it needs about 1000000 s")
    assert last.ok is True
    lines = capsys.readouterr().out.splitlines()
    assert [line[:8].strip() for line in lines[:-1]] == [
        "passed", "FAILED", "FAILED", "not done", "not done", "passed",
    ]  # fmt: skip
    assert lines[-1].startswith("2 passed, 2 FAILED, 2 not done; ")


def test_json_is_the_only_line_on_stdout(
    three: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check(tmp_path, "--json", "--only", "right", "--only", "last")
    printed = capsys.readouterr()
    value: dict[str, Any] = json.loads(printed.out)
    assert [one["name"] for one in value["checks"]] == ["right", "last"]
    assert (value["device"], value["out"]) == ("cpu", str(tmp_path))
    assert "passed   right" in printed.err


def test_checks_without_enough_time_are_reported_as_not_done(tmp_path: Path) -> None:
    results = check(tmp_path, "--seconds", 2.5)
    done = {r.name: r.ok for r in results}
    assert done.pop("versions") is True
    assert list(done.values()) == [None] * len(done)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda"], "--device cuda: torch 2"),
        (["--device", "tpu"], "--device tpu: no such device; did you mean 'cpu'?"),
        (["--out", __file__], "test_check.py: cannot be written to: File exists"),
        (["--out", f"{__file__}/below"], "cannot be written to: Not a directory"),
        (["--out", "/proc/none"], "cannot be written to: No such file or directory"),
    ],
)
def test_wrong_input_is_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("check", main, ["--out", str(tmp_path), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_ranks_started_by_torchrun_check_together(tmp_path: Path) -> None:
    """As on two nodes, where torchrun starts the verb once a rank: rank 0 prints and writes."""
    launcher = torchrun_arguments(1, 2)
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "weather_hpc.check", "--device", "cpu",
         "--out", str(tmp_path), "--only", "ddp", "--only", "binding"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results, _ = read_checks(CheckPaths(tmp_path).results)
    assert [(r.name, r.ok) for r in results] == [
        ("binding", True), ("ddp on 2 ranks on 1 node = one process", True),
    ]  # fmt: skip
    assert done.stdout.count("binding") == 1
