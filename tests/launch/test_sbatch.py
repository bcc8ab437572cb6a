"""sbatch scripts: the whole set of directives of each shape, quoting, chunks."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from weather_hpc.errors import UserError
from weather_hpc.launch.sbatch import array_script, chunks, collect_script
from weather_hpc.launch.script import slurm_run_script
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import by_shape, shape_of
from weather_hpc.study.config import StudyConfig, load_study
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile, load_site

PATHS = StudyPaths(Path("/results/s"))
LOG = "/results/s/jobs/logs/%A_%a.log"


def site(**slurm: object) -> SiteProfile:
    return SiteProfile.model_validate({"python": "py", "slurm": slurm})


def plan_of(**train: object) -> Plan:
    study = {"name": "s", "repeats": 2, "time_limit_min": 90, "train": [train]}
    return make_plan(StudyConfig.model_validate(study), "/images")


def directives(profile: SiteProfile, **train: object) -> set[str]:
    specs = plan_of(**train).runs
    text = array_script(shape_of(specs[0], profile.slurm), specs, "t1", PATHS, profile)
    options = re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)
    assert len(options) == len(set(options))
    return {shlex.split(value)[0] for value in options}


ALWAYS = {
    "--job-name=whpc-s-t1", "--ntasks-per-node=1", "--time=90", f"--output={LOG}",
    f"--error={LOG}", "--open-mode=append",
}  # fmt: skip


def test_minimal() -> None:
    assert directives(site(), strategy="single", device="cpu") == ALWAYS | {
        "--nodes=1", "--cpus-per-task=1", "--signal=B:USR1@120", "--requeue", "--array=0-1",
    }  # fmt: skip


def test_full() -> None:
    profile = site(
        gpu_partition="gpu", cpu_partition="cpu", account="a1", qos="high", constraint="a100&ib",
        reservation="r1", gpu_type="a100", mem_per_cpu_mb=2000, max_running=3, requeue=False,
        warning_s=60, extra_directives=["--exclude=node 7"],
    )  # fmt: skip
    train = {"strategy": "ddp", "device": "cuda", "world_size": 4, "threads_per_rank": 3}
    assert directives(profile, **train) == ALWAYS | {
        "--nodes=1", "--cpus-per-task=12", "--gres=gpu:a100:4", "--partition=gpu", "--account=a1",
        "--qos=high", "--constraint=a100&ib", "--reservation=r1", "--mem-per-cpu=2000M",
        "--signal=B:USR1@60", "--no-requeue", "--array=0-1%3", "--exclude=node 7",
    }  # fmt: skip


def test_whole_nodes() -> None:
    profile = site(exclusive=True, gpu_request="gpus-per-node", memory_mb=64000)
    train = {"strategy": "dp", "device": "cuda", "world_size": 2}
    assert directives(profile, **train) == ALWAYS | {
        "--nodes=1", "--cpus-per-task=4", "--gpus-per-node=2", "--exclusive", "--mem=64000M",
        "--signal=B:USR1@120", "--requeue", "--array=0-1",
    }  # fmt: skip


def test_several_nodes() -> None:
    train = {"strategy": "ddp", "device": "cuda", "world_size": 8, "nodes": 2}
    assert directives(site(), **train) == ALWAYS | {
        "--nodes=2", "--cpus-per-task=8", "--gres=gpu:4", "--signal=B:USR1@120", "--requeue",
        "--array=0-1",
    }  # fmt: skip


def test_the_warning_comes_after_half_of_a_short_job_at_the_earliest() -> None:
    plan = plan_of(strategy="single", device="cpu")
    spec = plan.runs[0]
    resources = spec.resources.model_copy(update={"time_limit_min": 1})
    short = spec.model_copy(update={"resources": resources})
    text = array_script(shape_of(short, site().slurm), [short], "t", PATHS, site())
    assert "--signal=B:USR1@30" in text


def test_every_task_of_an_array_finds_its_run(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "it's $HOME #1 & é")
    specs = plan_of(strategy="single", device="cpu").runs
    text = array_script(shape_of(specs[0], site().slurm), specs, "t", paths, site())
    paths.jobs.mkdir(parents=True)
    for spec in specs:
        paths.script(spec.run_id).write_text(f"echo {spec.run_id}\n")
    for index, spec in enumerate(specs):
        done = subprocess.run(
            ["bash", "-c", text], env={"SLURM_ARRAY_TASK_ID": str(index), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == f"{spec.run_id}\n"
    past = subprocess.run(
        ["bash", "-c", text], env={"SLURM_ARRAY_TASK_ID": "2", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert past.returncode == 1


def test_percent_signs_are_escaped_and_line_breaks_refused() -> None:
    specs = plan_of(strategy="single", device="cpu").runs
    shape = shape_of(specs[0], site().slurm)
    text = array_script(shape, specs, "t", StudyPaths(Path("/a/100% done")), site())
    assert "#SBATCH '--output=/a/100%% done/jobs/logs/%A_%a.log'" in text
    with pytest.raises(UserError, match="line break"):
        array_script(shape, specs, "t", StudyPaths(Path("/a\n#SBATCH --x")), site())


def test_runs_of_one_shape_share_an_array() -> None:
    plan = make_plan(load_study("quick"), "/images", prepare_workers=8)
    groups = by_shape(plan.all, site(gpu_partition="g", cpu_partition="c").slurm)
    assert sum(map(len, groups.values())) == len(plan.all)
    requests = [(s.stage, s.resources.cpus_per_node, s.resources.gpus_per_node, s.partition)
             for s in groups]  # fmt: skip
    assert requests == [
        ("prepare", 8, 0, "c"), ("preprocess", 1, 0, "c"), ("preprocess", 2, 0, "c"),
        ("train", 1, 0, "c"), ("train", 2, 0, "c"), ("train", 2, 1, "g"), ("train", 4, 2, "g"),
            ("train", 8, 4, "g"),
    ]  # fmt: skip


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (4, [4]), (5, [4, 1]), (8, [4, 4])])
def test_arrays_are_no_larger_than_the_cluster_allows(count: int, sizes: list[int]) -> None:
    specs = list(plan_of(strategy="single", device="cpu").runs[:1]) * count
    assert [len(chunk) for chunk in chunks(specs, 4)] == sizes


def run_script(profile: SiteProfile, **train: object) -> str:
    plan = plan_of(**train)
    return slurm_run_script(plan, plan.runs[0], PATHS, profile)


def srun_arguments(text: str) -> list[str]:
    """The argument list of the script's srun command."""
    lines = text[text.index("\nsrun ") :].split("&\n")[0]
    return shlex.split(lines.replace("\\\n", " "))


