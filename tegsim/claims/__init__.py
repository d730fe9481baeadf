"""The paper's claims, measured: a module each, under one record, one cache and one page (`python -m tegsim.claims`).

A claim's thresholds stand in its module, with the reason, and were written before it was first run.
"""
