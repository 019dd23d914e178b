"""The implementation of ``tools/export_onnx.py``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import MODELS
from torch import Tensor, nn

from demo.sample_set import SHAPES, draw_scene
from mmbeitv2.backbones import BEiTv2ViT
from mmbeitv2.datasets import image_files
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.errors import InputError, doing
from mmbeitv2.fileio.outputs import require_writable
from mmbeitv2.inference.channels import channels_of
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import Part, load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor
from mmbeitv2.tokenizers import VQKD

# Images that model and file are compared on: at 224 pixels, and at least.
NUM_COMPARED, FEWEST_COMPARED = 8, 3
# Largest difference of outputs, in units of the largest output, or of 1 if that is smaller.
TOLERANCE = 1e-4
# A code may be another one if the cosine similarities of both to the feature differ by no more than this.
TIE = 1e-5
# What a format needs, by the end of the file's name.
FORMATS: dict[str, tuple[str, ...]] = {'.onnx': ('onnx', 'onnxscript', 'onnxruntime'), '.pt2': ()}


class ExportedModel(nn.Module):
    """The exported module: from pixels to the output of a model, including normalization.

    Args:
        model: see :func:`outputs_of`.
        mean: per channel of RGB in 0..255.
        std: likewise.
        is_rgb: the model takes RGB, else BGR.
    """

    mean: Tensor
    std: Tensor
    outputs: Callable[[Tensor], tuple[Tensor, ...]]

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor, is_rgb: bool) -> None:
        super().__init__()
        self.model = model
        self.is_rgb = is_rgb
        self.register_buffer('mean', mean.clone())
        self.register_buffer('std', std.clone())
        self.names, self.outputs = outputs_of(model)

    def normalize(self, images: Tensor) -> Tensor:
        """Images as the model wants them."""
        return ((images if self.is_rgb else images.flip(1)) - self.mean) / self.std

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of images (B, 3, H, W) float32, RGB in 0..255."""
        return self.outputs(self.normalize(images))


def outputs_of(model: Any) -> tuple[list[str], Callable[[Tensor], tuple[Tensor, ...]]]:
    """The names of a model's outputs, and how they are computed from normalized images.

    A tokenizer gives ``codes`` (B, N) int64; a classifier ``logits`` (B, classes); a segmentor ``logits``
    (B, classes, H, W), of the whole image at once; a backbone its features, one output for each of ``out_indices``.

    Raises:
        InputError: if it is a model of another kind.
    """
    if isinstance(model, VQKD):
        return ['codes'], lambda images: ((features_of(model, images) @ model.quantize.embedding.weight.T).argmax(-1),)
    if isinstance(model, BEiTv2ViT):
        count = len(model.out_indices)
        return ['features'] if count == 1 else [f'features_{i}' for i in model.out_indices], lambda images: model(
            images
        )
    if type(model).__name__ == 'ImageClassifier':
        return ['logits'], lambda images: (model(images, mode='tensor'),)
    if type(model).__name__ == 'EncoderDecoder':
        return ['logits'], lambda images: (model.encode_decode(images, [dict(img_shape=tuple(images.shape[2:]))]),)
    raise InputError(
        f'a {type(model).__name__} cannot be exported. Pass the config of a tokenizer, a classifier or a segmentor, '
        'or choose --part backbone or --part tokenizer.'
    )


def features_of(model: VQKD, images: Tensor) -> Tensor:
    """The features that a tokenizer compares with its codebook: (B, N, D), each of unit length."""
    (features,) = model.encoder(images)  # (B, C, h, w)
    return F.normalize(model.encode_task_layer(features.flatten(2).transpose(1, 2)), dim=-1)


