"""The ``slurm:`` section of a site profile, and the profiles that come with the package."""

from pathlib import Path

import pytest

from weather_hpc.errors import UserError
from weather_hpc.study.site import SiteProfile, load_site
from weather_hpc.study.yaml_file import folder


def site(**slurm: object) -> SiteProfile:
    return SiteProfile.model_validate({"slurm": slurm})


@pytest.mark.parametrize("path", sorted(folder("sites").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_site_is_valid_and_says_what_it_is(path: Path) -> None:
    profile = load_site(str(path))
    assert profile.name == path.stem
    assert profile.about


@pytest.mark.parametrize(
    ("slurm", "gpu", "cpu"),
    [
        ({}, None, None),
        ({"partition": "p"}, "p", "p"),
        ({"partition": "p", "gpu_partition": "g"}, "g", "p"),
        ({"gpu_partition": "g", "cpu_partition": "c"}, "g", "c"),
    ],
)
def test_a_run_goes_to_the_partition_of_its_kind(
    slurm: dict[str, str], gpu: str | None, cpu: str | None
) -> None:
    profile = site(**slurm).slurm
    assert (profile.partition_for(1), profile.partition_for(0)) == (gpu, cpu)


@pytest.mark.parametrize(
    ("partition", "cpu_partition", "expected"),
    [
        (None, None, ("g", "c")),
        ("x", None, ("x", "x")),
        ("x", "y", ("x", "y")),
        (None, "y", ("g", "y")),
    ],
)
def test_the_command_line_goes_before_the_profile(
    partition: str | None, cpu_partition: str | None, expected: tuple[str, str]
) -> None:
    slurm = site(gpu_partition="g", cpu_partition="c").on(partition, cpu_partition).slurm
    assert (slurm.partition_for(1), slurm.partition_for(0)) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("partiton: gpu", "site.yaml:3: slurm: unknown key 'partiton'; did you mean 'partition'?"),
        ("partition: two words", "site.yaml:3: slurm.partition: string should match pattern"),
        ("gpu_request: gpus", "slurm.gpu_request: 'gpus' is no choice"),
        ("extra_directives: [exclude=a]", "slurm.extra_directives[0]: must start with --"),
        ('extra_directives: ["--x\\n#SBATCH --y"]', "slurm.extra_directives[0]: must be one line"),
        ('srun_options: ["-l"]', "slurm.srun_options[0]: must start with --"),
        ("max_running: 0", "slurm.max_running: input should be greater"),
        ("{mem_per_cpu_mb: 1, memory_mb: 2}", "mem_per_cpu_mb and memory_mb exclude each other"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(f"name: here\nslurm:\n  {line}\n")
    with pytest.raises(UserError) as caught:
        load_site(str(path))
    assert message in str(caught.value)
