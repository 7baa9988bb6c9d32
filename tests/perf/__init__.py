"""Benchmarks: ours beside six peers, in interleaved rounds on one PostgreSQL server.

`contenders` says who is measured, `peers/` is what runs in each one's own environment, `stage` plays
a round, `measures` compares the rounds, `benches/` says what is measured and what must be reached.
"""