def export_model(args: argparse.Namespace) -> None:
    """Writes a model as an ONNX file or a program of ``torch.export``; see ``tools/export_onnx.py --help``."""
    out = Path(args.out)
    _require_exportable(out, args.opset)
    cfg = read_config(args.config, args.cfg_options)
    part: Part = args.part or ('tokenizer' if cfg.model.get('type') == 'mmbeitv2.VQKD' else 'model')
    model = load_model(cfg, args.checkpoint, part).requires_grad_(False)
    exported = ExportedModel(model, *_normalization(cfg, part)).eval()
    vits = [module for module in model.modules() if isinstance(module, BEiTv2ViT)]  # the first sees the image
    if not vits:
        raise InputError(
            f'the model of {args.config!r} has no backbone of type mmbeitv2.BEiTv2ViT. Pass a config that has one.'
        )
    size = _resolve_size(args.img_size, vits[0])
    images = read_images(args.images, size)
    with torch.no_grad():
        expected = _expected(exported, images)
        vits[0].resize_positions((size[0] // vits[0].patch_size, size[1] // vits[0].patch_size))
        with doing(f'exporting the model of {args.config!r}'), _quiet():
            program = torch.export.export(
                exported, (images[:2],), dynamic_shapes=({0: torch.export.Dim('batch')},), strict=False
            )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}.') as folder:
        path = Path(folder, out.name)
        with doing(f'writing {str(out)!r}'), _quiet():
            _write(program, path, exported.names, args.opset)
        report = compare(exported, expected, _run(path, images), images)
        written = sorted(Path(folder).iterdir())  # the file, and its weights beside it if they are too large for it
        megabytes = sum(file.stat().st_size for file in written) / 1e6
        for file in written:
            os.replace(file, out.parent / file.name)
    shapes = ', '.join(f'{name} (B, {", ".join(map(str, value.shape[1:]))})' for name, value in expected.items())
    sys.stdout.write(
        f'{args.out}: images (B, 3, {size[0]}, {size[1]}) float32, RGB in 0..255 -> {shapes}; {megabytes:.1f} MB\n'
        f'compared on {len(images)} images: {report}\n'
    )


def _require_exportable(out: Path, opset: int | None) -> None:
    """Checks what can be checked before the model is built."""
    if out.suffix not in FORMATS:
        raise InputError(f'OUT {str(out)!r} must end in .onnx, or in .pt2 for a torch.export program')
    require_writable(out, 'OUT')
    missing = [name for name in FORMATS[out.suffix] if find_spec(name) is None]
    if missing:
        raise InputError(
            f'exporting to ONNX needs {" and ".join(missing)}, which {"is" if len(missing) == 1 else "are"} not '
            f'installed. Install with: pip install {" ".join(FORMATS[out.suffix])}.'
        )
    if opset is not None and out.suffix != '.onnx':
        raise InputError(f'--opset only applies to ONNX files. Choose an OUT that ends in .onnx, not {str(out)!r}.')


def _normalization(cfg: Config, part: Part) -> tuple[Tensor, Tensor, bool]:
    """Mean and standard deviation (3, 1, 1) in 0..255, and whether the model takes RGB, else BGR."""
    if channels_of(cfg) is not None:
        raise InputError('models for images that are not 8-bit RGB (mmbeitv2.LoadChannels) cannot be exported')
    if part == 'tokenizer':
        return torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 127.5), True
    settings = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    preprocessor = MODELS.build({'type': 'mmpretrain.ClsDataPreprocessor', **settings})
    is_rgb = bool(settings.get('bgr_to_rgb', getattr(preprocessor, 'to_rgb', False)))
    if getattr(preprocessor, 'mean', None) is None:
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1), is_rgb
    unit = 255 if settings.get('type') == 'mmbeitv2.BEiTv2DataPreprocessor' else 1  # it holds them in 0..1
    return preprocessor.mean.view(3, 1, 1) * unit, preprocessor.std.view(3, 1, 1) * unit, is_rgb


def _resolve_size(given: list[int] | None, vit: BEiTv2ViT) -> tuple[int, int]:
    """Height and width of the images."""
    if given is None:
        return vit.grid_size[0] * vit.patch_size, vit.grid_size[1] * vit.patch_size
    if len(given) > 2 or any(side % vit.patch_size for side in given):
        raise InputError(
            f'--img-size {" ".join(map(str, given))} must be one or two multiples of the patch size, {vit.patch_size}'
        )
    return given[0], given[-1]


