"""RunSpec -> command -> job script -> executor. Nothing here imports torch, Dask or submitit."""
