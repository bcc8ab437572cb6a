"""``python -m weather_hpc.check.train_rank``: one rank of the train verb, with check's networks.

``WEATHER_HPC_CHECK_BACKEND`` lets several ranks compute on one GPU, which NCCL refuses: ``gloo``
exchanges GPU tensors by gloo; ``staged`` copies them to the host and back, also for send and
receive, where gloo accepts no GPU tensors. Each rank then counts as a node of its own.
``WEATHER_HPC_CHECK_MEMORY_MB`` limits the GPU memory of the process, MB (1e6 bytes).
"""

import os
import sys

BACKEND = "WEATHER_HPC_CHECK_BACKEND"
MEMORY_MB = "WEATHER_HPC_CHECK_MEMORY_MB"
GLOO, STAGED = "gloo", "staged"


def main() -> None:
    """Run the train verb with the options of the command line."""
    backend = os.environ.get(BACKEND)
    if backend:
        os.environ["LOCAL_RANK"], os.environ["LOCAL_WORLD_SIZE"] = "0", "1"
    from weather_hpc import cli
    from weather_hpc.check.workload import register_networks
    from weather_hpc.train.__main__ import main as train

    register_networks()
    if backend:
        _share_a_gpu(backend)
    if memory_mb := os.environ.get(MEMORY_MB):
        import torch

        total = torch.cuda.mem_get_info()[1]
        torch.cuda.set_per_process_memory_fraction(int(memory_mb) * 1e6 / total)
    cli.run("train", train, sys.argv[1:])


def _share_a_gpu(backend: str) -> None:
    """Make process groups for GPUs use ``backend`` instead of NCCL.

    By replacing torch's function: the train verb itself only knows NCCL.
    """
    import torch.distributed as dist

    if backend == STAGED:
        from weather_hpc.check.staged import register as register_staged

        register_staged(STAGED)
    name = {GLOO: "cpu:gloo,cuda:gloo", STAGED: STAGED}[backend]
    make = dist.init_process_group

    def init_process_group(requested: str, **options: object) -> None:
        make(name if "nccl" in requested else requested, **options)  # type: ignore[arg-type]

    dist.init_process_group = init_process_group  # type: ignore[assignment]


if __name__ == "__main__":
    main()
