"""Writes models as ONNX files or programs of ``torch.export``, and compares the file with the model."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch import Tensor, nn
from torch._dynamo.exc import UserError, UserErrorType

from mmbeitv2.datasets import image_files
from mmbeitv2.datasets.resizing import fit_image
from mmbeitv2.errors import InputError
from mmbeitv2.fileio.atomic import cannot_write
from mmbeitv2.inference.channels import channels_of, is_tokenizer, normalization_of
from mmbeitv2.inference.config import read_config
from mmbeitv2.inference.loading import Part, load_model
from mmbeitv2.inference.visual_tokenizer import to_tensor

NUM_COMPARED = 8  # images
# Largest difference of outputs, in units of the largest output, or of 1 if that is smaller.
TOLERANCE, HALF_TOLERANCE = 1e-4, 1e-2
# Share of the codes that may differ, where two codes are equally near up to rounding.
TIES, HALF_TIES = 0.005, 0.05


def export_model(
    config: str,
    checkpoint: str,
    out: str | Path,
    part: Part | None = None,
    img_size: Sequence[int] | None = None,
    images: str | Path | None = None,
    cfg_options: Sequence[str] | dict | None = None,
    dynamic: bool = False,
    half: bool = False,
) -> str:
    """Writes a model as an ONNX file or a program of ``torch.export``, if its outputs equal those of the model.

    The input is images (B, 3, H, W), float32, RGB in 0..255, with any batch size B. The output of a tokenizer is
    ``codes`` (B, N) int64, of a segmentor ``logits`` (B, classes, H, W) of the whole image at once, of a classifier
    ``logits`` (B, classes), of a backbone ``features``, one output for each that it gives.

    Args:
        config: of the model.
        checkpoint: its weights.
        out: file to write; ``.onnx``, or ``.pt2`` for a program of ``torch.export``.
        part: see :func:`load_model`; None for the tokenizer if the config is of one, else the whole model.
        img_size: side of the images in pixels, or height and width; None for that of the model.
        images: folder of images to compare on; None for random ones.
        cfg_options: settings that override the config's.
        dynamic: leave height and width free: positions are resized inside the file, by bicubic interpolation as in the
            model's forward. The sides are multiples of the patch size, of twice that if the model has a layer that
            halves its feature maps. The file is compared at three sizes.
        half: compute in half precision; only for ONNX. Input and output remain float32.

    Returns:
        What was written, and how far the outputs differ.

    Raises:
        InputError: if the file cannot be written, the size does not suit the model, or the outputs differ.
    """
    out = Path(out)
    if out.suffix not in ('.onnx', '.pt2'):
        raise InputError(f'{str(out)!r} must end in .onnx, or in .pt2 for a torch.export program')
    if half and out.suffix != '.onnx':
        raise InputError(f'{str(out)!r} cannot be in half precision, only a file that ends in .onnx')
    cfg = read_config(config, cfg_options)
    part = part or ('tokenizer' if is_tokenizer(cfg) else 'model')
    model = load_model(cfg, checkpoint, part).requires_grad_(False)
    exported = ExportedModel(model, *_normalization(cfg, part)).eval()
    # The first part with positions on a grid of patches sees the image.
    vit = next((each for each in model.modules() if hasattr(each, 'resize_positions')), None)
    sizes = [_resolve_size(img_size, vit)]
    step = 1 if vit is None else vit.patch_size
    if dynamic:
        # How torch.export rounds the sides of a pooled map depends on whether they are even.
        step *= 2 if any(isinstance(each, nn.MaxPool2d) for each in model.modules()) else 1
        height, width = (max(side // step, 2) * step for side in sizes[0])
        sizes = [(height, width), (height + 2 * step, width + step), (height - step, 2 * width)]
    compared = [read_images(images, size) for size in sizes]
    with torch.no_grad():
        expected = [exported(each) for each in compared]
        if dynamic:
            program = _dynamic_program(exported, compared[1][:2], step)
        else:
            if vit is not None:
                vit.resize_positions((sizes[0][0] // vit.patch_size, sizes[0][1] // vit.patch_size))
                model.requires_grad_(False)
            program = _program(exported, compared[0][:2], {})
    out.parent.mkdir(parents=True, exist_ok=True)
    tolerance, ties = (HALF_TOLERANCE, HALF_TIES) if half else (TOLERANCE, TIES)
    lines = []
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f'.{out.name}.') as folder:
        path = Path(folder, out.name)
        try:
            _write(program, path, exported.names, half)
        except OSError as error:
            raise cannot_write(out, error) from error
        for size, batch, wanted in zip(sizes, compared, expected, strict=True):
            outputs = dict(zip(exported.names, _run(path, batch), strict=True))
            report = compare(dict(zip(exported.names, wanted, strict=True)), outputs, tolerance, ties)
            shapes = ', '.join(f'{name} (B, {", ".join(map(str, each.shape[1:]))})' for name, each in outputs.items())
            lines.append(f'{size[0]}x{size[1]} -> {shapes}; compared on {len(batch)} images: {report}')
        written = sorted(Path(folder).iterdir())  # the file, and its weights beside it if they are too large for it
        megabytes = sum(file.stat().st_size for file in written) / 1e6
        for file in written:
            os.replace(file, out.parent / file.name)
    sides = f'H and W multiples of {step}' if dynamic else 'of one size'
    about = f'{out}: images (B, 3, H, W) float32, RGB in 0..255, {sides}; {megabytes:.1f} MB'
    return '\n'.join((about, *lines))


def _dynamic_program(exported: ExportedModel, example: Tensor, step: int) -> torch.export.ExportedProgram:
    """The program for images whose sides are any multiples of ``step``."""
    module: Any
    for module in list(exported.modules()):
        if 'grid_size' in vars(module) and module.grid_size is not None:
            # A list never equals the tuple of an image's grid, so positions are resized also for their own grid, where
            # this changes nothing. Otherwise, that grid would be the only one that the program refuses.
            module.grid_size = list(module.grid_size)
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d) and isinstance(child.output_size, int):
                setattr(module, name, FreeAveragePool(child.output_size))
    sides = {2: step * torch.export.Dim('rows', min=1), 3: step * torch.export.Dim('columns', min=1)}
    program = _program(exported, example, sides, prefer_deferred_runtime_asserts_over_guards=True)
    # What is left was true of the example, and chose between ways that give the same results: it would refuse sizes for
    # which another way is faster. The outputs are compared at several sizes instead.
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten._assert_scalar.default:
            program.graph.erase_node(node)
    program.graph.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _program(
    exported: ExportedModel, example: Tensor, sides: dict[int, Any], **options: Any
) -> torch.export.ExportedProgram:
    """The program for any number of images, and for any sides that ``sides`` leaves free."""
    for module in exported.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            # A program cannot branch by the value of a tensor, such as whether a codebook is initialized.
            if buffer.dtype == torch.bool and buffer.ndim == 0:
                delattr(module, name)
                setattr(module, name, bool(buffer))
    free = ({0: torch.export.Dim('batch'), **sides},)
    try:
        return torch.export.export(exported, (example,), dynamic_shapes=free, strict=False, **options)
    except UserError as error:
        if error.error_type != UserErrorType.CONSTRAINT_VIOLATION:
            raise
        raise InputError(
            f'the model cannot be exported: {str(error).splitlines()[0]} A part of it fixes a size that the file must '
            'leave free, as the quantizer SimVQ does with the number of images. Train it with another part.'
        ) from error


class FreeAveragePool(nn.Module):
    """``AdaptiveAvgPool2d`` as two products of matrices, because ONNX knows it only for maps of a fixed size."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, side, side)."""
        rows, columns = (_averages(side, self.side, x) for side in x.shape[2:])
        return rows @ x @ columns.T


