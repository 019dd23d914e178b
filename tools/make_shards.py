"""Packs a folder of images into tar files of about equal size, with an index that allows reading them in any order.

    python tools/make_shards.py DIR OUT --shard-size 1GB

OUT gets shard-00000.tar, shard-00001.tar, ... and index.npz; train on it with
``dataset=dict(type='mmbeitv2.ImageShards', data_root='OUT')`` instead of ``mmbeitv2.ImageFolder``. The images, their
order and their labels (DIR/CLASS/...) are those that ImageFolder finds, with --extensions for its setting of that name,
and their files are copied unchanged. Most tools that take a folder of images also take OUT. The tar files are ordinary
ones, which ``tar`` and WebDataset can read. After an interruption, the same command continues; the index is written
last.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, num_bytes


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, 'images')
    parser.add_argument('out', type=Path, metavar='OUT', help='new folder for the shards')
    size = 'largest size of a tar file, as 500MB or 1.5GB (default: %(default)s)'
    parser.add_argument('--shard-size', type=num_bytes, default='1GB', metavar='SIZE', help=size)
    ends = 'ends of the names of image files, as .npy .tif (default: the usual formats, without .npy)'
    parser.add_argument('--extensions', nargs='+', metavar='EXT', help=ends)
    args = parser.parse_args(argv)
    with one_sentence_errors('make_shards.py'):
        from mmbeitv2.datasets.image_folder import IMAGE_EXTENSIONS
        from mmbeitv2.datasets.packing import pack_folder

        extensions = IMAGE_EXTENSIONS if args.extensions is None else [each.lower() for each in args.extensions]
        count = pack_folder(args.images, args.out, args.shard_size, extensions)
        sys.stdout.write(f'{count} images: {args.out}\n')


if __name__ == '__main__':
    main()
