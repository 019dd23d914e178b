"""CLIP as a teacher. open_clip is imported where it is used, because that takes 0.8 s and only teachers need it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from torch import Tensor

from mmbeitv2.errors import InputError
from mmbeitv2.registry import MODELS
from mmbeitv2.teachers.base import FrozenTeacher, cannot_build


@MODELS.register_module()
class OpenCLIPTeacher(FrozenTeacher):
    """The image tower of a CLIP: its patch tokens after ``ln_post`` and the visual projection.

    Args:
        model: open_clip's name of a model whose image tower is open_clip's own ViT, or ``'local-dir:DIR'`` with an
            ``open_clip_config.json`` and weights in DIR. OpenAI's weights were trained with QuickGELU and need
            ``'ViT-B-16-quickgelu'``; plain ``'ViT-B-16'`` with them is rejected.
        pretrained: a tag of open_clip (``'openai'``), downloaded at first use, or a local file. None for a local
            directory, which has its weights.
        settings: ``precision``, ``standardize`` and ``standardize_batches`` of :class:`FrozenTeacher`.
    """

    def __init__(self, model: str = 'ViT-B-16-quickgelu', pretrained: str | None = 'openai', **settings: Any) -> None:
        import open_clip
        from open_clip.transformer import VisionTransformer

        source = None if model.startswith('local-dir:') else _source_of(model, pretrained)
        try:
            visual = open_clip.create_model(model, pretrained=pretrained).visual
        except (OSError, RuntimeError) as error:
            raise cannot_build(model, pretrained, error, source) from error
        if not isinstance(visual, VisionTransformer) or visual.attn_pool is not None:
            raise InputError(f'the image tower of {model!r} is not a plain ViT. Choose a ViT of open_clip.')
        visual.output_tokens = True
        mean = getattr(visual, 'image_mean', None) or open_clip.OPENAI_DATASET_MEAN
        std = getattr(visual, 'image_std', None) or open_clip.OPENAI_DATASET_STD
        width = visual.proj.shape[1] if visual.proj is not None else visual.ln_post.normalized_shape[0]
        super().__init__(visual, width, visual.image_size[0], tuple(mean), tuple(std), **settings)

    def patch_features(self, images: Tensor) -> Tensor:
        visual = self.module
        _, tokens = visual(images)
        if visual.final_ln_after_pool:
            tokens = visual.ln_post(tokens)
        if visual.proj is not None:
            tokens = tokens @ visual.proj
        return tokens.transpose(1, 2).unflatten(2, visual.grid_size)


def _source_of(model: str, pretrained: str | None) -> str | None:
    """Address of the weights; None if they are a file.

    Raises:
        InputError: if there are none, or if they were trained with another activation than the model's.
    """
    import open_clip

    if pretrained is None:
        raise InputError(f'the teacher {model!r} has no weights. Set pretrained to a tag of open_clip or to a file.')
    config = open_clip.get_model_config(model)
    if config is None:
        return None  # as open_clip will say
    settings = open_clip.get_pretrained_cfg(model, pretrained)  # {} if there is no such tag
    if not settings and not Path(pretrained).is_file():
        raise InputError(
            f'teacher weights {pretrained!r} are neither a file nor a tag that open_clip has for {model!r}. Use a '
            f'file, or one of: {", ".join(open_clip.list_pretrained_tags_by_model(model))}.'
        )
    wants_quick = settings.get('quick_gelu') if settings else _is_openai_archive(Path(pretrained))
    if wants_quick and not config.get('quick_gelu'):
        raise InputError(
            f'the weights {pretrained!r} were trained with QuickGELU, which {model!r} does not use, so its features '
            f'would be wrong. Use the model {model + "-quickgelu"!r}.'
        )
    return (settings.get('url') or f'https://huggingface.co/{settings["hf_hub"]}') if settings else None


def _is_openai_archive(path: Path) -> bool:
    """Whether a file is one of OpenAI's releases, the only ones that are TorchScript archives."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any('/code/' in name for name in archive.namelist())
