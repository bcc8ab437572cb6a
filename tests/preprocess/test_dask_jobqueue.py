"""The job scripts of workers, without a Slurm to submit them to."""

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.launch.script import slurm_run_script
from weather_hpc.preprocess.__main__ import main
from weather_hpc.preprocess.backends import dask_worker
from weather_hpc.preprocess.backends.dask_client import rank_of
from weather_hpc.preprocess.backends.dask_security import make_certificate, write_certificate
from weather_hpc.preprocess.backends.worker_jobs import (
    WorkerJob,
    clean_up,
    job_options,
)
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.site import SiteProfile, load_site

NAME = "whpc-dask-0a1b"
FULL = {
    "partition": "main", "cpu_partition": "cpu", "account": "proj", "qos": "high",
    "constraint": "a&b|c", "reservation": "course", "mem_per_cpu_mb": 2000,
    "interface": "ib0", "dask_time_limit_min": 30, "dask_memory_mb": 1500,
    "extra_directives": ["--exclude=node7", "--comment=it's; rm -rf $HOME"],
}  # fmt: skip


def worker_job(folder: Path, site: SiteProfile, time_limit_min: int = 60) -> WorkerJob:
    security = write_certificate(folder)
    options = job_options(site, NAME, folder, security, time_limit_min)
    return WorkerJob(
        "tls://127.0.0.1:8786", name=f"{NAME}-0", protocol="tls://", security=security,
        refused=[], submitted=[], **options,
    )  # fmt: skip


def job_script(folder: Path, site: SiteProfile, time_limit_min: int = 60) -> str:
    script: str = worker_job(folder, site, time_limit_min).job_script()
    return script


def directives(script: str) -> list[str]:
    lines = script.splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    return [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]


def test_an_empty_site_leaves_everything_to_the_cluster(tmp_path: Path) -> None:
    script = job_script(tmp_path, SiteProfile())
    assert directives(script) == [
        f"--job-name={NAME}", "--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1",
        "--time=60", f"--output={tmp_path}/%j.log", f"--error={tmp_path}/%j.log",
        "--open-mode=append", "--no-requeue",
    ]  # fmt: skip
    assert "--interface" not in script


def test_every_setting_of_a_site_is_a_directive(tmp_path: Path) -> None:
    script = job_script(tmp_path, SiteProfile.model_validate({"slurm": FULL}))
    lines = directives(script)
    assert lines[:6] == [
        f"--job-name={NAME}", "--partition=cpu", "--account=proj", "--qos=high",
        "'--constraint=a&b|c'", "--reservation=course",
    ]  # fmt: skip
    assert "--mem=1500M" in lines
    assert "--time=30" in lines
    assert lines[-2:] == ["--exclude=node7", "'--comment=it'\"'\"'s; rm -rf $HOME'"]
    assert not [option for option in lines if "mem-per-cpu" in option or "signal" in option]
    command = script.splitlines()[-1]
    for option in ("--interface ib0", "--nthreads 1", "--memory-limit 0", "--no-nanny",
                  "--lifetime 1620s --lifetime-stagger 90s", "--protocol tls://"):  # fmt: skip
        assert f" {option}" in command


def test_a_worker_has_the_memory_of_one_cpu(tmp_path: Path) -> None:
    """Not the memory of a run's whole node."""
    for key, expected in (("mem_per_cpu_mb", ["--mem-per-cpu=900M"]), ("memory_mb", [])):
        folder = tmp_path / key
        folder.mkdir()
        script = job_script(folder, SiteProfile.model_validate({"slurm": {key: 900}}))
        assert [o for o in directives(script) if o.startswith("--mem")] == expected


