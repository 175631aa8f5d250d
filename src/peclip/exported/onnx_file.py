"""Checks an ONNX file that need not be trusted, before a program is made of it.

A file is a protocol buffer: fields of a number and a value, which may again be fields. The numbers are those
of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Only what is looked for is decoded; neither `onnx`
nor `protobuf` is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

from peclip.errors import CheckpointError

_MAX_FIELDS = 2_000_000
"""In a file; ViT-L/14 has about 100,000."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_TRAINING, _FUNCTIONS, _GRAPH, _METADATA = 20, 25, 7, 14
_NODE, _TENSOR, _SPARSE = 1, 5, 15
_ATTRIBUTE, _DOMAIN = 5, 7
_ATTRIBUTE_TENSORS, _SUBGRAPHS, _ATTRIBUTE_SPARSE = {5, 10}, {6, 11}, {22, 23}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
_STANDARD = {b"", b"ai.onnx"}


class ONNXFile:
    """The content of an ONNX file that consists of standard operators and of tensors inside the file.

    Args:
        content: of the file.
        name: of the file, for messages.

    Raises:
        CheckpointError: it is corrupt, or has custom operators, subgraphs, functions or external data.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._name, self._fields = name, 0
        self.metadata: dict[str, str] = {}
        graphs = 0
        for number, value in self._read(memoryview(content)):
            if number in (_TRAINING, _FUNCTIONS):
                raise self._refuse("functions")
            if number == _METADATA:
                self._add_metadata(value)
            elif number == _GRAPH:
                self._check_graph(value)
                graphs += 1
        if not graphs:
            raise CheckpointError(f"{name!r} is not an ONNX model: it has no graph.")

    def _add_metadata(self, entry: memoryview | int) -> None:
        pair = {number: value for number, value in self._read(entry) if number in (1, 2)}
        try:
            key, value = (bytes(pair.get(n, b"")).decode() for n in (1, 2))
        except (UnicodeDecodeError, TypeError):
            raise self._corrupt() from None
        self.metadata[key] = value

    def _check_graph(self, graph: memoryview | int) -> None:
        for number, value in self._read(graph):
            if number == _NODE:
                self._check_node(value)
            elif number == _TENSOR:
                self._check_tensor(value)
            elif number == _SPARSE:
                raise self._refuse("sparse tensors")

    def _check_node(self, node: memoryview | int) -> None:
        for number, value in self._read(node):
            if number == _DOMAIN and (isinstance(value, int) or bytes(value) not in _STANDARD):
                raise self._refuse("custom operators")
            if number == _ATTRIBUTE:
                for kind, part in self._read(value):
                    if kind in _SUBGRAPHS:
                        raise self._refuse("loops or branches")
                    if kind in _ATTRIBUTE_SPARSE:
                        raise self._refuse("sparse tensors")
                    if kind in _ATTRIBUTE_TENSORS:
                        self._check_tensor(part)

    def _check_tensor(self, tensor: memoryview | int) -> None:
        for number, value in self._read(tensor):
            if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
                raise self._refuse("data in other files")

    def _read(self, message: memoryview | int) -> Iterator[tuple[int, memoryview | int]]:
        """Yields the number and the value of every field: an integer, or bytes."""
        if isinstance(message, int):
            raise self._corrupt()
        at, end = 0, len(message)
        while at < end:
            self._fields += 1
            if self._fields > _MAX_FIELDS:
                raise self._refuse(f"more than {_MAX_FIELDS:,} fields")
            key, at = self._varint(message, at)
            # Protobuf would ignore these bits, and read another field than this check.
            if key >> 32:
                raise self._corrupt()
            kind = key & 7
            if kind == _VARINT:
                value, at = self._varint(message, at)
                yield key >> 3, value
                continue
            size = _SIZES.get(kind)
            if kind == _BYTES:
                size, at = self._varint(message, at)
            if size is None or at + size > end:
                raise self._corrupt()
            yield key >> 3, message[at : at + size]
            at += size

    def _varint(self, message: memoryview, at: int) -> tuple[int, int]:
        """Returns the integer at a position, 7 bits a byte, and the position behind it."""
        value = 0
        for shift, byte in enumerate(message[at : at + 10]):
            value |= (byte & 127) << (7 * shift)
            if byte < 128:
                return value, at + shift + 1
        raise self._corrupt()

    def _corrupt(self) -> CheckpointError:
        return CheckpointError(f"{self._name!r} is corrupt or not an ONNX model.")

    def _refuse(self, what: str) -> CheckpointError:
        return CheckpointError(
            f"{self._name!r} contains {what}, which peclip does not load. Use a file written by "
            "peclip export."
        )
