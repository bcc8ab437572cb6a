"""SiteProfile: where runs happen, as ``hpc/sites/*.yaml`` says it."""

import re
import sys
from typing import Annotated

from pydantic import AfterValidator, Field

from weather_hpc.study.shipped import shipped
from weather_hpc.study.yaml_file import Section, load


def _one_line(value: str) -> str:
    if re.search(r"[\r\n\0]", value):
        raise ValueError("must be one line")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
"""A string without line breaks: it becomes part of a job script."""

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


def load_site(name: str | None) -> SiteProfile:
    """The profile in the file ``name``, or the shipped one; the local default for None.

    Raises :class:`~weather_hpc.errors.UserError` where there is none or it is not valid.
    """
    return SiteProfile() if name is None else load(shipped("sites", name), SiteProfile)