def read_images(folder: str | None, size: tuple[int, int]) -> Tensor:
    """Images to compare on, (n, 3, H, W) float32, RGB in 0..255: spread over a folder, or drawn scenes."""
    count = max(min(NUM_COMPARED * 224**2 // (size[0] * size[1]), NUM_COMPARED), FEWEST_COMPARED)
    if folder is None:
        rng = np.random.default_rng(0)
        scenes = [draw_scene(rng, shape).image[..., ::-1] for shape in SHAPES[:count]]
        return torch.stack([fit_image(to_tensor(scene.copy()), size, 'crop') for scene in scenes]).float()
    paths = list(image_files(Path(folder)).values())
    chosen = paths[:: max(len(paths) // count, 1)][:count]
    images = torch.stack([fit_image(to_tensor(path), size, 'crop') for path in chosen]).float()
    return images if len(images) > 1 else images.repeat(2, 1, 1, 1)  # an example of one would fix the size of a batch


def _expected(exported: ExportedModel, images: Tensor) -> dict[str, Tensor]:
    """The outputs of the model's own forward, without constant positions."""
    model = exported.model
    if isinstance(model, VQKD):
        return {'codes': model.tokenize(exported.normalize(images))}
    return dict(zip(exported.names, exported(images), strict=True))


def _write(program: torch.export.ExportedProgram, path: Path, names: list[str], opset: int | None) -> None:
    if path.suffix == '.pt2':
        torch.export.save(program, path)
        return
    onnx_program = torch.onnx.export(
        program, input_names=['images'], output_names=names, opset_version=opset, dynamo=True, verbose=False
    )
    assert onnx_program is not None
    got = onnx_program.model.opset_imports['']
    if opset not in (None, got):
        raise InputError(f'--opset {opset} is not supported for this model, but {got} is. Leave --opset out.')
    onnx_program.save(path)


def _run(path: Path, images: Tensor) -> list[Tensor]:
    """The outputs of the written file for all images."""
    with doing('running the exported file'):
        if path.suffix == '.pt2':
            with torch.no_grad(), _quiet():
                return list(torch.export.load(path).module()(images))
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
        return [torch.from_numpy(output) for output in session.run(None, {'images': images.numpy()})]


def compare(exported: ExportedModel, expected: dict[str, Tensor], outputs: list[Tensor], images: Tensor) -> str:
    """Compares the outputs of an exported file with the model's.

    Returns:
        A summary of the differences.

    Raises:
        InputError: if they differ by more than rounding.
    """
    found = []
    for (name, wanted), got in zip(expected.items(), outputs, strict=True):
        if wanted.shape != got.shape:
            raise InputError(_refusal(f'{name} has shape {tuple(got.shape)}, not {tuple(wanted.shape)}'))
        if name == 'codes':
            found.append(_compare_codes(exported, wanted, got, images))
            continue
        largest = max(wanted.abs().max().item(), 1.0)
        difference = (wanted - got).abs().max().item() / largest
        if not difference <= TOLERANCE:  # nor if it is NaN
            raise InputError(
                _refusal(f'{name} differ by {difference:.2g} times the largest value; {TOLERANCE} is allowed')
            )
        found.append(f'{name} differ by at most {difference:.2g} times the largest value, {largest:.3g}')
    return ', '.join(found)


def _compare_codes(exported: ExportedModel, wanted: Tensor, got: Tensor, images: Tensor) -> str:
    model = exported.model
    assert isinstance(model, VQKD)
    differs = wanted != got
    report = f'{wanted.numel() - int(differs.sum())} of {wanted.numel()} codes are equal'
    if not differs.any():
        return report
    with torch.no_grad():
        features = features_of(model, exported.normalize(images))
    margin = (features * (model.lookup(wanted) - model.lookup(got))).sum(-1).max().item()
    if not margin <= TIE:
        raise InputError(
            _refusal(f'only {report}, and the others are not ties: the similarities differ by {margin:.2g}')
        )
    return f'{report}; the others are ties (similarities differ by at most {margin:.1g})'


def _refusal(reason: str) -> str:
    return f'the exported file and the model give different outputs: {reason}. Nothing was written.'


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides what torch's exporter tells those who develop with it; errors are raised as ever."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(logging.NOTSET)
