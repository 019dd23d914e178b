"""What a folder for Hugging Face transformers holds beside the weights: the network, its classes, and how images are
prepared."""

from __future__ import annotations

import ast
import math
from contextlib import suppress
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from PIL import Image

from mmbeitv2.checkpoints.formats import SHARED_TABLE, TABLE, StateDict, from_ours, with_identity_block
from mmbeitv2.checkpoints.reading import Checkpoint
from mmbeitv2.checkpoints.zoo import describe_model, is_published
from mmbeitv2.errors import InputError
from mmbeitv2.layers.positions import NUM_CLS_DISTANCES
from mmbeitv2.segmentation.seg_labels import reduces_zero_label

_IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
# Blocks that UperNet reads, for files that do not tell them, by the number of blocks (paper, appendix G).
_OUT_INDICES = {12: (3, 5, 7, 11), 24: (7, 11, 15, 23)}
_RESCALES = [4, 2, 1, 0.5]


def hf_files(file: Checkpoint) -> dict[str, dict]:
    """``config.json``, and for RGB images ``preprocessor_config.json``, by which ``transformers.pipeline`` runs.

    The classes are those of the data set that the checkpoint names. Normalization, size and crop are those of the test
    images, by the config that a checkpoint of this package holds or that belongs to a published model; without one,
    images are normalized as for ImageNet and cropped to the model's size.

    Raises:
        InputError: if the model does not have a square patch grid.
    """
    config = hf_config(file.ours, file.grid_of(''))
    settings = _settings_of(file)
    if _is_segmentor(file.ours):
        config |= _upernet_config(file.ours, settings)
    about = file.meta.get('dataset_meta')
    classes = about.get('classes') if isinstance(about, dict) else None
    if classes is None:
        classes = getattr(_class_of_test_set(settings), 'METAINFO', {}).get('classes')
    if classes is not None and config.get('num_labels') == len(classes):
        del config['num_labels']
        names = dict(enumerate(map(str, classes)))
        config |= dict(id2label=names, label2id={name: number for number, name in names.items()})
    files = {'config.json': config}
    if config['num_channels'] == 3:
        preprocessor = hf_preprocessor(settings, config['image_size'], _is_segmentor(file.ours))
        if preprocessor is not None:
            files['preprocessor_config.json'] = preprocessor
        if not settings:
            note = 'does not tell how its images were normalized; preprocessor_config.json says: as for ImageNet'
            print_log(f'{file.path} {note}', logger='current')
        if preprocessor is None:
            note = 'is a model of BGR images, which transformers does not prepare; there is no preprocessor_config.json'
            print_log(f'{file.path} {note}', logger='current')
    return files


def hf_weights(file: Checkpoint) -> tuple[StateDict, list[str]]:
    """The weights for a folder under Hugging Face's names, and this package's names of those that have no place there.

    Raises:
        InputError: if Hugging Face's BEiT cannot be such a model.
    """
    ours, left_out = file.ours, []
    if _is_segmentor(ours):
        config = _upernet_config(ours, _settings_of(file))
        if not config['use_auxiliary_head']:
            left_out = [key for key in ours if key.startswith('auxiliary_head.')]
            ours = {key: value for key, value in ours.items() if key not in left_out}
        if config['num_hidden_layers'] > _depth_of(ours):
            ours = with_identity_block(ours)
    state, others = from_ours(ours, 'hf')
    return state, left_out + others


def _is_segmentor(ours: StateDict) -> bool:
    return any(key.startswith('decode_head.') for key in ours)


def _depth_of(ours: StateDict) -> int:
    return len({key.split('.')[2] for key in ours if key.startswith('backbone.blocks.')})


