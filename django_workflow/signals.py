"""Signals of runs that ended, sent after the commit that ended them, at most once.

A receiver gets `run`, the `Run` that ended, and as `sender` its flow as this process has it: the `Flow`, or None where
the flow is stored as data. A process that is killed between the commit and the signal loses the signal: whatever must
happen for each run that ends follows the events.
"""

from __future__ import annotations

from django.dispatch import Signal

#: A run ended failed or timed out.
run_failed = Signal()
#: A run ended, whatever it came to.
run_ended = Signal()
