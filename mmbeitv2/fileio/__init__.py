"""Reading and writing files and folders, whatever is in them."""

from .atomic import AtomicBackend

__all__ = ['AtomicBackend']
