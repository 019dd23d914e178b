"""Models of timm as teachers."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor

from mmbeitv2.backbones.timm_vit import create_timm
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers.base import FrozenTeacher, cannot_build


@MODELS.register_module()
class TimmTeacher(FrozenTeacher):
    """A model of timm: the patch tokens of a ViT after its final norm, or the feature map of a CNN.

    Class and register tokens are dropped.

    Args:
        model: timm's name, for example ``'vit_base_patch16_224.dino'`` or ``'convnext_tiny.dinov3_lvd1689m'``; or
            ``'hf-hub:ORG/NAME'``, or ``'local-dir:DIR'`` with a ``config.json`` and weights in DIR.
        pretrained: true for timm's weights, downloaded at first use, or a local file.
        img_size: side in pixels of the input images; None for the model's default. A CNN of stride 32 gives the 14x14
            features of a tokenizer from 448 pixels.
        out_index: which of the network's feature maps to take: blocks of a ViT, stages of a CNN. -1: the last.
        settings: ``precision``, ``standardize`` and ``standardize_batches`` of :class:`FrozenTeacher`.
    """

    def __init__(
        self,
        model: str = 'vit_base_patch16_224.dino',
        pretrained: bool | str = True,
        img_size: int | None = None,
        out_index: int = -1,
        **settings: Any,
    ) -> None:
        source = timm.models.get_pretrained_cfg(model)
        options: dict = {}
        if img_size is not None and source is not None and source.fixed_input_size:
            options['img_size'] = img_size  # models that take any image have no such setting
        try:
            network = create_timm(model, pretrained, **options)
        except (OSError, RuntimeError) as error:
            name = model.removeprefix('hf-hub:') if model.startswith('hf-hub:') else source and source.hf_hub_id
            address = f'https://huggingface.co/{name}' if name else source and source.url
            is_download = pretrained is True and address
            raise cannot_build(model, pretrained, error, str(address) if is_download else None) from error
        if img_size is not None and source is None and hasattr(network, 'set_input_size'):
            network.set_input_size(img_size=img_size)  # interpolates learned positions
        config = timm.data.resolve_model_data_config(network)
        # A MobileNetV2 takes a third less time with its channels last in memory (one thread, 16 images of 96 pixels).
        network.to(memory_format=torch.channels_last)
        width = int(network.feature_info[out_index]['num_chs'])
        img_size = img_size or config['input_size'][-1]
        super().__init__(network, width, img_size, config['mean'], config['std'], **settings)
        self.out_index = out_index

    def patch_features(self, images: Tensor) -> Tensor:
        (features,) = self.module.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=[self.out_index],
            norm=True,
            intermediates_only=True,
        )
        return features
