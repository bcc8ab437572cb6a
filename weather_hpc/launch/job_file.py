"""Rendering one job file: an sbatch script that stands alone, for people to submit by hand."""

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from weather_hpc.launch.command import check_command, stage_command
from weather_hpc.launch.sbatch import COLLECT
from weather_hpc.launch.script import command_lines, meeting, prelude, srun, supervised
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import Shape, Shell, directives, quote, shape_of
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import (
    Backend,
    BatchMode,
    Device,
    PreprocessTask,
    RunSpec,
    Stage,
    Strategy,
    TrainTask,
)

VARIABLES = {
    "--data": "$data",
    "--store": "$store",
    "--run-dir": "$run",
    "--batch-size": "$batch_size",
    "--epochs": "$epochs",
}
"""Options whose value is the shell's to fill in."""

COMMENTS = {
    "nodes": "One task on each node: it starts the processes that the run has there.",
    "time": "Minutes.",
    "output": "In the folder where sbatch is called: what this script itself says.",
    "signal": "So many seconds before the time limit this script is told to stop.",
    "gres": "GPUs of each node.",
    "gpus-per-node": "GPUs of each node.",
    "requeue": "After a preemption or a node's failure Slurm may start it again.",
}
"""Said above a directive, by its name."""

TRAIN_COMMENTS = COMMENTS | {
    "time": "Minutes. A training that needs more stops at a checkpoint, comes back and goes on.",
    "requeue": "It may come back: after its own warning, a preemption, a node's failure.",
}


def job_file(
    name: str, specs: Sequence[RunSpec], plan: Plan, study: StudyConfig, site: SiteProfile
) -> str:
    """The script that makes one run of ``specs``, which differ in nothing but batch size."""
    spec = specs[0]
    task = spec.task
    python = Shell('"$python"')
    argv = stage_command(plan, spec, StudyPaths(Path("results")), python, site.slurm.without_cuda)
    argv = [
        Shell(f'"{VARIABLES[option]}"') if option in VARIABLES else word
        for option, word in zip(["", *argv], argv, strict=False)
    ]
    values: dict[str, Any] = {}
    if isinstance(task, TrainTask):
        sizes = [s.task.batch_size for s in specs if isinstance(s.task, TrainTask)]
        more = ", ".join(map(str, sizes[1:]))
        values = {
            "kind": "train",
            "batch_sizes": sizes,
            "other_batch_sizes": f"; the study also has {more}" if more else "",
            "batch_means": "images per step"
            + (
                " and GPU"
                if task.batch_mode is BatchMode.PER_DEVICE and task.world_size > 1
                else ""
            ),
            "epochs": task.epochs,
            "image_size": task.image_size,
        }
    elif task.backend is Backend.DASK_JOBQUEUE:
        argv.append(Shell('${WEATHER_HPC_SITE:+--site "$WEATHER_HPC_SITE"}'))
        values = {"kind": "jobqueue"}
    else:
        values = {"kind": "preprocess"}
    return _render(
        name,
        shape_of(spec, site.slurm),
        site,
        about=about(spec),
        prelude=prelude(spec, site),
        asks_interface=spec.resources.nodes > 1 and site.slurm.interface is None,
        synthetic=study.synthetic,
        spec=_as_written(spec),
        supervised=supervised(spec, argv, site.slurm).rstrip("\n"),
        **values,
    )


def collect_file(name: str, site: SiteProfile) -> str:
    """The script that turns what the others left into tables, plots and the report."""
    return _render(
        name,
        Shape(Stage.PREPARE, COLLECT, site.slurm.partition_for(0)),
        site,
        kind="collect",
        about="tables, plots and a report of all runs that the other scripts have made",
        prelude=[*(f"module load {quote(module)}" for module in site.modules), *site.setup],
        asks_interface=False,
    )


