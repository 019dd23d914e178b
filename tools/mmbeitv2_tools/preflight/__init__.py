"""Checks that run before the first training step: what a user gives (data, labels, checkpoints, disk) in seconds.

Everything that a run needs is built, which mmengine would only do later. ``--check`` also passes one batch of each
loader through the model, reads every label, and prints what would run.
"""

from mmbeitv2_tools.preflight.run import checked_runner, describe_run

__all__ = ['checked_runner', 'describe_run']
