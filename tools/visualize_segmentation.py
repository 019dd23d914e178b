"""Reports the results of a segmentation on its test set, class by class and image by image.

    python tools/visualize_segmentation.py WORK_DIR

Writes into WORK_DIR/segmentation, or --out: index.html, one self-contained page with IoU and accuracy of each class,
confusions, and pictures of the worst images and of some others; report.json, all numbers, also of each image.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mmbeitv2_tools.errors import one_sentence_errors
from mmbeitv2_tools.options import make_parser, positive

TOOL = 'visualize_segmentation.py'
WRITTEN = ('index.html', 'report.json')


def main(argv: list[str] | None = None) -> None:
    parser = make_parser(__doc__, '--cfg-options')
    parser.add_argument('work_dir', type=Path, metavar='WORK_DIR', help='work dir of the training')
    parser.add_argument('--config', type=Path, metavar='FILE', help='config (default: the one in the work dir)')
    weights = 'weights (default: the best of the work dir, else the last)'
    parser.add_argument('--checkpoint', metavar='FILE', help=weights)
    out = 'folder to write: new, empty, or of an earlier run (default: WORK_DIR/segmentation)'
    parser.add_argument('--out', type=Path, metavar='DIR', help=out)
    count = 'pictures of the worst images, and of others (default: 8)'
    parser.add_argument('--num-images', type=positive, default=8, help=count)
    args = parser.parse_args(argv)
    with one_sentence_errors(TOOL):
        from mmbeitv2_tools.work_dir import checkpoint_in, config_in

        from mmbeitv2.fileio.folders import replacing_folder, require_removable
        from mmbeitv2.fileio.outputs import require_writable_folder
        from mmbeitv2.visualization.segmentation_report import report_segmentation

        config = args.config or config_in(args.work_dir)
        checkpoint = args.checkpoint or str(checkpoint_in(args.work_dir))
        out = args.out or args.work_dir / 'segmentation'
        require_writable_folder(out, '--out')
        require_removable(out, TOOL, WRITTEN)
        with replacing_folder(out, TOOL, WRITTEN) as folder:
            table = report_segmentation(str(config), checkpoint, folder, args.num_images, args.cfg_options)
        sys.stdout.write(f'{table}\n{checkpoint}: {out}/index.html\n')


if __name__ == '__main__':
    main()
