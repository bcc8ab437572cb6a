"""Rendering one file of jobs/: a self-contained sbatch script, to be submitted by hand."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from weather_hpc.launch.command import check_command, stage_command
from weather_hpc.launch.sbatch import COLLECT
from weather_hpc.launch.script import (
    command_lines,
    module_lines,
    rendezvous_lines,
    setup_lines,
    srun,
    supervised,
)
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import (
    Shape,
    Shell,
    directive_lines,
    quote,
    sbatch_options,
    shape_of,
)
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import (
    Backend,
    BatchMode,
    Device,
    EdaTask,
    PreprocessTask,
    Strategy,
    TrainTask,
)
from weather_hpc.text import counted

VARIABLES = {
    "--data": "$data",
    "--store": "$store",
    "--run-dir": "$run",
    "--batch-size": "$batch_size",
    "--epochs": "$epochs",
}
"""Options whose values are shell variables."""

COMMENTS = {
    "nodes": "One task on each node: it starts the run's processes there.",
    "time": "Minutes.",
    "output": "This script's own messages, in the folder where sbatch is called.",
    "signal": "The script is signalled this many seconds before the time limit.",
    "gres": "GPUs of each node.",
    "gpus-per-node": "GPUs of each node.",
    "requeue": "Slurm may start the job again after a preemption or a node failure.",
}
"""The comment above an option's directive."""

TRAIN_COMMENTS = COMMENTS | {
    "time": "Minutes. Longer training stops at a checkpoint, is requeued and resumes there.",
    "requeue": "The job may run again after the warning, a preemption or a node failure.",
}


def job_file(
    name: str, specs: Sequence[RunSpec], plan: Plan, study: StudyConfig, site: SiteProfile
) -> str:
    """The script that runs one of ``specs``, which differ in batch size only."""
    spec = specs[0]
    task = spec.task
    python = Shell('"$python"')
    argv = stage_command(plan, spec, StudyPaths(Path("results")), python, site.slurm.without_cuda)
    argv = [
        Shell(f'"{VARIABLES[flag]}"') if flag in VARIABLES else argument
        for flag, argument in zip(["", *argv], argv, strict=False)
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
    elif spec.submits_workers:
        argv.append(Shell('${WEATHER_HPC_SITE:+--site "$WEATHER_HPC_SITE"}'))
        values = {"kind": "jobqueue"}
    elif isinstance(task, EdaTask):
        values = {"kind": "eda", "image_size": task.image_size}
    else:
        values = {"kind": "preprocess"}
    return _render(
        name,
        shape_of(spec, site.slurm),
        site,
        about=about(spec),
        setup=setup_lines(spec, site),
        interface_variable=spec.resources.nodes > 1 and site.slurm.interface is None,
        synthetic=study.synthetic,
        spec=_spec_template(spec),
        supervised=supervised(spec, argv, site.slurm).rstrip("\n"),
        **values,
    )


RESULTS_KINDS = {
    "collect": "write tables, plots and the report of all runs",
    "predict": "classify new images with the most accurate network of all runs",
}
"""What scripts do that work on the results of all runs."""


def results_file(name: str, site: SiteProfile) -> str:
    """The script of one of :data:`RESULTS_KINDS`."""
    return _render(
        name,
        Shape(Stage.PREPARE, COLLECT, site.slurm.partition_for(0)),
        site,
        kind=name,
        about=RESULTS_KINDS[name],
        setup=module_lines(site),
        interface_variable=False,
    )


def check_file(name: str, spec: RunSpec, site: SiteProfile) -> str:
    """The script that checks nodes with the resources of ``spec``, a run of the study."""
    resources = spec.resources
    gpus = f" with {counted(resources.gpus_per_node, 'GPU')}" if resources.gpus_per_node else ""
    each = " each" if resources.nodes > 1 else ""
    python, out = Shell('"$python"'), Shell('"$out"')
    step = [srun(spec, site.slurm), check_command(resources, python, out)]
    return _render(
        name,
        Shape(Stage.PREPARE, resources, site.slurm.partition_for(resources.gpus_per_node)),
        site,
        kind="check",
        about=f"check results and speed of {counted(resources.nodes, 'node')}{gpus}{each}",
        setup=setup_lines(spec, site),
        interface_variable=resources.nodes > 1 and site.slurm.interface is None,
        rendezvous="\n".join(rendezvous_lines(spec, python, out)),
        command=" \\\n    ".join(map(command_lines, step)),
    )


def about(spec: RunSpec) -> str:
    """What a run does, as the first line of its script says it."""
    task, nodes = spec.task, spec.resources.nodes
    if isinstance(task, PreprocessTask | EdaTask):
        workers = counted(task.workers, "worker")
        if spec.resources.cpus_per_worker is not None:
            workers += f" on {counted(spec.resources.cpus_per_node, 'CPU')}"
        method = {
            Backend.SEQUENTIAL: "one process, the baseline",
            Backend.MULTIPROCESSING: f"multiprocessing, {workers}",
            Backend.DASK: f"Dask, {workers} on one node",
            Backend.DASK_NAIVE: f"naive Dask, {workers} on one node",
            Backend.DASK_JOBQUEUE: f"Dask, {workers} with a job each",
        }[task.backend]
        packing = isinstance(task, PreprocessTask)
        work = "packing of images into a store" if packing else "exploration of a packed store"
        return f"time the {work}: {method}"
    if not isinstance(task, TrainTask):
        raise ValueError(f"there are no job files of stage {spec.stage}")
    if task.strategy is Strategy.SINGLE:
        device = (
            f"one process with {task.threads_per_rank} CPU threads"
            if task.device is Device.CPU
            else "one GPU, the baseline of runs on several"
        )
        return f"train on {device}"
    if task.strategy is Strategy.DP:
        return f"train with DataParallel: one process splits each batch over {task.world_size} GPUs"
    if task.strategy is Strategy.MODEL:
        cores = f"of {counted(task.threads_per_rank, 'CPU thread')} each"
        how = cores if task.device is Device.CPU else "one for each GPU"
        return f"train with the network cut into {task.world_size} stages, {how}"
    ranks, over = counted(task.world_size, "rank"), f"on {counted(nodes, 'node')}"
    return f"train with DistributedDataParallel: {ranks} {over}, one for each GPU"


def _spec_template(spec: RunSpec) -> str:
    """The spec as JSON for a here-document, with the shell's variables in it.

    The job id is the number of the repeat: it is unique among the runs of the folder.
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


def _directives(name: str, shape: Shape, site: SiteProfile) -> list[str]:
    """The directives, each below its comment where it has one."""
    comments = TRAIN_COMMENTS if shape.stage is Stage.TRAIN else COMMENTS
    options = sbatch_options(shape, name, "%x-%j.log", site.slurm)
    lines: list[str] = []
    for option, line in zip(options, directive_lines(options), strict=True):
        lines += [f"# {comments[option.name]}", line] if option.name in comments else [line]
    return lines


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
        name=name, directives=_directives(name, shape, site), python=python, **values
    )
