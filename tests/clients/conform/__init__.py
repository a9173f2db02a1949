"""Conversations that every Kafka broker answers alike. Held by compare.py with ours and with Apache Kafka."""

from . import alter, cluster, commits, configs, create, fetch, groups, grow, inspect, offsets, produce, producers, quotas  # noqa: F401  (they add their cases)
from .talk import CASES  # noqa: F401
