"""What mmsegmentation's models are built from; mmseg itself is imported when one of them is built."""

from .batch_norm_neck import BatchNormNeck
from .eomt_head import EoMTHead
from .eomt_vit import EoMTTimmViT, EoMTViT
from .preprocessor import ChannelsSegDataPreprocessor
from .seg_folder import SegFolder, read_class_names
from .seg_labels import LabelTable, LoadSegLabels, read_label_table
from .uper_head import EfficientUPerHead

__all__ = [
    'BatchNormNeck',
    'ChannelsSegDataPreprocessor',
    'EfficientUPerHead',
    'EoMTHead',
    'EoMTTimmViT',
    'EoMTViT',
    'LabelTable',
    'LoadSegLabels',
    'SegFolder',
    'read_class_names',
    'read_label_table',
]
