"""Models of transformers as teachers. transformers is imported where it is used, because it is optional."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers.base import FrozenTeacher


@MODELS.register_module()
class HuggingFaceTeacher(FrozenTeacher):
    """A plain ViT of transformers: the patch tokens of its ``last_hidden_state``, without class and register tokens.

    Of a model of images and text (CLIP, SigLIP and SigLIP 2 of fixed size), the vision tower is taken. CLIP's
    ``last_hidden_state`` is what precedes its last norm.

    Args:
        model: name on the Hugging Face Hub, downloaded at first use, or a local folder with ``config.json``, weights
            and ``preprocessor_config.json``.
        img_size: side in pixels of the input images; None for that of the model's image processor. Learned positions
            are interpolated.
        settings: ``precision``, ``standardize`` and ``standardize_batches`` of :class:`FrozenTeacher`.

    Raises:
        InputError: if transformers is not installed, if the model cannot be loaded, or if it has no patch features.
    """

    def __init__(self, model: str, img_size: int | None = None, **settings: Any) -> None:
        try:
            from transformers import AutoImageProcessor, AutoModel
        except ImportError as error:
            raise InputError("this teacher needs transformers. Install it: pip install 'transformers>=4.54'") from error
        try:
            network, info = AutoModel.from_pretrained(model, output_loading_info=True)
            # transformers only warns that these are random. Classifiers are saved without text tower and unused pooler.
            tower = 'vision_model.' if hasattr(network, 'vision_model') else ''
            if missing := sorted(key for key in info['missing_keys'] if key.startswith(tower) and 'pooler' not in key):
                raise InputError(
                    f'the teacher {model!r} has no weights {", ".join(missing[:5])}{" ..." if missing[5:] else ""}. '
                    'Choose a folder or a name whose config.json belongs to its weights.'
                )
            network = getattr(network, 'vision_model', network).float()
            parameters = inspect.signature(network.forward).parameters
            patch_size, width = (getattr(network.config, name, None) for name in ('patch_size', 'hidden_size'))
            # The NaFlex models of SigLIP 2 take patches, not images, and say so by spatial_shapes.
            takes_images = 'pixel_values' in parameters and 'spatial_shapes' not in parameters
            if not takes_images or not isinstance(patch_size, int) or not isinstance(width, int):
                raise _no_patches(model)
            processor = AutoImageProcessor.from_pretrained(model)
        except OSError as error:
            raise InputError(
                f'cannot load the teacher {model!r} with transformers ({type(error).__name__}). Download it where '
                'there is a network, with its preprocessor_config.json, and set model of the teacher to the folder.'
            ) from error
        if img_size is None:
            size = dict(processor.crop_size if getattr(processor, 'do_center_crop', False) else processor.size)
            img_size = int(size.get('height') or size['shortest_edge'])
        if img_size < patch_size:
            raise InputError(f'img_size={img_size} of the teacher is less than one patch of {patch_size} pixels')
        super().__init__(network, width, img_size, tuple(processor.image_mean), tuple(processor.image_std), **settings)
        self.patch_size = patch_size
        # Some models interpolate without being asked, and CLIP's tower passes the option on.
        is_asked = 'interpolate_pos_encoding' in parameters or 'kwargs' in parameters
        self.options = {'interpolate_pos_encoding': True} if is_asked else {}
        with torch.no_grad():
            tokens = network(torch.zeros(1, 3, img_size, img_size), **self.options).last_hidden_state
        special = 1 + getattr(network.config, 'num_register_tokens', 0)
        if tokens.ndim != 3 or not 0 <= tokens.shape[1] - (img_size // patch_size) ** 2 <= special:
            raise _no_patches(model)

    def patch_features(self, images: Tensor) -> Tensor:
        side = self.img_size // self.patch_size
        tokens = self.module(images, **self.options).last_hidden_state[:, -side * side :]  # special tokens come first
        return tokens.transpose(1, 2).unflatten(2, (side, side))


def _no_patches(model: str) -> InputError:
    return InputError(
        f'the teacher {model!r} gives no feature to each patch of an image. Choose a plain ViT of transformers, such '
        'as DINOv2, DINOv3, SigLIP or CLIP.'
    )