def check_file(name: str, spec: RunSpec, site: SiteProfile) -> str:
    """The script that checks nodes which have what ``spec``, a run to be made there, asks for."""
    asked = spec.resources
    gpus = f" with {asked.gpus_per_node} GPUs" if asked.gpus_per_node else ""
    which = (
        f"{asked.nodes} nodes{gpus} each compute" if asked.nodes > 1 else f"a node{gpus} computes"
    )
    python, out = Shell('"$python"'), Shell('"$out"')
    step = [srun(spec, site.slurm), check_command(asked, python, out)]
    return _render(
        name,
        Shape(Stage.PREPARE, asked, site.slurm.partition_for(asked.gpus_per_node)),
        site,
        kind="check",
        about=f"check whether {which} rightly, and how fast",
        prelude=prelude(spec, site),
        asks_interface=asked.nodes > 1 and site.slurm.interface is None,
        meeting="\n".join(meeting(spec)),
        command=" \\\n    ".join(map(command_lines, step)),
    )


def about(spec: RunSpec) -> str:
    """What a run does, in words."""
    task, nodes = spec.task, spec.resources.nodes
    if isinstance(task, PreprocessTask):
        how = {
            Backend.SEQUENTIAL: "one process, the baseline",
            Backend.MULTIPROCESSING: f"{task.workers} processes",
            Backend.DASK: f"Dask, {task.workers} workers on one node",
            Backend.DASK_NAIVE: f"Dask without care, {task.workers} workers on one node",
            Backend.DASK_JOBQUEUE: f"Dask, {task.workers} workers that are jobs of their own",
        }[task.backend]
        return f"time the packing of images into a store by {how}"
    if task.strategy is Strategy.SINGLE:
        where = (
            f"one process with {task.threads_per_rank} CPU threads"
            if task.device is Device.CPU
            else "one GPU, the baseline of all that have more"
        )
        return f"train on {where}"
    if task.strategy is Strategy.DP:
        return f"train with DataParallel: one process splits each batch over {task.world_size} GPUs"
    if task.strategy is Strategy.MODEL:
        return f"train with the network cut into {task.world_size} stages, one for each GPU"
    ranks = f"{task.world_size} rank" + ("s" if task.world_size > 1 else "")
    over = f"over {nodes} nodes" if nodes > 1 else "on one node"
    return f"train with DistributedDataParallel: {ranks} {over}, one for each GPU"


def _as_written(spec: RunSpec) -> str:
    """The spec as JSON in a here-document, in which the shell fills in its variables.

    The job's number serves as the number of the repeat: no two runs of the folder share it.
    """
    value = spec.model_dump(mode="json") | {"data": VARIABLES["--data"]}
    numbers = {"repeat": "$SLURM_JOB_ID"}
    if isinstance(spec.task, TrainTask):
        numbers |= {name: f"${name}" for name in ("batch_size", "epochs")}
    value["repeat"] = numbers["repeat"]
    value["task"] |= {k: v for k, v in numbers.items() if k in value["task"]}
    head = {k: v for k, v in value.items() if k not in ("task", "resources")}
    text = ",\n ".join(
        [
            json.dumps(head)[:-1],
            f'"task": {json.dumps(value["task"])}',
            f'"resources": {json.dumps(value["resources"])}}}',
        ]
    )
    for variable in numbers.values():
        text = text.replace(f'"{variable}"', variable)
    return text


def _directives(name: str, shape: Shape, site: SiteProfile) -> Iterator[tuple[str | None, str]]:
    """Each directive with what is said above it."""
    comments = TRAIN_COMMENTS if shape.stage is Stage.TRAIN else COMMENTS
    for option in directives(shape, name, "%x-%j.log", site.slurm):
        yield comments.get(option.removeprefix("--").partition("=")[0]), quote(option)


def _render(name: str, shape: Shape, site: SiteProfile, **values: Any) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(  # a shell script is no markup to be escaped
        autoescape=False,  # noqa: S701
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    template = files("weather_hpc.launch") / "templates" / "job.sbatch.j2"
    python = quote(site.python) if "python" in site.model_fields_set else None
    return environment.from_string(template.read_text("utf-8")).render(
        name=name, directives=list(_directives(name, shape, site)), python=python, **values
    )
