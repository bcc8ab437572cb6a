"""The scheduler's word on a run, as the launcher left it in ``slurm.json``."""

import dataclasses
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from weather_hpc.errors import UserError
from weather_hpc.runs.inputs import read_json
from weather_hpc.runs.plausible import LARGEST
from weather_hpc.runs.row import Row
from weather_hpc.text import clean

SECONDS_PER_HOUR = 3600


class JobSummary(BaseModel):
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

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object) -> object:
        """``true`` would else be read as 1."""
        if isinstance(value, bool):
            raise ValueError("is true or false, not a figure")
        return value


def read_job(path: Path) -> JobSummary | None:
    """The job in ``path``; None where there is no such file or nothing to be read in it.

    Accounting is an addition to what a run measured: without it its columns are empty.
    """
    if not path.exists():
        return None
    try:
        return JobSummary.model_validate(read_json(path))
    except (UserError, ValidationError):
        return None


def with_job(row: Row, job: JobSummary) -> Row:
    """``row`` with what the scheduler knows better than the run itself."""
    known = dataclasses.replace(
        row,
        slurm_job_id=clean(job.job_id),
        slurm_state=clean(job.state),
        slurm_source=clean(job.source),
        slurm_node_list=None if job.node_list is None else clean(job.node_list),
        slurm_elapsed_s=job.elapsed_s,
        slurm_max_rss_mb=job.max_rss_mb,
        nodes=job.nodes or row.nodes,
        queue_s=row.queue_s if job.queue_s is None else job.queue_s,
        restarts=max((n for n in (job.restarts, row.restarts) if n is not None), default=None),
    )
    return with_node_hours(known)


def with_node_hours(row: Row) -> Row:
    """``row`` with its node-hours: of its job where the scheduler told it, else of its process."""
    seconds = row.total_s if row.slurm_elapsed_s is None else row.slurm_elapsed_s
    if row.nodes is None or seconds is None or row.nodes > LARGEST:
        return row
    return dataclasses.replace(row, node_hours=row.nodes * seconds / SECONDS_PER_HOUR)
