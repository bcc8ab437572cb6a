"""Images that are gone before a study: it fails, and terminal, audit and report say so."""

from pathlib import Path

from tests.dataset.nasty import plain_folder
from tests.sweep.test_sweep_verb import sweep, table
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.tasks import Damaged, PreprocessTask


def test_most_images_gone_is_a_failure_unless_the_share_is_raised(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=4)
    for number in range(60):
        (data / "a" / f"gone{number}.jpg").symlink_to(tmp_path / "unmounted" / f"{number}.jpg")
    study = tmp_path / "s.yaml"
    study.write_text("name: s\nrepeats: 1\nimage_size: 16\npreprocess: [{backend: sequential}]\n")
    paths = StudyPaths(tmp_path / "results")
    options = ("--study", study, "--data", data, "--results", paths.root)
    done = sweep(*options)
    words = "60 of 72 image files (83 %) cannot be used: 60 × cannot be read: No such file"
    assert done.returncode == 1
    assert words in done.stderr
    (finding,) = table(paths.root / "audit.csv")
    assert (finding["severity"], finding["code"]) == ("error", "unreadable_images")
    assert words in finding["message"]
    assert words in (paths.root / "report.md").read_text()

    done = sweep(*options, "--max-unreadable", "84%")
    assert done.returncode == 0, done.stderr
    findings = {f["code"]: f for f in table(paths.root / "audit.csv")}
    assert findings["unreadable_images"]["severity"] == "warning"
    told = "60 of 72 image files (83%) are left out: 60 × cannot be read: No such file or directory"
    assert findings["unreadable_images"]["message"].startswith(told)
    assert f"- {told}" in " ".join(done.stdout.split())
    done = sweep(*options, "--max-unreadable", "most")
    assert done.returncode == 2
    assert "--max-unreadable most: " in done.stderr


def test_a_study_says_what_becomes_of_damaged_images() -> None:
    keys = {"damaged": "keep", "max_unreadable": "5%", "train": [{"strategy": "single"}]}
    study = {"name": "s", "preprocess": [{"backend": "sequential"}], **keys}
    plan = make_plan(StudyConfig.model_validate(study), "/images")
    for spec in plan.all:
        if isinstance(spec.task, PreprocessTask):
            assert (spec.task.damaged, spec.task.max_unreadable) == (Damaged.KEEP, 0.05)
    plain = make_plan(StudyConfig.model_validate(study | {"damaged": "quarantine"}), "/images")
    assert plain.store_name != plan.store_name
