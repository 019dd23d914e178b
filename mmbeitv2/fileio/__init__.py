"""Reading and writing files and folders, whatever is in them.

Files of weights are read by :mod:`mmbeitv2.fileio.tensors`.
"""

from .atomic import PARTIAL, AtomicBackend, write_atomically

__all__ = ['PARTIAL', 'AtomicBackend', 'write_atomically']
