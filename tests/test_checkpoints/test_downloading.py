"""Checkpoints by address, against a server on this machine."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, Thread

import huggingface_hub
import pytest
import torch
from safetensors.torch import save

from mmbeitv2.checkpoints import downloading
from mmbeitv2.checkpoints.downloading import cached_path, download
from mmbeitv2.checkpoints.locating import locate
from mmbeitv2.errors import InputError

BODY = save({'weight': torch.arange(2_500_000.0)})  # safetensors of 10 MB
DIGEST = hashlib.sha256(BODY).hexdigest()
COMMIT = '0' * 40


class Handler(BaseHTTPRequestHandler):
    asked: list[str]
    held_until: list[Path]

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        while not all(mark.exists() for mark in self.held_until):
            time.sleep(0.1)
        time.sleep(0.5 if self.held_until else 0)  # so that a second that did not wait would ask as well
        self.answer(with_body=True)

    def answer(self, with_body: bool) -> None:
        if 'missing' in self.path or self.path.endswith('old/resolve/main/model.safetensors'):
            self.send_response(404)
            self.send_header('X-Error-Code', 'EntryNotFound')
            self.send_header('Content-Length', '0')
            self.end_headers()
            return
        is_page = 'page' in self.path
        body = b'<!DOCTYPE html><html>Sign in</html>' if is_page else b'' if 'empty' in self.path else BODY
        body = b'{"error": "rate limit"}' if 'json' in self.path else body
        self.send_response(200)
        self.send_header('Content-Type', 'text/html' if is_page else 'application/octet-stream')
        if 'unsized' not in self.path:
            self.send_header('Content-Length', str(len(body)))
        self.send_header('ETag', f'"{DIGEST}"')
        self.send_header('X-Repo-Commit', COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body[: len(body) // 2] if 'broken' in self.path else body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server; torch's cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    Handler.asked, Handler.held_until = [], []
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('*') if path.is_file() and path.suffix != '.lock']


@pytest.mark.parametrize(
    'name', ['model.safetensors', f'model-{DIGEST[:8]}.safetensors', 'weights.safetensors?version=3']
)
def test_a_file_arrives_whole_and_is_asked_for_once(server: str, tmp_path: Path, name: str) -> None:
    path = locate(f'{server}/{name}')
    assert path.read_bytes() == BODY
    assert files(tmp_path) == [path]
    assert locate(f'{server}/{name}') == path
    assert len(Handler.asked) == 1


def test_files_of_one_name_at_two_addresses_are_two_files(server: str) -> None:
    addresses = [
        f'{server}/a/model.safetensors',
        f'{server}/b/model.safetensors',
        f'{server}/a/model.safetensors?v=1',
        f'{server}/a/model.safetensors?v=2',
    ]
    assert len({cached_path(address) for address in addresses}) == 4
    assert cached_path(f'{server}/../../../../../etc/model.safetensors').is_relative_to(torch.hub.get_dir())


@pytest.mark.parametrize(
    ('name', 'digest', 'reason'),
    [
        ('broken.safetensors', None, f'the connection was lost after {len(BODY) // 2} of {len(BODY)} bytes'),
        ('missing.safetensors', None, 'the server answered 404 Not Found'),
        ('model.safetensors', '0123abcd', f'its SHA-256 begins with {DIGEST[:8]} instead of 0123abcd'),
        ('model-0123abcd.safetensors', None, f'its SHA-256 begins with {DIGEST[:8]} instead of 0123abcd'),
        ('unsized-broken.safetensors', None, 'it is damaged or truncated. Copy or download it again'),
        ('page.pth', None, 'it was not written by torch.save or safetensors'),
        ('json.pth', None, 'it was not written by torch.save or safetensors'),
        ('empty.pth', None, 'it is empty'),
    ],
)
def test_a_file_that_is_not_whole_is_refused_in_one_sentence_and_leaves_nothing_behind(
    server: str, tmp_path: Path, name: str, digest: str | None, reason: str
) -> None:
    url = f'{server}/{name}'
    with pytest.raises(InputError) as caught:
        download(url, digest)
    message = str(caught.value)
    assert message.startswith(f'{url} cannot be downloaded ({reason}).')
    assert repr(str(cached_path(url))) in message
    assert '--cfg-options' in message
    assert '\n' not in message
    assert files(tmp_path) == []


def test_without_a_network_the_sentence_names_the_address_the_place_and_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    with pytest.raises(
        InputError, match=r'http://127\.0\.0\.1:9/x\.safetensors cannot be downloaded \(.*refused'
    ) as caught:
        locate('http://127.0.0.1:9/x.safetensors')
    assert str(tmp_path / 'hub/checkpoints/127.0.0.1_9/x.safetensors') in str(caught.value)
    (tmp_path / 'hub/checkpoints/127.0.0.1_9/x.safetensors').write_bytes(BODY)  # as the sentence says
    assert locate('http://127.0.0.1:9/x.safetensors').read_bytes() == BODY


def test_of_two_processes_one_downloads(server: str, tmp_path: Path) -> None:
    """The answer is held back until both have come to the download."""
    script = (
        'import sys; from pathlib import Path; from mmbeitv2.checkpoints.downloading import download\n'
        'Path(sys.argv[2]).touch(); print(download(sys.argv[1]))'
    )
    Handler.held_until = [tmp_path / 'first', tmp_path / 'second']
    both = [
        subprocess.Popen(
            [sys.executable, '-c', script, f'{server}/model.safetensors', str(mark)], stdout=subprocess.PIPE, text=True
        )
        for mark in Handler.held_until
    ]
    paths = {process.communicate(timeout=600)[0].splitlines()[-1] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(paths) == 1
    assert Path(paths.pop()).read_bytes() == BODY
    assert Handler.asked == ['/model.safetensors']


def test_of_many_threads_one_downloads(server: str) -> None:
    start, paths = Barrier(8), []

    def ask() -> None:
        start.wait()
        paths.append(download(f'{server}/model.safetensors'))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(paths) == 8
    assert Handler.asked == ['/model.safetensors']


def test_a_repository_of_hugging_face_is_downloaded_by_its_library(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_its_library = partial(huggingface_hub.hf_hub_download, endpoint=server, cache_dir=tmp_path / 'hub')
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', by_its_library)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    names = {
        'hf-hub:owner/new': 'owner/new/resolve/main/model.safetensors',
        'hf-hub:owner/old': 'owner/old/resolve/main/pytorch_model.bin',
        'hf-hub:owner/name/part/file.bin': 'owner/name/resolve/main/part/file.bin',
        'https://huggingface.co/owner/other/resolve/v1/a.bin': 'owner/other/resolve/v1/a.bin',
        'timm/beitv2_base_patch16_224': (
            'timm/beitv2_base_patch16_224.in1k_ft_in22k_in1k/resolve/main/model.safetensors'
        ),
        'timm/beitv2_base_patch16_224.in1k_ft_in1k': (
            'timm/beitv2_base_patch16_224.in1k_ft_in1k/resolve/main/model.safetensors'
        ),
    }
    for name in names:
        path = locate(name)
        assert path.is_relative_to(tmp_path / 'hub')
        assert path.read_bytes() == BODY
    assert Handler.asked == [f'/{address}' for address in names.values()]
    with pytest.raises(InputError, match=r'owner/missing/resolve/main/pytorch_model\.bin cannot be downloaded'):
        locate('hf-hub:owner/missing')


def test_a_name_of_the_zoo_is_its_address_with_its_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    monkeypatch.setattr('mmbeitv2.checkpoints.locating.download', lambda *given: asked.append(given) or Path('x'))
    for name in ('vqkd-base_3x768x12-clip_release', 'mmbeitv2://vqkd-base_3x768x12-clip_release'):
        locate(name)
    assert asked == 2 * [
        (
            'https://github.com/addf400/files/releases/download/BEiT-v2/'
            'vqkd_encoder_base_decoder_3x768x12_clip-d5036aa7.pth',
            'd5036aa7',
        )
    ]
    monkeypatch.chdir(tmp_path)
    Path('vqkd-base_3x768x12-clip_release').touch()  # a file comes first
    assert locate('vqkd-base_3x768x12-clip_release') == Path('vqkd-base_3x768x12-clip_release')
    assert len(asked) == 2


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('vqkd-base_3x768x12-clp_release', "Did you mean 'vqkd-base_3x768x12-clip_release'"),
        ('mmbeitv2://beitv2-base', 'Did you mean'),
        ('timm/beitv2_base_patch16_225', 'Did you mean timm/beitv2_base_patch16_224'),
        ('timm/beitv2_base_patch16_224.in2k', 'Did you mean timm/beitv2_base_patch16_224'),
        ('hf-hub:owner', 'hf-hub:owner/name'),
        ('http://127.0.0.1', 'does not name a file'),
        ('ftp://host/file.safetensors', 'cannot be read'),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        locate(name)


def test_offline_the_sentence_names_the_repository_and_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    with pytest.raises(InputError) as caught:
        downloading.download_from_hub('owner/name')
    assert 'https://huggingface.co/owner/name/resolve/main/model.safetensors' in str(caught.value)
    assert huggingface_hub.constants.HF_HUB_CACHE in str(caught.value)
    assert '\n' not in str(caught.value)
