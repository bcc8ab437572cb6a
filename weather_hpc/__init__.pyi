from weather_hpc.api import Results as Results
from weather_hpc.api import load as load

__version__: str