def _averages(side: int, target: int, like: Tensor) -> Tensor:
    """The matrix (target, side) that averages a vector over ``target`` intervals, as ``adaptive_avg_pool1d`` does."""
    i = torch.arange(target, device=like.device)[:, None]
    position = torch.arange(side, device=like.device)
    inside = (position >= i * side // target) & (position < ((i + 1) * side + target - 1) // target)
    return inside.to(like) / inside.sum(dim=1, keepdim=True)


class ExportedModel(nn.Module):
    """The exported module: normalization by mean and std in 0..255, in the model's order, then the model."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Tensor, std: Tensor, is_rgb: bool) -> None:
        super().__init__()
        self.model = model
        self.is_rgb = is_rgb
        self.register_buffer('mean', mean.clone())
        self.register_buffer('std', std.clone())
        self.names, self.outputs = outputs_of(model)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Outputs of images (B, 3, H, W) float32, RGB in 0..255."""
        return self.outputs(((images if self.is_rgb else images.flip(1)) - self.mean) / self.std)


def outputs_of(model: Any) -> tuple[list[str], Callable[[Tensor], tuple[Tensor, ...]]]:
    """The names of a model's outputs, and how they are computed from normalized images."""
    if hasattr(model, 'tokenize'):
        return ['codes'], lambda images: (model.tokenize(images),)
    if hasattr(model, 'encode_decode'):  # a segmentor of mmseg
        return ['logits'], lambda images: (model.encode_decode(images, [dict(img_shape=tuple(images.shape[2:]))]),)
    if hasattr(model, 'head') and hasattr(model, 'extract_feat') and not hasattr(model, 'tokenizer'):  # a classifier
        return ['logits'], lambda images: (model(images, mode='tensor'),)
    backbone = getattr(model, 'backbone', model)
    indices = getattr(backbone, 'out_indices', (0,))
    names = ['features'] if len(indices) == 1 else [f'features_{i}' for i in indices]
    return names, lambda images: tuple(backbone(images))


def _normalization(cfg: Config, part: Part) -> tuple[Tensor, Tensor, bool]:
    """Mean and standard deviation (3, 1, 1), or (1, 1, 1), in 0..255, and whether the model takes RGB, else BGR."""
    if channels_of(cfg) is not None:
        raise InputError('models for images that are not 8-bit RGB (mmbeitv2.LoadChannels) cannot be exported')
    if part == 'tokenizer':
        return torch.full((3, 1, 1), 127.5), torch.full((3, 1, 1), 127.5), True
    return normalization_of(cfg)


def _resolve_size(given: Sequence[int] | None, vit: Any) -> tuple[int, int]:
    """Height and width of the images."""
    if given is None and vit is None:
        raise InputError('the model does not tell the size of its images. Pass one or two sides in pixels.')
    if given is None:
        return vit.grid_size[0] * vit.patch_size, vit.grid_size[1] * vit.patch_size
    if len(given) > 2 or (vit is not None and any(side % vit.patch_size for side in given)):
        patch = '' if vit is None else f', {vit.patch_size}'
        raise InputError(
            f'the image size {" ".join(map(str, given))} must be one or two multiples of the patch size{patch}'
        )
    return given[0], given[-1]


def read_images(folder: str | Path | None, size: tuple[int, int]) -> Tensor:
    """Images to compare on, (n, 3, H, W) float32, RGB in 0..255: spread over a folder, or smooth random ones."""
    if folder is None:
        colors = torch.rand(NUM_COMPARED, 3, 7, 7, generator=torch.Generator().manual_seed(0))
        return F.interpolate(colors, size=size, mode='bicubic').clamp(0, 1) * 255
    paths = list(image_files(Path(folder)).values())
    chosen = paths[:: max(len(paths) // NUM_COMPARED, 1)][:NUM_COMPARED]
    images = torch.stack([fit_image(to_tensor(path), size, 'crop') for path in chosen]).float()
    return images if len(images) > 1 else images.repeat(2, 1, 1, 1)  # an example of one would fix the size of a batch


def _write(program: torch.export.ExportedProgram, path: Path, names: list[str], half: bool) -> None:
    if path.suffix == '.pt2':
        content = io.BytesIO()  # as torch ends the process where a file cannot be written
        torch.export.save(program, content)
        path.write_bytes(content.getbuffer())
        return
    onnx_program = torch.onnx.export(program, input_names=['images'], output_names=names, dynamo=True, verbose=False)
    assert onnx_program is not None
    if not half:
        onnx_program.save(path)
        return
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx_program.model_proto, keep_io_types=True)
    nodes = {tuple(node.output): node for node in reversed(model.graph.node)}  # the conversion adds some casts twice
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes.values()))
    onnx.save(model, path)