def _upernet_config(ours: StateDict, settings: dict[str, Any]) -> dict:
    """What ``config.json`` says of a segmentor beside its encoder.

    ``BeitForSemanticSegmentation`` counts the embedding and blocks from 1 in ``out_indices``, and never reads the last
    of them: our block i, counted from 0, is its i + 2, and a model that reads its last block gets one more.
    """
    model = settings.get('model') or {}
    backbone, neck, head, auxiliary = (
        model.get(part) or {} for part in ('backbone', 'neck', 'decode_head', 'auxiliary_head')
    )
    backbone = backbone.get('module', backbone)  # of a LoRAModel
    width, depth = len(ours['backbone.patch_embed.proj.weight']), _depth_of(ours)
    indices = backbone.get('out_indices', _OUT_INDICES.get(depth, ()))
    channels = ours.get('decode_head.fpn_bottleneck.conv.weight', torch.zeros(0)).shape[0]
    scales = list(head.get('pool_scales', (1, 2, 3, 6)))
    num_pools = sum(key.startswith('decode_head.psp_modules.') and key.endswith('.conv.weight') for key in ours)
    has_pyramid = 'neck.upsample_4x.3.weight' in ours and list(neck.get('rescales', _RESCALES)) == _RESCALES
    obstacles = {
        'a decode head other than UperNet': not channels,
        'a neck other than Feature2Pyramid with rescales 4, 2, 1, 0.5': not has_pyramid,
        f'{channels} channels in the decode head, instead of the {width} of the backbone': channels != width,
        'a decode head without batch norm': 'decode_head.fpn_bottleneck.bn.running_var' not in ours,
        'align_corners=True': head.get('align_corners', False),
        'a norm in the backbone after the last block': bool(
            {'backbone.norm.weight', 'backbone.fc_norm.weight'} & set(ours)
        ),
        f'{num_pools} pooled maps, whose pool_scales the file does not tell': num_pools != len(scales),
        'out_indices that the file does not tell, or that are not four': len(indices) != 4,
    }
    for obstacle in [what for what, is_so in obstacles.items() if is_so]:
        raise InputError(
            f'the hf format cannot hold a segmentor with {obstacle}. Choose mmbeitv2, official or mmpretrain.'
        )
    blocks = [index % depth for index in indices]
    first = ours.get('auxiliary_head.convs.0.conv.weight', torch.zeros(0))
    is_plain = first.shape[1:] == (width, 3, 3) and auxiliary.get('in_index', 2) == 2
    return dict(
        architectures=['BeitForSemanticSegmentation'],
        num_labels=len(ours['decode_head.conv_seg.weight']),
        num_hidden_layers=depth + (max(blocks) == depth - 1),
        out_indices=[block + 2 for block in blocks],
        pool_scales=scales,
        use_auxiliary_head=is_plain,  # which only training uses
        auxiliary_channels=len(first) or width,
        auxiliary_num_convs=sum(
            key.startswith('auxiliary_head.convs.') and key.endswith('.conv.weight') for key in ours
        ),
        auxiliary_concat_input='auxiliary_head.conv_cat.conv.weight' in ours,
    )


def hf_config(ours: StateDict, grid: tuple[int, int] | None = None) -> dict:
    """The ``config.json`` of Hugging Face's BEiT for the weights of a model of this package.

    Args:
        ours: the weights.
        grid: the patch grid (h, w), where the file tells it; None for the square one that fits.
    """
    width, channels, patch_size, _ = ours['backbone.patch_embed.proj.weight'].shape
    depth = _depth_of(ours)
    is_shared = f'backbone.{SHARED_TABLE}' in ours
    table = ours.get(f'backbone.{SHARED_TABLE}', ours.get(f'backbone.blocks.0.attn.{TABLE}'))
    positions = ours.get('backbone.pos_embed')
    if table is not None:
        side = (math.isqrt(max(len(table) - NUM_CLS_DISTANCES, 0)) + 1) // 2
    elif positions is not None:
        side = math.isqrt(positions.shape[1] - 1)
    else:
        raise InputError('the model has no position parameters, so its image size is unknown; the hf format needs it')
    is_square = grid is None or grid == (side, side)
    is_square &= table is None or len(table) == (2 * side - 1) ** 2 + NUM_CLS_DISTANCES
    is_square &= positions is None or positions.shape[1] == side**2 + 1
    if not is_square:
        shape = 'positions that do not belong to a square grid' if grid is None else f'{grid[0]}x{grid[1]} patches'
        raise InputError(f'the model has {shape}, but the hf format needs a square one. Choose another format.')
    config: dict = dict(
        model_type='beit',
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64 if table is None else table.shape[1],
        intermediate_size=len(ours['backbone.blocks.0.mlp.fc1.weight']),
        layer_norm_eps=1e-6,
        image_size=side * patch_size,
        patch_size=patch_size,
        num_channels=channels,
        use_mask_token='backbone.mask_token' in ours,
        use_absolute_position_embeddings=positions is not None,
        use_relative_position_bias=table is not None and not is_shared,
        use_shared_relative_position_bias=is_shared,
        layer_scale_init_value=0.1 if 'backbone.blocks.0.gamma_1' in ours else 0.0,  # transformers refuses 0
        # Otherwise the encoder has a norm of its own, which in masked image modeling belongs to the head.
        use_mean_pooling='backbone.norm.weight' not in ours or 'head.lm_head.weight' in ours,
        architectures=['BeitModel'],
    )
    if 'head.lm_head.weight' in ours:
        config |= dict(vocab_size=len(ours['head.lm_head.weight']), architectures=['BeitForMaskedImageModeling'])
    elif 'head.fc.weight' in ours:
        config |= dict(num_labels=len(ours['head.fc.weight']), architectures=['BeitForImageClassification'])
    return config


