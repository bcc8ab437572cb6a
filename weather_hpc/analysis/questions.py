"""What the questions of the advice are called in words."""

_WORDS = {
    "fastest": ("fastest", "among the fastest"),
    "fastest_without_loss": ("fastest without a loss of accuracy", "no loss of accuracy shown"),
    "cheapest": ("cheapest", "among the cheapest"),
}

USUAL = tuple(_WORDS)
"""The questions that are asked of every study."""

LIMITS = ("deadline", "budget")
"""How the questions begin that options ask."""


def question_words(question: str, doubt: str | None) -> str:
    """``question`` in words; no superlative where ``doubt`` says that others may be as good."""
    return _WORDS.get(question, (question,) * 2)[bool(doubt)]