def _run(path: Path, images: Tensor) -> list[Tensor]:
    """The outputs of the written file."""
    if path.suffix == '.pt2':
        with torch.no_grad():
            return list(torch.export.load(path).module()(images))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return [torch.from_numpy(output) for output in session.run(None, {'images': images.numpy()})]


def compare(
    expected: dict[str, Tensor], outputs: dict[str, Tensor], tolerance: float = TOLERANCE, ties: float = TIES
) -> str:
    """Compares the outputs of an exported file with the model's, and returns a summary of the differences.

    Raises:
        InputError: if they differ by more than rounding.
    """
    found = []
    for name, wanted in expected.items():
        got = outputs[name]
        if name == 'codes':
            equal = int((wanted == got).sum())
            found.append(f'{equal} of {wanted.numel()} codes are equal')
            differs = wanted.numel() - equal > ties * wanted.numel()
        else:
            largest = max(wanted.abs().max().item(), 1.0)
            difference = (wanted - got).abs().max().item() / largest
            found.append(f'{name} differ by at most {difference:.2g} times the largest value, {largest:.3g}')
            differs = not difference <= tolerance  # also if it is NaN
        if differs:
            raise InputError(
                f'the exported file and the model give different outputs: {found[-1]}. Nothing was written.'
            )
    return ', '.join(found)
