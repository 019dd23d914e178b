"""What can be known before the first step is checked before it.

The values of a config are checked before anything is built or written. Then all that a run needs is built, which
mmengine would build later, and the data is looked at. Whatever is wrong is told in one sentence that names the key or
file and what to do.
"""

from .run import checked_runner, show_plan

__all__ = ['checked_runner', 'show_plan']
