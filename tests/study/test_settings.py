"""The table of settings and the specs say the same; a new setting needs only the two of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import weather_hpc
from weather_hpc.study.config import PreprocessGrid, TrainGrid
from weather_hpc.study.settings import (
    PREDICT,
    PREPROCESS,
    REQUIRED,
    RESOURCES,
    RUN,
    TRAIN,
    Setting,
)
from weather_hpc.study.spec import Resources, RunSpec
from weather_hpc.study.tasks import Part, PredictTask, PreprocessTask, TrainTask

PACKAGE = Path(weather_hpc.__file__).parent

SETTING = """\
    Setting(name="gamma", role=Role.COMPUTING, default=1, metavar="G", parse=int, listed=True,
            help="a setting that came later"),
)  # fmt: skip
\"\"\"Fields of TrainTask"""

USE = """
import json, sys
from pathlib import Path
from weather_hpc.collect.pipeline import collect_study
from weather_hpc.collect.pipeline import CollectOptions, collect
from weather_hpc.launch.command import stage_command
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan

out = Path(sys.argv[1])
study = {"name": "s", "repeats": 2, "train": [
    {"strategy": "single", "device": "cpu", "gamma": [1, 2]},
    {"strategy": "ddp", "device": "cpu", "gamma": [1, 2], "world_size": 2},
]}
plan = make_plan(StudyConfig.model_validate(study), "/images")
paths = StudyPaths(out)
for number, spec in enumerate(plan.runs):
    time_s = 10.0 * spec.task.gamma / spec.task.world_size
    record = RunRecord.of(spec, status=Status.OK, time_s=time_s, images_per_s=1 / time_s)
    record.provenance.started_at = f"2026-01-01T00:00:{number:02}+00:00"
    record.phases.total = time_s
    record.write(paths.run(spec.run_id).record)
collect_study(out)
again = collect([out], out / "again", CollectOptions(reference=out))
print(json.dumps({
    "commands": [stage_command(plan, spec, paths, "python") for spec in plan.runs],
    "run_ids": [spec.run_id for spec in plan.runs],
    "reference": again["reference"],
}))
"""


def fields(settings: tuple[Setting, ...], of: str) -> set[str]:
    return {setting.name for setting in settings if setting.of == of}


def test_the_table_has_every_field_of_a_spec() -> None:
    assert fields(PREPROCESS, "task") == set(PreprocessTask.model_fields) - {"kind"}
    assert fields(TRAIN, "task") == set(TrainTask.model_fields) - {"kind"}
    assert fields(PREDICT, "task") == set(PredictTask.model_fields) - {"kind"}
    assert fields(RESOURCES, "resources") == set(Resources.model_fields)
    around = {"stage", "task", "resources", "repeat", "name"}
    assert fields(RUN, "run") == set(RunSpec.model_fields) - around


def test_settings_of_one_name_are_one() -> None:
    by_name: dict[str, Setting] = {}
    for setting in (*RUN, *RESOURCES, *PREPROCESS, *TRAIN):
        assert by_name.setdefault(setting.name, setting) is setting


@pytest.mark.parametrize(
    ("model", "settings"),
    [(PreprocessTask, PREPROCESS), (TrainTask, TRAIN), (Resources, RESOURCES)],
)
def test_specs_take_defaults_and_helps_from_the_table(
    model: type[Part], settings: tuple[Setting, ...]
) -> None:
    for setting in settings:
        if setting.name in model.model_fields:
            field = model.model_fields[setting.name]
            assert field.description == setting.described
            assert field.is_required() == (setting.default is REQUIRED)
            assert field.is_required() or field.default == setting.default


def test_study_files_have_a_key_for_each_setting_but_those_of_the_study() -> None:
    of_study = {"image_size", "images", "damaged", "max_unreadable"}
    cpus = {"cpus_per_worker", "oversubscribe"}
    assert set(PreprocessGrid.model_fields) == fields(PREPROCESS, "task") - of_study | cpus
    assert set(TrainGrid.model_fields) == fields(TRAIN, "task") - of_study | cpus | {"nodes"}


def test_a_new_setting_needs_the_table_and_the_task_alone(tmp_path: Path) -> None:
    """It is then a flag, a key of study files, a column, part of the work and of the identity."""
    package = tmp_path / "weather_hpc"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(PACKAGE.parent / "hpc", tmp_path / "hpc")
    shutil.copytree(PACKAGE.parent / "results" / "paper", tmp_path / "results" / "paper")
    table, task = package / "study" / "settings.py", package / "study" / "tasks.py"
    text = table.read_text()
    assert text.count(')  # fmt: skip\n"""Fields of TrainTask') == 1
    table.write_text(text.replace(')  # fmt: skip\n"""Fields of TrainTask', SETTING))
    text, seed = task.read_text(), '    seed: int = setting_field("seed", ge=0)\n'
    assert text.count(seed) == 1
    task.write_text(text.replace(seed, f'{seed}    gamma: int = setting_field("gamma", ge=1)\n'))

    def run(*words: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, words)], capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "--gamma G" in run("-m", "weather_hpc.train", "--help")
    found = json.loads(run("-c", USE, tmp_path / "out").splitlines()[-1])
    assert ["--gamma", "2"] in [c[i : i + 2] for c in found["commands"] for i in range(len(c))]
    assert len(set(found["run_ids"])) == 8
    lines = (tmp_path / "out" / "tables" / "training.csv").read_text().splitlines()
    assert lines[0].endswith(",gamma")
    speedups = [line.split(",")[lines[0].split(",").index("speedup")] for line in lines[1:]]
    assert speedups == ["1.0", "1.0", "2.0", "2.0"], "the baseline has the same gamma"
    assert ",gamma" in (tmp_path / "out" / "rows.csv").read_text().splitlines()[0]
    assert found["reference"]["compared"] == 4
    assert found["reference"]["regressions"] == 0
    # a run that was made before the setting existed keeps its name
    code = (
        "from weather_hpc.study.config import load_study; from weather_hpc.study.plan import "
        "make_plan; print(*[s.run_id for s in make_plan(load_study('quick'), '/images').runs])"
    )
    with_gamma = run("-c", code)
    now = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert with_gamma == now
