"""For Python: the results of a study as data frames, figures and sentences.

:func:`load` is ``weather_hpc.load``. It reads run folders or logs as the verb ``collect`` does, but
writes no tables. Needs pandas.
"""

from importlib.util import find_spec

if find_spec("pandas") is None:
    raise ImportError("weather_hpc.load needs pandas: pip install pandas", name="pandas")

from weather_hpc.api.figures import Figures, ReportFigure
from weather_hpc.api.frames import TableFrame
from weather_hpc.api.results import Results, load

__all__ = ["Figures", "ReportFigure", "Results", "TableFrame", "load"]
