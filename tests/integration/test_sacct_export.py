"""What a real sacct exports is read as it is, whatever its columns."""

from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from weather_hpc.collect.sacct_file import is_sacct, read_sacct
from weather_hpc.errors import UserError

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]


def test_an_export_of_an_array(slurm: Slurm, tmp_path: Path) -> None:
    sbatch = ["sbatch", "--parsable", "--wait", "--nodes=1", "--output=/dev/null"]
    task = "srun -N1 -n1 -c1 python3 -c 'import time; x = bytearray(60_000_000); time.sleep(2)'"
    array = slurm.run([*sbatch, "--array=0-1", f"--wrap={task}"]).stdout.strip()

    export = tmp_path / "accounting.txt"
    columns = "JobID,JobIDRaw,State,Eligible,Start,Elapsed,NNodes,NodeList,MaxRSS"
    sacct = ["sacct", "--duplicates", f"--jobs={array}"]
    export.write_text(slurm.run([*sacct, "--parsable2", f"--format={columns}"]).stdout)
    assert is_sacct(export)
    jobs = read_sacct(export, {f"{array}_0", array})
    # the array's own number is the raw id of its last task
    assert jobs[array].job_id == f"{array}_1"
    for job in (jobs[f"{array}_0"], jobs[array]):
        assert (job.state, job.nodes) == ("COMPLETED", 1)
        assert 2 <= (job.elapsed_s or 0) < 60
        assert 60 < (job.max_rss_mb or 0) < 600

    # columns of fixed width are read where they are wide enough
    export.write_text(slurm.run(sacct).stdout)
    assert read_sacct(export)[f"{array}_0"].state == "COMPLETED"
    export.write_text(slurm.run([*sacct, "--format=JobID%20,State%5"]).stdout)
    with pytest.raises(UserError, match=r"columns are cut to a width, such as 'COMP\+'"):
        read_sacct(export)
    export.write_text(slurm.run([*sacct, "--parsable2", "--delimiter=;"]).stdout)
    assert read_sacct(export)[f"{array}_0"].state == "COMPLETED"
