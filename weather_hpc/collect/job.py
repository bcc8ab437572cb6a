"""The scheduler's word on a run, as the launcher left it in ``slurm.json``."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weather_hpc.collect.inputs import read_json
from weather_hpc.errors import UserError


class Job(BaseModel):
    """What a reader of tables may want of a job; the file holds more."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    job_id: str
    state: str
    source: str
    queue_s: float | None = Field(None, ge=0)
    elapsed_s: float | None = Field(None, ge=0)
    nodes: int | None = Field(None, ge=1)
    node_list: str | None = None
    max_rss_mb: float | None = Field(None, ge=0)
    restarts: int | None = Field(None, ge=0)


def read_job(path: Path) -> Job | None:
    """The job in ``path``; None where there is no such file or nothing to be read in it.

    Accounting is an addition to what a run measured: without it its columns are empty.
    """
    if not path.exists():
        return None
    try:
        return Job.model_validate(read_json(path))
    except (UserError, ValidationError):
        return None
