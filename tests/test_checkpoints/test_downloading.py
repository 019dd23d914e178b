"""Checkpoints by address, against a server on this machine."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import huggingface_hub
import pytest
import torch
from safetensors.torch import save

from mmbeitv2.checkpoints.downloading import cached_path, download
from mmbeitv2.checkpoints.locating import locate
from mmbeitv2.errors import InputError
from tests.conftest import serve

BODY = save({'weight': torch.arange(1000.0)})
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(SimpleHTTPRequestHandler):
    """Serves files with the headers that Hugging Face sends, and slowly, so that downloads overlap."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        time.sleep(0.2)
        super().do_GET()

    def end_headers(self) -> None:
        for name, value in (('ETag', DIGEST), ('X-Repo-Commit', '0' * 40), ('X-Error-Code', 'EntryNotFound')):
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server of the folder ``served``; torch's cache is an empty folder."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    Handler.asked = []
    with serve(tmp_path / 'served', Handler) as address:
        yield address


def publish(folder: Path, name: str, content: bytes = BODY) -> None:
    path = folder / 'served' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def files(folder: Path) -> list[Path]:
    return [path for path in (folder / 'torch').rglob('*') if path.is_file() and path.suffix != '.lock']


@pytest.mark.parametrize('name', ['model.safetensors', f'x-{DIGEST[:8]}.safetensors'])
def test_a_file_arrives_whole_and_of_many_who_ask_one_downloads(server: str, tmp_path: Path, name: str) -> None:
    publish(tmp_path, name)
    paths: list[Path] = []
    threads = [Thread(target=lambda: paths.append(locate(f'{server}/{name}'))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert paths == [paths[0]] * 8
    assert files(tmp_path) == [paths[0]]
    assert paths[0].read_bytes() == BODY
    assert Handler.asked == [f'/{name}']


def test_files_of_one_name_at_two_addresses_are_two_files_inside_the_cache() -> None:
    addresses = [f'http://{rest}/model.bin{query}' for rest in ('a', 'b', 'a/..') for query in ('', '?v=1', '?v=2')]
    assert len({cached_path(address) for address in addresses}) == 9
    assert all(cached_path(address).is_relative_to(torch.hub.get_dir()) for address in addresses)


@pytest.mark.parametrize(
    ('name', 'content', 'reason'),
    [
        ('broken.safetensors', BODY[:2000], 'it is damaged or truncated'),
        ('page.pth', b'<!DOCTYPE html><html>Sign in</html>', 'it is damaged or truncated, or was not written by'),
        ('missing.safetensors', None, 'File not found'),
        ('model-0123abcd.safetensors', BODY, 'its SHA-256 begins with \\w{8}, not 0123abcd'),
    ],
)
def test_a_file_that_is_not_whole_is_refused_in_one_sentence_and_leaves_nothing_behind(
    server: str, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    publish(tmp_path, name if content else 'other', content or b'')
    url = f'{server}/{name}'
    with pytest.raises(InputError, match=rf'^{url} cannot be downloaded \({reason}.*\)\. .*--cfg-options') as caught:
        download(url)
    assert repr(str(cached_path(url))) in str(caught.value)
    assert files(tmp_path) == []


def test_without_a_network_the_sentence_names_the_place_where_the_file_can_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('TORCH_HOME', str(tmp_path))
    url = 'http://127.0.0.1:9/x.safetensors'
    with pytest.raises(
        InputError, match=r'^http://127\.0\.0\.1:9/x\.safetensors cannot .*refused.* put it at '
    ) as error:
        locate(url)
    place = Path(str(error.value).split("'")[1])
    place.write_bytes(BODY)  # as the sentence says
    assert locate(url) == place


def test_a_repository_of_hugging_face_is_downloaded_by_its_library(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_its_library = partial(huggingface_hub.hf_hub_download, endpoint=server, cache_dir=tmp_path / 'hub')
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', by_its_library)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', False)
    timm = 'timm/beitv2_base_patch16_224.in1k_ft_in1k'
    names = {
        'hf-hub:owner/new': 'owner/new/resolve/main/model.safetensors',
        'hf-hub:owner/old': 'owner/old/resolve/main/pytorch_model.bin',
        'hf-hub:owner/name/part/file.bin': 'owner/name/resolve/main/part/file.bin',
        'https://huggingface.co/owner/other/resolve/v1/a.bin': 'owner/other/resolve/v1/a.bin',
        timm: f'{timm}/resolve/main/model.safetensors',
    }
    for name, address in names.items():
        publish(tmp_path, address)
        assert locate(name).read_bytes() == BODY
        assert Handler.asked[-1] == f'/{address}'
    with pytest.raises(InputError, match=r'owner/missing/resolve/main/pytorch_model\.bin cannot be downloaded'):
        locate('hf-hub:owner/missing')


def test_a_name_of_the_zoo_is_its_address_and_a_file_of_this_name_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, asked = 'vqkd-base_3x768x12-clip_release', []
    monkeypatch.setattr('mmbeitv2.checkpoints.locating.download', lambda url: asked.append(url) or Path('x'))
    locate(name), locate(f'mmbeitv2://{name}')
    address = (
        'https://github.com/addf400/files/releases/download/BEiT-v2/vqkd_encoder_base_decoder_3x768x12_clip-d5036aa7'
    )
    assert asked == 2 * [f'{address}.pth']
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert locate(name) == Path(name)


@pytest.mark.parametrize(
    ('name', 'hint'),
    [
        ('vqkd-base_3x768x12-clp_release', "Did you mean 'vqkd-base_3x768x12-clip_release'"),
        ('http://127.0.0.1', 'does not name a file'),
        ('ftp://host/file.safetensors', 'cannot be read'),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        locate(name)
