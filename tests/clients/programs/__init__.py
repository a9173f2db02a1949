"""Programs that people run, each against both brokers: what they print is compared. Run by compare.py."""

from . import go, java_groups, java_records, java_rest, java_topics, kcat, python  # noqa: F401  (they add their checks)
from .session import CHECKS  # noqa: F401
