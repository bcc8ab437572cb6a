"""Whatever lies under the name of a file that is read back: one clear line, and nothing else.

Every file that a verb reads again is cut, filled with bytes, given values of other types, made far
too large or replaced by what is no file, and the verbs are called as users call them.
"""

import contextlib
import copy
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.broken import NO_FILES, ODD_TEXT, TRIES, called, replace_file
from tests.collect.test_fuzz_records import ODD, WHOLE, _places, without_plots
from tests.collect.test_predictions import predicted
from tests.records_maker import leave, measured
from tests.runs.test_checks import GOOD
from weather_hpc.collect.__main__ import main as collect
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import save_plan
from weather_hpc.slurm import ledger
from weather_hpc.study.config import load_study
from weather_hpc.study.plan import make_plan
from weather_hpc.sweep.__main__ import main as sweep

pytestmark = pytest.mark.usefixtures("undrawn_plots")

STUDY = """\
name: demo
repeats: 1
preprocess:
  - {backend: dask, workers: [1, 2]}
train:
  - {strategy: single, device: cpu, model: weather_net, epochs: 2}
"""


@dataclass(frozen=True)
class Folder:
    """A results folder in which a study was run, with every kind of file that is read back."""

    root: Path

    @property
    def paths(self) -> StudyPaths:
        return StudyPaths(self.root)

    @property
    def victim(self) -> RunPaths:
        """The run whose files are broken."""
        return self.paths.run(WHOLE[0]["spec.json"]["run_id"])

    @property
    def study(self) -> Path:
        return self.root.parent / "study.yaml"

    def files(self) -> dict[str, Path]:
        """All files, by what they are called here."""
        here = [path for path in sorted(self.root.rglob("*")) if path.is_file()]
        kept = (".png", ".jpg")
        return {str(path.relative_to(self.root)): path for path in here if path.suffix not in kept}