def hf_preprocessor(settings: dict[str, Any], image_size: int, is_segmentor: bool = False) -> dict | None:
    """The ``preprocessor_config.json`` for the test images of a config; None if the model takes BGR images.

    The pixels are those of ``FitImage``, and of mmcv's resizing by Pillow (OpenCV's has no antialiasing), but the crop
    lies one to the left or top of ours where the margin is odd. A segmentor gets the image stretched to its own size,
    because transformers has no windows that slide over larger ones.

    Args:
        settings: of the config; empty if it is not known.
        image_size: side of the model's images in pixels.
        is_segmentor: whether the model is one.
    """
    model = settings.get('model') or {}
    statistics = _IMAGENET | (settings.get('data_preprocessor') or {}) | (model.get('data_preprocessor') or {})
    transforms = {str(each.get('type')).rpartition('.')[2]: each for each in _test_set(settings).get('pipeline') or ()}
    is_pretraining = str(statistics.get('type')).endswith('BEiTv2DataPreprocessor')  # which gives RGB by default
    if (
        settings
        and 'LoadChannels' not in transforms
        and not statistics.get('bgr_to_rgb', statistics.get('to_rgb', is_pretraining))
    ):
        return None
    normalization = dict(
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[value / 255 for value in statistics['mean']],
        image_std=[value / 255 for value in statistics['std']],
    )
    if is_segmentor:
        return dict(
            image_processor_type='BeitImageProcessor',
            do_resize=True,
            size={'height': image_size, 'width': image_size},
            resample=_resampling(transforms.get('Resize', {})),
            do_center_crop=False,
            do_reduce_labels=reduces_zero_label(_test_set(settings), _class_of_test_set(settings)),
            **normalization,
        )
    kind = next((name for name in ('FitImage', 'ResizeEdge', 'Resize') if name in transforms), 'FitImage')
    resize = transforms.get(kind, {})
    scale = resize.get('scale', image_size)
    height, width = (scale, scale) if isinstance(scale, int) else scale
    if kind == 'Resize':
        height, width = width, height
    is_stretched = resize.get('fit') == 'stretch' or (kind == 'Resize' and not resize.get('keep_ratio'))
    return dict(
        image_processor_type='CLIPImageProcessor',  # that of BEiT cannot keep the aspect ratio
        do_convert_rgb=True,
        do_resize=True,
        size={'height': height, 'width': width} if is_stretched else {'shortest_edge': min(height, width)},
        resample=Image.Resampling.BICUBIC if kind == 'FitImage' else _resampling(resize),
        do_center_crop=True,
        crop_size={'height': image_size, 'width': image_size},
        **normalization,
    )


def _resampling(resize: dict[str, Any]) -> int:
    """Pillow's number of the interpolation of mmcv's ``Resize`` or mmpretrain's ``ResizeEdge``."""
    name = resize.get('interpolation', 'bilinear')
    return Image.Resampling[{'area': 'box'}.get(name, name).upper()]


def _settings_of(file: Checkpoint) -> dict[str, Any]:
    """The config that belongs to a file; empty if there is none."""
    if is_published(file.path):
        return Config.fromfile(describe_model(file.path).config).to_dict()
    text = file.meta.get('cfg')
    return read_settings(text) if isinstance(text, str) else {}


def _test_set(settings: dict[str, Any]) -> dict[str, Any]:
    return (settings.get('test_dataloader') or {}).get('dataset') or {}


def _class_of_test_set(settings: dict[str, Any]) -> type | None:
    return DATASETS.get(f'{settings.get("default_scope", "mmpretrain")}.{_test_set(settings).get("type")}')


def read_settings(text: str) -> dict[str, Any]:
    """The settings in the text of a config as mmengine writes it into checkpoints. It is data here, and is not run;
    what is no plain value is left out."""
    settings = {}
    with suppress(SyntaxError, ValueError):
        for line in ast.parse(text).body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                with suppress(ValueError):
                    settings[line.targets[0].id] = _value(line.value)
    return settings


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'dict' and not node.args:
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each) for each in node.elts]
    return ast.literal_eval(node)
