"""Any folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmpretrain.datasets import CustomDataset

from mmbeitv2.errors import InputError
from mmbeitv2.registry import DATASETS

IMAGE_EXTENSIONS = ('.jpg', '.jpeg', '.png', '.ppm', '.bmp', '.pgm', '.tif', '.tiff', '.webp')


def find_images(root: Path) -> list[str]:
    """Paths of the image files in a folder of any depth, relative to it, in order.

    Raises:
        InputError: if there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise InputError(f'image folder {str(root)!r} not found: give an existing one')
    paths = sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.suffix.lower() in IMAGE_EXTENSIONS)
    if not paths:
        raise InputError(f'image folder {str(root)!r} holds no image ({", ".join(IMAGE_EXTENSIONS)}): give another')
    return paths


@DATASETS.register_module()
class ImageFolder(CustomDataset):
    """mmpretrain's ``CustomDataset``, unlabelled by default, that says in a sentence when there is nothing to read.

    Args:
        data_root: folder of the data.
        data_prefix: folder of the images in ``data_root``, nested to any depth.
        ann_file: list of image paths, one a line; empty for all images of the folder.
        with_label: take the label from the first folder below, or from the end of each line of ``ann_file``.
        extensions: of image files, in small letters.
        kwargs: see ``CustomDataset``.
    """

    def __init__(
        self,
        data_root: str = '',
        data_prefix: str | dict = '',
        ann_file: str = '',
        with_label: bool = False,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        **kwargs: object,
    ) -> None:
        super().__init__(
            data_root=data_root,
            data_prefix=data_prefix,
            ann_file=ann_file,
            with_label=with_label,
            extensions=extensions,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        folder = Path(self.img_prefix)
        if '://' not in str(self.img_prefix):
            if not folder.is_dir():
                raise InputError(
                    f'image folder {str(folder)!r} not found: give an existing one by --cfg-options '
                    'train_dataloader.dataset.data_root=DIR'
                )
            if self.ann_file and not Path(self.ann_file).is_file():
                raise InputError(
                    f'image list {self.ann_file!r} not found: give an existing file, or leave ann_file out to read '
                    'the whole folder'
                )
        try:
            return super().load_data_list()
        except RuntimeError as error:
            raise InputError(
                f'image folder {str(folder)!r} holds no image ({", ".join(sorted(self.extensions))}): put some '
                'there, or give another folder'
            ) from error
