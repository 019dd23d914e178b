"""Frozen teachers, whose patch features the tokenizer learns to reconstruct (paper, section 2.2 and table 6).

open_clip and timm are imported where they are used: only teachers need them, and open_clip takes 0.8 s to import.
"""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from abc import abstractmethod
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmbeitv2.errors import InputError
from mmbeitv2.layers.frozen import Frozen, Precision, fingerprint
from mmbeitv2.registry import MODELS

_LOCAL_DIR = 'local-dir:'


class FrozenTeacher(Frozen):
    """Base of the teachers: input size, normalization and precision here, features in the subclass.

    Args:
        module: the network.
        img_size: side in pixels of the square input images.
        mean: per channel, for images in [0, 1].
        std: likewise.
        precision: see :class:`Frozen`.

    Attributes:
        embed_dims: width Dt of the features.
    """

    embed_dims: int
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        img_size: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: Precision = 'float16',
    ) -> None:
        super().__init__(module, precision)
        self.img_size = img_size
        self.register_buffer('mean', torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Features of each patch.

        Args:
            images: (B, 3, H, W) in [0, 1].
            grid: patches (h, w) of the tokenizer, to which the features are resampled.

        Returns:
            (B, h·w, Dt) float32, not normalized.
        """
        if images.shape[-2:] != (self.img_size, self.img_size):
            images = F.interpolate(
                images, size=(self.img_size, self.img_size), mode='bicubic', align_corners=False, antialias=True
            ).clamp(0, 1)
        with torch.no_grad(), self.autocast(images.device):
            features = self.patch_features((images - self.mean) / self.std)  # (B, Dt, ht, wt)
        features = features.float()
        if features.shape[-2:] != grid:
            features = F.interpolate(features, size=grid, mode='bilinear', align_corners=False)
        return features.flatten(2).transpose(1, 2)

    def fingerprint(self) -> int:
        """A number of 64 bits, signed, that tells teachers apart whose features differ."""
        settings = (type(self).__name__, self.img_size, getattr(self, 'out_index', None))
        digest = hashlib.sha256(f'{settings} {fingerprint(self.module)}'.encode()).digest()
        return int.from_bytes(digest[:8], 'big', signed=True)

    @abstractmethod
    def patch_features(self, images: Tensor) -> Tensor:
        """Features (B, Dt, h, w) of normalized images (B, 3, H, W)."""


@MODELS.register_module()
class OpenCLIPTeacher(FrozenTeacher):
    """The image tower of a CLIP: its patch tokens after ``ln_post`` and the visual projection.

    Args:
        model: open_clip's name of a model whose image tower is open_clip's own ViT, or ``'local-dir:DIR'`` with an
            ``open_clip_config.json`` and weights in DIR. OpenAI's weights were trained with QuickGELU and need
            ``'ViT-B-16-quickgelu'``; plain ``'ViT-B-16'`` with them is rejected.
        pretrained: a tag of open_clip (``'openai'``), downloaded at first use, or a local file. None for a local
            directory, which has its weights.
        precision: of the network's products under autocast, see :class:`Frozen`.
    """

    def __init__(
        self,
        model: str = 'ViT-B-16-quickgelu',
        pretrained: str | None = 'openai',
        precision: Precision = 'float16',
    ) -> None:
        import open_clip
        from open_clip.transformer import VisionTransformer

        if model.startswith(_LOCAL_DIR):
            folder = Path(model[len(_LOCAL_DIR) :])
            if not (folder / 'open_clip_config.json').is_file():
                raise InputError(
                    f'teacher folder {str(folder)!r} has no open_clip_config.json. Use the folder of an open_clip '
                    'model.'
                )
        else:
            _check_weights(model, pretrained)
        try:
            clip = open_clip.create_model(model, pretrained=pretrained)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                (f'the teacher {model!r} could not be loaded with the weights {pretrained!r} ({_first_line(error)}). ')
                + _how_to_download(_clip_source(model, pretrained))
            ) from error
        visual = clip.visual
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
            raise InputError(
                f'the image tower of {model!r} is not a plain ViT, so it has no projected patch features. Choose a '
                'ViT of open_clip.'
            )
        visual.output_tokens = True
        mean, std = (getattr(visual, key, None) for key in ('image_mean', 'image_std'))
        side = visual.image_size[0]
        super().__init__(
            visual,
            side,
            tuple(mean or open_clip.OPENAI_DATASET_MEAN),
            tuple(std or open_clip.OPENAI_DATASET_STD),
            precision,
        )
        self.embed_dims = visual.proj.shape[1] if visual.proj is not None else visual.ln_post.normalized_shape[0]

    def patch_features(self, images: Tensor) -> Tensor:
        visual = self.module
        _, tokens = visual(images)
        if visual.final_ln_after_pool:
            tokens = visual.ln_post(tokens)
        if visual.proj is not None:
            tokens = tokens @ visual.proj
        return tokens.transpose(1, 2).unflatten(2, visual.grid_size)


@MODELS.register_module()
class TimmTeacher(FrozenTeacher):
    """A model of timm: the patch tokens of a ViT after its final norm, or the feature map of a CNN.

    Class and register tokens are dropped.

    Args:
        model: timm's name, for example ``'vit_base_patch16_224.dino'`` or ``'convnext_tiny.dinov3_lvd1689m'``.
        pretrained: true for timm's weights, downloaded at first use, or a local file.
        img_size: side in pixels of the input images; None for the model's default. A CNN of stride 32 gives the 14x14
            features of a tokenizer from 448 pixels.
        out_index: which of the network's feature maps to take: blocks of a ViT, stages of a CNN. -1: the last.
        precision: of the network's products under autocast, see :class:`Frozen`.
    """

    def __init__(
        self,
        model: str = 'vit_base_patch16_224.dino',
        pretrained: bool | str = True,
        img_size: int | None = None,
        out_index: int = -1,
        precision: Precision = 'float16',
    ) -> None:
        import timm

        name = model.split('.')[0]
        if not timm.is_model(name):
            raise InputError(
                f'timm has no model {model!r}. Choose one of {", ".join(timm.list_models("*vit*")[:20])}, ...'
            )
        if isinstance(pretrained, str) and not Path(pretrained).is_file():
            raise InputError(
                f'teacher weights {pretrained!r} do not exist. Set pretrained to a file with the weights of '
                f'{model!r}, or to True.'
            )
        source = timm.models.get_pretrained_cfg(model)
        # Models that take any image have no img_size to set.
        is_fixed = img_size is not None and (source is None or source.fixed_input_size)
        options: dict = {'img_size': img_size} if is_fixed else {}
        if isinstance(pretrained, str):
            options['pretrained_cfg_overlay'] = {'file': pretrained}
        try:
            network = timm.create_model(model, pretrained=bool(pretrained), num_classes=0, **options)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise InputError(
                f'the teacher {model!r} could not be loaded ({_first_line(error)}). '
                + _how_to_download(_timm_source(model))
            ) from error
        config = timm.data.resolve_model_data_config(network)
        side = img_size or config['input_size'][-1]
        maps: list[dict] = network.feature_info  # type: ignore[assignment]
        if not -len(maps) <= out_index < len(maps):
            raise InputError(f'out_index={out_index}, but {model!r} has {len(maps)} feature maps, counted from 0')
        stride = maps[out_index]['reduction']
        if side % stride:
            raise InputError(f'img_size={side} is not a multiple of the patch size {stride} of {model!r}. Change it.')
        # A MobileNetV2 takes a third less time with its channels last in memory (one thread, 16 images of 96 pixels).
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        super().__init__(network, side, config['mean'], config['std'], precision)
        self.out_index = out_index
        self.embed_dims = int(maps[out_index]['num_chs'])

    def patch_features(self, images: Tensor) -> Tensor:
        (features,) = self.module.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=[self.out_index],
            norm=True,
            intermediates_only=True,
        )
        return features


def _check_weights(model: str, pretrained: str | None) -> None:
    """Refuses a model that open_clip has not, weights that do not exist, and weights with another activation."""
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        raise InputError(f'open_clip has no model {model!r}. Choose one of {", ".join(open_clip.list_models())}.')
    if pretrained is None:
        raise InputError(f'the teacher {model!r} has no weights. Set pretrained to a tag of open_clip or to a file.')
    if Path(pretrained).is_file():
        wants_quick = _is_openai_archive(Path(pretrained))
    elif pretrained in open_clip.list_pretrained_tags_by_model(model):
        wants_quick = bool(open_clip.get_pretrained_cfg(model, pretrained).get('quick_gelu', False))
    else:
        tags = ', '.join(open_clip.list_pretrained_tags_by_model(model)) or 'none'
        raise InputError(
            f'teacher weights {pretrained!r} are neither a file nor a tag that open_clip has for {model!r}. Use a '
            f'file, or one of: {tags}.'
        )
    if wants_quick and not config.get('quick_gelu', False):
        raise InputError(
            f'the weights {pretrained!r} were trained with QuickGELU, which {model!r} does not use, so its features '
            f'would be wrong. Use the model {model + "-quickgelu"!r}.'
        )


def _is_openai_archive(path: Path) -> bool:
    """Whether a file is one of OpenAI's releases, the only ones that are TorchScript archives."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())


def _clip_source(model: str, pretrained: str | None) -> tuple[str, str]:
    """Address of the weights of open_clip's model, and a file name for them; empty if they are a file already."""
    if pretrained is None or Path(pretrained).is_file():
        return '', ''
    import open_clip

    source = open_clip.get_pretrained_cfg(model, pretrained)
    if source.get('url'):
        return source['url'], source['url'].rpartition('/')[2]
    repository = source['hf_hub'].rstrip('/')
    return _hub_file(repository, 'open_clip_model.safetensors'), f'{repository.rpartition("/")[2]}.safetensors'


def _timm_source(model: str) -> tuple[str, str]:
    """The same of timm's model."""
    import timm

    source = timm.models.get_pretrained_cfg(model)
    if source is None or not (source.hf_hub_id or source.url):
        return '', ''
    if source.hf_hub_id:
        repository = str(source.hf_hub_id)
        file = _hub_file(repository, str(source.hf_hub_filename or 'model.safetensors'))
        return file, f'{repository.rpartition("/")[2]}.safetensors'
    return str(source.url), str(source.url).rpartition('/')[2]


def _hub_file(repository: str, name: str) -> str:
    return f'https://huggingface.co/{repository}/resolve/main/{name}'


def _how_to_download(source: tuple[str, str]) -> str:
    url, name = source
    if not url:
        return 'Set pretrained to the file that belongs to this model.'
    return f'Download {url}, put it at checkpoints/{name} and set model.teacher.pretrained=checkpoints/{name}.'


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
