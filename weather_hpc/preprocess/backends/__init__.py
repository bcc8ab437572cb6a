"""How the chunks are spread over workers: this process, processes of this machine, Slurm jobs."""