def test_srun_repeats_what_it_does_not_inherit() -> None:
    profile = site(gpu_type="a100", cpu_bind="cores", srun_options=["--mpi=none"])
    text = run_script(profile, strategy="ddp", device="cuda", world_size=2, threads_per_rank=3)
    argv = srun_arguments(text)
    assert argv[: argv.index("py")] == [
        "srun", "--nodes=1", "--ntasks=1", "--ntasks-per-node=1", "--cpus-per-task=6",
        "--gres=gpu:a100:2", "--cpu-bind=cores", "--mpi=none",
    ]  # fmt: skip
    assert "weather_hpc.train.torchrun" in argv
    assert "WEATHER_HPC_RENDEZVOUS" not in text
    assert "export GLOO_SOCKET_IFNAME=lo" in text


def test_ranks_of_several_nodes_meet_at_the_first() -> None:
    text = run_script(site(interface="ib0"), strategy="ddp", device="cuda", world_size=4, nodes=2)
    argv = srun_arguments(text)
    assert {"--nnodes=2", "--nproc-per-node=2", "weather_hpc.train.torchrun"} <= set(argv)
    assert "export NCCL_SOCKET_IFNAME=ib0" in text
    assert 'RENDEZVOUS=$(py -m weather_hpc.train.rendezvous "$run" "$last")\n' in text
    assert "MASTER_PORT" not in text


def test_gpu_runs_use_the_cpu_only_where_the_site_says_so() -> None:
    assert "--without-cuda" not in run_script(site(), strategy="single", device="cuda")
    testbed = site(without_cuda="cpu")
    argv = srun_arguments(run_script(testbed, strategy="single", device="cuda"))
    assert argv[argv.index("--without-cuda") + 1] == "cpu"
    assert "--without-cuda" not in run_script(testbed, strategy="single", device="cpu")


def test_only_the_testbed_site_falls_back_to_the_cpu() -> None:
    sites = Path(__file__).resolve().parents[2] / "hpc" / "sites"
    fallback = {p.stem: load_site(str(p)).slurm.without_cuda for p in sites.glob("*.yaml")}
    assert [name for name, way in fallback.items() if way == "cpu"] == ["testbed"]


@pytest.mark.parametrize("name", ["paper", "quick", "weak"])
def test_every_script_is_valid_shell(name: str) -> None:
    plan = make_plan(load_study(name), "/images")
    scripts = [slurm_run_script(plan, s, PATHS, site()) for s in plan.all if s.repeat == 0]
    scripts += [
        array_script(shape, specs, "t", PATHS, site())
        for shape, specs in by_shape(plan.all, site().slurm).items()
    ]
    for text in [*scripts, collect_script("s", "t", PATHS, site())]:
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)


@pytest.mark.parametrize(
    ("given", "in_ledger", "goes_on"),
    [("t1", True, True), ("t2", True, False), ("t1", False, False), (None, True, False)],
    ids=["its own", "run given to a later job", "withdrawn", "run not submitted"],
)
def test_a_job_makes_its_run_only_while_its_submission_is_valid(
    tmp_path: Path, given: str | None, in_ledger: bool, goes_on: bool
) -> None:
    plan = plan_of(strategy="single", device="cpu")
    paths = StudyPaths(tmp_path / "it's odd")
    spec = plan.runs[0]
    run = paths.run(spec.run_id)
    run.root.mkdir(parents=True)
    paths.submissions.mkdir()
    if given is not None:
        run.submission.write_text(f"{given}\n")
    if in_ledger:
        (paths.submissions / "t1.json").write_text("{}")
    before = set(run.root.iterdir())
    (tmp_path / "srun").write_text("#!/bin/sh\necho started\n")
    (tmp_path / "srun").chmod(0o755)
    script = slurm_run_script(plan, spec, paths, site())
    done = subprocess.run(
        ["bash", "-c", script, "job", "t1"], capture_output=True, text=True, check=False,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "12"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run.stdout.exists() is goes_on
    assert ("submission t1 is no longer valid" in done.stderr) is not goes_on
    assert goes_on or set(run.root.iterdir()) == before
    assert (paths.submissions / "t1.job").read_text() == "12\n"
