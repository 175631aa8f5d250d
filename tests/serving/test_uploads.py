"""Bodies that cannot be stored."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from peclip.serving.limits import Timeouts
from peclip.serving.uploads import UploadError, receive

FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n%s\r\n--x--\r\n'
)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("kind", "body", "name"),
    [
        ("video/mp4", b"%s", "source"),
        ("multipart/form-data; boundary=x", FORM, "source.mp4"),
    ],
)
def test_a_full_disk(tmp_path: Path, kind: str, body: bytes, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")

    async def arrive() -> dict[str, Any]:
        return {"type": "http.request", "body": body % (b"a" * 100_000)}

    scope = {
        "type": "http",
        "headers": [(b"content-type", kind.encode())],
        "query_string": b"",
    }
    with pytest.raises(UploadError, match="No space left on device") as refused:
        asyncio.run(receive(Request(scope, arrive), tmp_path, max_bytes=10**6, timeouts=Timeouts()))
    assert refused.value.status == 507
