"""What a person imports."""

from .config import read_config
from .visual_tokenizer import VisualTokenizer

__all__ = ['VisualTokenizer', 'read_config']
