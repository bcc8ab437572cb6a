"""weather_hpc: parallel-scaling studies of weather-image classification on SLURM clusters.

The pipeline, in order: :mod:`~weather_hpc.study` plans runs, :mod:`~weather_hpc.launch` starts
them, :mod:`~weather_hpc.preprocess` and :mod:`~weather_hpc.train` are what a run does,
:mod:`~weather_hpc.collect` reads back what they recorded, :mod:`~weather_hpc.analysis` compares
it and :mod:`~weather_hpc.report` shows it. :mod:`~weather_hpc.sweep` does all of that.
"""

__version__ = "0.1.0"
