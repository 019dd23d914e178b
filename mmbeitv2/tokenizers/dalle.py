"""The tokenizer of BEiT v1: DALL-E's discrete VAE (Bao et al. 2021, section 2.1)."""

from __future__ import annotations

import mmpretrain.models  # noqa: F401  (registers mmpretrain.DALL-E)
from mmengine.model import BaseModel
from torch import Tensor

from mmbeitv2.registry import MODELS

# Patches are 8 pixels: an image of 112 pixels has 14x14 codes.
_PATCH_SIZE = 8


@MODELS.register_module()
class DALLETokenizer(BaseModel):
    """mmpretrain's DALL-E encoder as a tokenizer for pretraining; it cannot be trained.

    Args:
        img_size: side in pixels of its input images (``view_size`` of the preprocessor).
        encoder: settings of mmpretrain's ``DALL-E``.
        init_cfg: weights of the encoder, as ``dict(type='Pretrained', checkpoint=FILE)``.
    """

    num_codes = 8192
    in_channels = 3
    patch_size = _PATCH_SIZE

    def __init__(self, img_size: int = 112, encoder: dict | None = None, init_cfg: dict | None = None) -> None:
        super().__init__()
        self.encoder = MODELS.build({'type': 'mmpretrain.DALL-E', **(encoder or {}), 'init_cfg': init_cfg})
        self.grid_size = (img_size // _PATCH_SIZE, img_size // _PATCH_SIZE)

    def init_weights(self) -> None:
        """Loads the weights that ``init_cfg`` names.

        Raises:
            InputError: if the file lacks some of them, which mmengine would leave at random values with only a line in
                the log.
        """
        super().init_weights()
        init_cfg = self.encoder.init_cfg
        if isinstance(init_cfg, dict) and init_cfg.get('type') == 'Pretrained':
            from mmbeitv2.checkpoints.reading import check_exact, read_checkpoint  # which import the models

            file, wanted = read_checkpoint(init_cfg['checkpoint']), self.encoder.state_dict()
            prefix = f'{init_cfg["prefix"].rstrip(".")}.' if init_cfg.get('prefix') else ''
            own = {key.removeprefix(prefix): value for key, value in file.state.items()}
            check_exact({key: value for key, value in own.items() if key in wanted}, wanted, file.path)

    def tokenize(self, images: Tensor) -> Tensor:
        """Codes (B, h·w) int64 of images (B, 3, H, W) in [-1, 1]."""
        # DALL-E wants pixels in [0.1, 0.9].
        logits = self.encoder(images.float() * 0.4 + 0.5)  # (B, num_codes, h, w)
        return logits.argmax(dim=1).flatten(1)

    def forward(self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor') -> Tensor:
        """Codes (B, h·w), whatever the mode."""
        return self.tokenize(inputs)