def made(root: Path) -> Folder:
    """A results folder with plan, ledger, checks, predictions, and the runs of a study."""
    folder = Folder(root)
    folder.study.parent.mkdir(parents=True, exist_ok=True)
    folder.study.write_text(STUDY)
    plan = make_plan(load_study(str(folder.study)), str(root / "data" / "synthetic-24-seed0"))
    save_plan(folder.paths, plan)
    for spec in plan.runs:
        leave(root, measured(spec, 5.5))
    for name, value in WHOLE[0].items():
        folder.victim.root.mkdir(exist_ok=True)
        text = "".join(json.dumps(line) + "\n" for line in value) if name.endswith("l") else None
        (folder.victim.root / name).write_text(text or json.dumps(value))
    folder.victim.earlier_tries.write_text('{"node_hours": 0.5}')
    folder.victim.stop.write_text("time-limit\n")
    folder.victim.stderr.write_text("oops\n")
    folder.victim.gpus.write_text("moment,index\nstart,0\n")
    predicted(root)
    GOOD.append_to(folder.paths.check("nodes").results)
    ledger.save(
        folder.paths,
        ledger.Submission(
            "20260101T000000-00c0ffee", "wh-demo-00c0ffee", "shape", [plan.runs[0].run_id],
            "2026-01-01T00:00:00+00:00", 12,
        ),
    )  # fmt: skip
    folder.paths.lock.write_text('{"pid": 2, "host": "node1"}')
    (root / "data").mkdir()
    (root / "data" / ".synthetic.json").write_text('{"parameters": {}, "complete": true}')
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A folder to copy."""
    return made(tmp_path_factory.mktemp("whole") / "results")


@pytest.fixture(autouse=True, scope="module")
def no_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine without Slurm, whose commands would be waited for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
        yield


@contextlib.contextmanager
def copied(whole: Folder) -> Iterator[Folder]:
    with tempfile.TemporaryDirectory() as name:
        shutil.copytree(whole.root, Path(name) / "results")
        folder = Folder(Path(name) / "results")
        shutil.copy(whole.study, folder.study)
        before = sorted(Path(name).iterdir())
        yield folder
        assert sorted(Path(name).iterdir()) == before, "written outside the results folder"


def use(folder: Folder) -> dict[str, tuple[int, str]]:
    """Every verb that reads a results folder: its code, and what it printed."""
    results, study = str(folder.root), ["--study", str(folder.study)]
    with without_plots():
        return {
            "collect": called("collect", collect, [results]),
            "status": called("sweep", sweep, ["status", "--results", results]),
            "forecast": called(
                "sweep", sweep,
                ["--dry-run", "--executor", "local", *study, "--results", results],
            ),
            "cancel": called("sweep", sweep, ["cancel", "--results", results]),
        }  # fmt: skip


def check(folder: Folder, name: str) -> None:
    """Use the folder whose file ``name`` is broken: other runs are still collected."""
    used = use(folder)
    assert used["collect"][0] == 0, used["collect"][1]
    rows = folder.paths.rows.read_text()
    others = [run.name for run in folder.paths.runs.iterdir() if f"runs/{run.name}" not in name]
    assert all(other in rows for other in others)


def test_a_sound_folder_is_used_without_complaint(whole: Folder) -> None:
    with copied(whole) as folder:
        used = use(folder)
        assert used["status"][0] == used["forecast"][0] == 0
        check(folder, "nothing")


@pytest.mark.parametrize("content", ODD_TEXT, ids=lambda content: repr(content[:12]))
def test_odd_content_in_every_file(whole: Folder, content: bytes) -> None:
    with copied(whole) as folder:
        for path in folder.files().values():
            path.write_bytes(content)
        use(folder)


@given(data=st.data(), cut=st.floats(0, 1), flips=st.lists(st.integers(0, 255), max_size=4))
@TRIES
def test_changed_bytes(whole: Folder, data: st.DataObject, cut: float, flips: list[int]) -> None:
    with copied(whole) as folder:
        name = data.draw(st.sampled_from(sorted(folder.files())))
        path = folder.files()[name]
        content = bytearray(path.read_bytes())
        del content[round(len(content) * cut) :]
        for byte in flips if content else []:
            content[data.draw(st.integers(0, len(content) - 1))] = byte
        path.write_bytes(content)
        check(folder, name)


MORE_ODD = (
    *ODD, "../../outside", "/etc/passwd", "a\nb", "\x1b[31m", "-rf", "x" * 5000, ["x"] * 3, 2**70,
    -(2**70), "nan", {"pid": 1}, ".", "a/b", "\ud800",
)  # fmt: skip


@given(data=st.data())
@TRIES
def test_changed_values(whole: Folder, data: st.DataObject) -> None:
    with copied(whole) as folder:
        files = {n: p for n, p in folder.files().items() if p.suffix in (".json", ".lock")}
        name = data.draw(st.sampled_from(sorted(files)))
        value = json.loads(files[name].read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            places = list(_places(value))
            if not places:
                break
            *path, last = data.draw(st.sampled_from(places))
            inside: Any = value
            for key in path:
                inside = inside[key]
            inside[last] = copy.deepcopy(data.draw(st.sampled_from(MORE_ODD)))
        files[name].write_text(json.dumps(value))
        check(folder, name)


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file(whole: Folder, kind: str) -> None:
    with copied(whole) as folder:
        for path in folder.files().values():
            replace_file(path, kind)
        use(folder)


def test_a_lock_that_is_a_link_does_not_change_what_it_links_to(whole: Folder) -> None:
    with copied(whole) as folder:
        other = folder.root / "data" / "precious"
        other.write_text("kept")
        folder.paths.lock.unlink()
        folder.paths.lock.symlink_to(other)
        code, printed = called(
            "sweep", sweep, ["clean", "--yes", "--results", str(folder.root)]
        )  # fmt: skip
        assert (code > 0, other.read_text()) == (True, "kept")
        assert f"{folder.paths.lock}: " in printed