def test_nothing_in_the_site_or_a_path_is_run_as_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script is run with a stand-in for Python that writes its arguments and environment."""
    folder = tmp_path / "it's 100% $(touch pwned) ;odd"
    folder.mkdir()
    python = folder / "python"
    python.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$@" >"$OUT/argv"\nenv >"$OUT/env"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "4294967296")
    site = SiteProfile.model_validate(
        {
            "python": str(python),
            "setup": ["export FROM_SETUP=yes"],
            "environment": {"ODD": "`touch pwned` $HOME", "OUT": str(tmp_path)},
            "slurm": {"interface": "lo;touch${IFS}pwned"},
        }
    )
    script = tmp_path / "job"
    script.write_text(job_script(folder, site))
    bare = {"PATH": os.environ["PATH"]}
    subprocess.run(["bash", str(script)], env=bare, cwd=tmp_path, check=True)
    assert not list(tmp_path.rglob("pwned"))
    argv = (tmp_path / "argv").read_text().splitlines()
    assert argv[argv.index("--interface") + 1] == "lo;touch${IFS}pwned"
    assert not [word for word in argv if "tls" in word and not word.startswith("tls://")]
    lines = (tmp_path / "env").read_text().splitlines()
    environment = dict(line.partition("=")[::2] for line in lines)
    assert environment["ODD"] == "`touch pwned` $HOME"
    assert (environment["FROM_SETUP"], environment["OMP_NUM_THREADS"]) == ("yes", "1")
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "4294967296"
    assert environment["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == "True"
    for name in ("CA_FILE", "WORKER__CERT", "WORKER__KEY"):
        assert Path(environment[f"DASK_DISTRIBUTED__COMM__TLS__{name}"]).parent == folder


def test_the_key_has_mode_600_and_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    security = write_certificate(folder)
    assert security.require_encryption
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    (folder / "7.log").write_text("what went wrong")
    clean_up(folder, keep_logs=True)
    assert [path.name for path in folder.iterdir()] == ["7.log"]
    clean_up(folder, keep_logs=False)
    assert not folder.exists()


def test_a_job_s_script_is_written_to_the_private_folder(tmp_path: Path) -> None:
    """Dask's own is in /tmp, where another user may make a file of its name just before it."""
    job = worker_job(tmp_path, SiteProfile())
    with job.job_file() as name:
        assert Path(name).parent == tmp_path
        assert Path(name).read_text() == job.job_script()
    assert not Path(name).exists()


def test_a_worker_listens_where_it_reaches_its_scheduler() -> None:
    argv = ["tls://127.0.0.1:8786", "--name", "w"]
    assert dask_worker.arguments(argv) == [*argv, "--host", "127.0.0.1"]
    assert dask_worker.arguments([*argv, "--interface", "ib0"]) == [*argv, "--interface", "ib0"]


def test_certificates_do_not_depend_on_clocks() -> None:
    """A node's clock may be behind, or jump."""
    text = make_certificate().tls_worker_cert
    certificate = x509.load_pem_x509_certificate(text.encode())
    assert certificate.not_valid_before_utc.year == 2000
    assert certificate.not_valid_after_utc.year == 9999
    assert text != make_certificate().tls_worker_cert


def test_a_replacement_has_the_rank_of_the_worker_it_replaces() -> None:
    assert rank_of(f"{NAME}-12") == 12


def test_without_slurm_it_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    data = plain_folder(tmp_path / "images", per_class=1)
    argv = ["--data", str(data), "--out", str(tmp_path / "s"), "--backend", "dask-jobqueue"]
    assert cli.guarded("preprocess", main, argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("preprocess: backend dask-jobqueue needs Slurm: sbatch is not inst")
    assert error.count("\n") == 1


def test_in_a_sweep_the_driver_has_one_cpu_and_the_site(tmp_path: Path) -> None:
    study = StudyConfig.model_validate(
        {"name": "s", "repeats": 1, "preprocess": [{"backend": "dask-jobqueue", "workers": 8}]}
    )
    plan = make_plan(study, "/images")
    (spec,) = plan.runs
    assert spec.resources.cpus_per_node == 1
    paths = StudyPaths(tmp_path)
    script = slurm_run_script(plan, spec, paths, SiteProfile())
    assert f"--site {paths.run(spec.run_id).site} " in script
    assert "srun" not in script  # or the workers' jobs would be submitted from inside a step


def test_the_site_file_that_a_sweep_writes_is_equal(tmp_path: Path) -> None:
    values: dict[str, Any] = {"modules": ["gcc"], "slurm": FULL}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(values))
    site = load_site(str(tmp_path / "site.yaml")).on(None, "other")
    written = tmp_path / "site.json"
    written.write_text(json.dumps(site.model_dump(mode="json", exclude_none=True)))
    assert load_site(str(written)) == site
