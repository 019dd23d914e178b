"""Reads and writes files and folders of any content.

Files of weights are read by :mod:`mmbeitv2.checkpoints.tensors`.
"""

from mmbeitv2.fileio.atomic import PARTIAL, AtomicBackend, write_atomically

__all__ = ['PARTIAL', 'AtomicBackend', 'write_atomically']
