"""SiteProfile: where runs happen, as ``hpc/sites/*.yaml`` says it."""

import sys
from typing import Annotated

from pydantic import Field

from weather_hpc.study.shipped import shipped
from weather_hpc.study.slurm_site import Line, SlurmSite
from weather_hpc.study.yaml_file import Section, load

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class SiteProfile(Section):
    """One machine or cluster."""

    name: Line = Field("local", description="the site's name")
    about: str = Field("", description="what it is, in a sentence")
    python: Line = Field(default=sys.executable, description="the interpreter that runs stages")
    modules: list[Line] = Field(default=[], description="environment modules to load")
    setup: list[Line] = Field(
        default=[], description="shell lines run first in every job, such as source activate"
    )
    environment: dict[Name, Line] = Field(
        default={},
        description="variables set for every run, baselines included, over the package's own",
    )
    oversubscribe: bool = Field(
        False, description="local executor: run what asks for more CPUs than there are"
    )
    slurm: SlurmSite = Field(
        SlurmSite(), description="how jobs are asked for, where there is Slurm"
    )

    def on(self, partition: str | None, cpu_partition: str | None) -> "SiteProfile":
        """This site with runs sent to ``partition``, those without GPUs to ``cpu_partition``.

        None leaves what the profile says; ``partition`` alone is for all runs.
        """
        chosen = {}
        if partition is not None:
            chosen = {"gpu_partition": partition, "cpu_partition": partition}
        if cpu_partition is not None:
            chosen["cpu_partition"] = cpu_partition
        return self.model_copy(update={"slurm": self.slurm.model_copy(update=chosen)})


def load_site(name: str | None) -> SiteProfile:
    """The profile in the file ``name``, or the shipped one; the local default for None.

    Raises :class:`~weather_hpc.errors.UserError` where there is none or it is not valid.
    """
    return SiteProfile() if name is None else load(shipped("sites", name), SiteProfile)
