"""Checks that run before the first training step.

The values of a config are checked before anything is built or written. Then everything that a run needs is built, which
mmengine would only do later, and the data is checked. An error is reported in one sentence that names the key or file
and says what to do.
"""

from mmbeitv2_tools.preflight.run import checked_runner, show_plan

__all__ = ['checked_runner', 'show_plan']
