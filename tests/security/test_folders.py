"""Folders from which code is run: nobody else can have made them, or write to them."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from tests.security.intruder import NOBODY, need_root
from weather_hpc.files import own_folder
from weather_hpc.launch.script import run_script, slurm_run_script
from weather_hpc.models import compile_cache, fused_build
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def another_users(folder: Path) -> Path:
    """``folder``, made by the user nobody."""
    need_root()
    folder.mkdir(mode=0o777)
    os.chown(folder, NOBODY, NOBODY)
    return folder


def test_a_folder_is_ours_alone_whoever_could_write_before(tmp_path: Path) -> None:
    assert mode(own_folder(tmp_path / "new")) == 0o700
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o777)
    assert mode(own_folder(tmp_path / "old", private=False)) == 0o755
    assert mode(own_folder(tmp_path / "old")) == 0o700


def test_another_user_s_folder_or_link_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="belongs to another user"):
        own_folder(another_users(tmp_path / "theirs"))
    link = tmp_path / "link"
    link.symlink_to(own_folder(tmp_path / "ours"))
    assert own_folder(link) == link
    os.lchown(link, NOBODY, NOBODY)
    with pytest.raises(PermissionError):
        own_folder(link)


def test_no_library_of_another_user_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"fused-{fused_build._fingerprint('c++')}.so"
    monkeypatch.delenv("CXX", raising=False)
    ours, theirs = tmp_path / "ours", another_users(tmp_path / "theirs")
    ours.mkdir()
    for folder in (ours, theirs):
        (folder / name).touch()
        os.chown(folder / name, NOBODY, NOBODY)
        with pytest.raises(PermissionError):
            fused_build.build(folder)


@pytest.mark.parametrize("taken", [False, True])
def test_compiled_code_is_ours(
    taken: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(compile_cache.VARIABLE, raising=False)
    expected = tmp_path / f"torchinductor_{os.geteuid()}"
    if taken:
        another_users(expected)
    compile_cache.own_compile_cache()
    folder = Path(os.environ[compile_cache.VARIABLE])
    assert (folder == expected) is not taken
    assert (mode(folder), folder.stat().st_uid) == (0o700, os.geteuid())
    compile_cache.own_compile_cache()
    assert os.environ[compile_cache.VARIABLE] == str(folder)


def writable(folder: Path) -> list[Path]:
    """What others than its owner can write to, in and below ``folder``."""
    return [path for path in (folder, *folder.rglob("*")) if mode(path) & 0o022]


def test_others_can_write_to_nothing_that_a_verb_makes(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=1)
    argv = ["--data", str(data), "--size", "16", "--run-dir", str(tmp_path / "run")]
    command = [sys.executable, "-m", "weather_hpc.preprocess", *argv]
    subprocess.run(command, check=True, umask=0)
    assert (tmp_path / "run" / "record.json").exists()
    assert writable(tmp_path / "run") == []


def test_others_can_write_to_nothing_that_a_script_makes(tmp_path: Path) -> None:
    study = StudyConfig.model_validate(
        {"name": "s", "repeats": 1, "preprocess": [{"backend": "sequential"}]}
    )
    plan = make_plan(study, "/images")
    (spec,) = plan.runs
    paths = StudyPaths(tmp_path / "results")
    for make in (run_script, slurm_run_script):
        script = make(plan, spec, paths, SiteProfile(python="true"))
        subprocess.run(["bash", "-c", script], check=False, umask=0)  # without Slurm: 127
        assert paths.run(spec.run_id).exit.exists()
        assert writable(paths.root) == []
        shutil.rmtree(paths.root)
